"""`meshreg synth`: what it writes and says, and how it says no."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from plain_people import BareBodies, RandomBends, plain_body

from meshreg.cli import _spell_out_switches, main
from meshreg.data.sample import Batch
from meshreg.data.shard_reader import ShardReader
from meshreg.data.shards import read_manifest
from meshreg.data.synthetic import benchmark
from meshreg.data.synthetic.benchmark import (
    BENCHES,
    DIGESTS,
    Digests,
    check_digests,
    digests,
    read_digests,
)
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.scene import Planner
from meshreg.errors import InputError


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Bare bodies in random poses instead of dressed ones; what was asked for is returned."""
    asked: list[dict[str, object]] = []

    def noting(made: object) -> Callable[..., object]:
        return lambda *given, **options: asked.append(options) or made

    def fake(name: str, **content: object) -> None:
        module = ModuleType(f"meshreg.data.synthetic.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    fake("prior_poses", PriorPoses=RandomBends)
    fake("poses", MotionPoses=noting(RandomBends()))
    fake("generator", make_generator=noting(BareBodies(plain_body())))
    return asked


def arguments(out: Path, *more: str) -> list[str]:
    few = ("--count=5", "--shard-size=3", "--size=48", "--workers=1")
    return ["synth", f"--out={out}", *few, *more]


def motion_file(folder: Path, subject: int = 5) -> Path:
    """One frame of somebody."""
    path = folder / "motion.npz"
    np.savez(
        path,
        poses=np.zeros((1, 24, 3), np.float32),
        trans=np.zeros((1, 3), np.float32),
        offsets=np.array([0, 1]),
        names=np.array(["one"]),
        subject=np.array([subject]),
        category=np.array(["still"]),
        fps=np.float32(30),
        licence=np.array("free"),
    )
    return path


def small_benches(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, bench in BENCHES.items():
        small = replace(bench, count=6, size=48, shard_size=4)
        monkeypatch.setitem(benchmark.BENCHES, name, small)


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("meshreg: error: ") and said.count("\n") == 1, said
    return said


# --- drawing --------------------------------------------------------------------------------------
def test_it_writes_shards_and_says_so(
    plain: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "people"
    assert main(arguments(out, "--seed=7")) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith(f"wrote 5 people with seed 7 to {out}: 2 shards, ")
    assert plain == [{"device": "cpu", "backgrounds": None, "supersampling": 2}]
    samples = list(ShardReader(out, topology_hash=plain_body().topology_hash))
    assert [int(s.index) for s in samples] == [0, 1, 2, 3, 4]
    assert samples[0].image.shape == (3, 48, 48)
    assert main(arguments(out, "--seed=7")) == 0
    assert "2 shards, 2 of which were there" in capsys.readouterr().out
    assert "seed 7 instead of 8" in refusal(arguments(out, "--seed=8"), capsys)
    said = refusal([*arguments(out, "--seed=7"), "--size=64"], capsys)
    assert f"{out} holds shards made with size 48 instead of 64: choose" in said
    few = arguments(tmp_path / "few", "--count=3")
    assert main(few) == 0 and ": 1 shard, " in capsys.readouterr().out


def test_what_decides_the_samples_is_recorded(
    plain: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (9, 9)).save(photos / "a.png")
    motion = motion_file(tmp_path)
    more = (f"--poses={motion}", f"--backgrounds={photos}", "--jpeg-quality=0")
    assert main(arguments(tmp_path / "out", *more)) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.settings["poses"].startswith("motion ") and manifest.jpeg_quality is None
    assert manifest.settings["backgrounds"] and manifest.settings["scene"]["size"] == 48
    assert manifest.made_with["device"] == "cpu"
    assert {"excluded": (5, 14, 86, 0)} in plain
    Image.new("RGB", (9, 9)).save(photos / "b.png")
    capsys.readouterr()
    assert "other photographs: choose" in refusal(arguments(tmp_path / "out", *more), capsys)
    said = refusal(arguments(tmp_path / "out", "--jpeg-quality=0"), capsys)
    assert "photographs instead of drawn backgrounds" in said
    assert "poses of a motion file instead of poses of the prior" in said
    assert main(arguments(tmp_path / "own", f"--poses={motion_file(tmp_path, subject=0)}")) == 0
    assert {"excluded": (5, 14, 86)} in plain, "people of whom nothing is known are used"


# --- motion ---------------------------------------------------------------------------------------
def amass_file(path: Path, *, frames: int = 12, turn: float = 0.0) -> Path:
    """Somebody whose elbows bend back and forth by `turn` radians in every frame."""
    poses = np.zeros((frames, 156), np.float32)
    poses[::2, 3 * 18 + 1] = turn
    trans = np.zeros((frames, 3), np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, poses=poses, trans=trans, mocap_framerate=np.float64(30), gender="male")
    return path


def test_a_folder_of_motion_is_named_by_what_is_in_it(
    plain: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "motion"
    amass_file(folder / "35" / "35_01_poses.npz")
    more = f"--poses={folder}"
    assert main(arguments(tmp_path / "out", more)) == 0
    assert {"excluded": (5, 14, 86, 0)} in plain
    moved = folder.rename(tmp_path / "moved")
    (moved / "notes.txt").touch()
    assert main(arguments(tmp_path / "out", f"--poses={moved}")) == 0, "the same motion"
    amass_file(moved / "35" / "35_02_poses.npz")
    said = refusal(arguments(tmp_path / "out", f"--poses={moved}"), capsys)
    assert "other poses of a motion file: choose" in said


def test_odd_motion_is_noted_in_a_line(
    plain: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    motion = amass_file(tmp_path / "fast.npz", turn=1.5)
    assert main(arguments(tmp_path / "out", f"--poses={motion}")) == 0
    said = capsys.readouterr()
    notes = [line for line in said.out.splitlines() if "note:" in line]
    assert len(notes) == 1 and notes[0].startswith(f"note: {motion}: fast looks as if")
    assert "Warning" not in said.out + said.err
    for number in range(7):
        amass_file(tmp_path / "many" / f"fast{number}.npz", turn=1.5)
    assert main(arguments(tmp_path / "out2", f"--poses={tmp_path / 'many'}")) == 0
    said_of_many = capsys.readouterr().out
    assert said_of_many.count("note:") == 6 and "about 2 more clips" in said_of_many


def test_a_run_that_failed_before_its_first_shard_claims_nothing(
    plain: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    assert "holds no pictures" in refusal(arguments(out, f"--backgrounds={empty}"), capsys)
    assert "found no motion" in refusal(arguments(out, f"--poses={empty}"), capsys)
    assert not out.exists()

    def interrupted(people: SyntheticPeople, indices: range) -> Batch:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SyntheticPeople, "render", interrupted)
        assert main(arguments(out)) == 130
    assert [path.name for path in out.iterdir()] == ["shards.json"]
    assert main(arguments(out, "--seed=9")) == 0
    assert read_manifest(out).seed == 9


def test_dashes_and_underscores_mean_the_same() -> None:
    given = ["synth", "--shard-size=3", "--out=a-b", "--write-digests", "-x-y"]
    expected = ["synth", "--shard_size=3", "--out=a-b", "--write_digests=true", "-x-y"]
    assert _spell_out_switches(given) == expected


# --- benchmarks -----------------------------------------------------------------------------------
def test_benchmarks_have_digests_to_check(
    plain: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small_benches(monkeypatch)
    monkeypatch.chdir(tmp_path)
    bench = ["synth", "--bench=synth-bench-v1"]
    assert "the digests are of 2000 samples" in refusal([*bench, "--verify"], capsys), "shipped"
    path = tmp_path / "synth-bench-v1.json"
    given = [*bench, "--verify", f"--digests={path.name}"]
    assert "no digests at synth-bench-v1.json" in refusal(given, capsys)
    assert main([*bench, "--write-digests"]) == 0
    assert main(given) == 0
    assert "all 6 samples are as in" in capsys.readouterr().out
    assert not plain, "nothing is drawn for that"

    values = json.loads(path.read_text())
    assert len(values["samples"]) == 6 and len(values["all"]) == 64
    values["samples"][4] = "0" * 16
    path.write_text(json.dumps(values))
    said = refusal(given, capsys)
    assert "1 of 6 samples" in said and "the first is sample 4" in said
    path.write_text("[]")
    assert "holds no digests" in refusal(given, capsys)


def test_every_benchmark_ships_its_digests() -> None:
    for bench in BENCHES.values():
        shipped = read_digests(DIGESTS / f"{bench.name}.json")
        assert (shipped.bench, shipped.seed, shipped.count) == (bench.name, bench.seed, bench.count)


def test_a_benchmark_is_drawn_losslessly_with_its_own_numbers(
    plain: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_benches(monkeypatch)
    out = tmp_path / "out"
    motion = motion_file(tmp_path)
    given = ["synth", "--bench=synth-bench-v1-motion", f"--poses={motion}", f"--out={out}"]
    assert main([*given, "--workers=1"]) == 0
    manifest = read_manifest(out)
    assert (manifest.count, manifest.seed, manifest.jpeg_quality) == (6, 2**40 + 2, None)
    assert manifest.settings["subjects"] == [5, 14, 86]
    assert {"subjects": (5, 14, 86)} in plain


def test_digests_see_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    small_benches(monkeypatch)
    bench = benchmark.BENCHES["synth-bench-v1"]
    planner = Planner(bench.seed, poses=RandomBends(), body=plain_body().data)
    found = digests(bench, planner)
    assert found == digests(bench, planner)
    check_digests(found, found)
    for change in ({"all": "0" * 64}, {"seed": 1}, {"bench": "another"}):
        with pytest.raises(InputError):
            check_digests(found, Digests(**(vars(found) | change)))


# --- refusals -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--count N, or give a --bench"),
        (["--count=0"], "count must be at least 1"),
        (["--count=3", "--shard-size=0"], "shard_size must be at least 1"),
        (["--count=3", "--size=7"], "--size must be a number between 32 and 2048, not 7"),
        (["--count=3", "--seed=-1"], "seed must be 0 or more"),
        (["--count=3", "--jpeg-quality=101"], "jpeg_quality must be 1 to 100, or 0 for"),
        (["--count=3", "--workers=0"], "--workers must be at least 1"),
        (["--count=3", "--poses=nowhere.npz"], "no motion file or folder at nowhere.npz"),
        (["--count=3", "--backgrounds=nowhere"], "no folder of backgrounds at nowhere"),
        (["--count=3", "--device=toaster"], "'toaster' is not a device"),
        (["--count=3", "--device=meta"], 'on "cpu" or "cuda"'),
        (["--count=3", "--verify"], "digests belong to a benchmark"),
        (["--count=3", "--bench=synth-bench-v1"], "synth-bench-v1 is fixed: leave out --count"),
        (["--bench=synth-bench-v1", "--shard-size=9"], "leave out --shard-size"),
        (["--bench=synth-bench-v1", "--poses=x.npz"], "takes no --poses"),
        (["--bench=synth-bench-v1-motion"], "takes --poses FILE"),
        (["--bench=synth-bench-v1", "--verify", "--write-digests"], "contradict each other"),
        (["--bench=synth-bench-v2"], "synth-bench-v2"),
        (["--count=many"], "count"),
    ],
)
def test_bad_input_is_one_sentence(
    given: list[str],
    said: str,
    plain: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refusal(["synth", f"--out={tmp_path / 'out'}", *given], capsys)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_folder(
    plain: list[dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    assert "cannot write to" in refusal(arguments(tmp_path / "out"), capsys)


def test_an_interruption_is_told(
    plain: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = SyntheticPeople.render

    def interrupted(people: SyntheticPeople, indices: range) -> Batch:
        if 3 in indices:
            raise KeyboardInterrupt
        return whole(people, indices)

    monkeypatch.setattr(SyntheticPeople, "render", interrupted)
    assert main(arguments(tmp_path / "out")) == 130
    assert "interrupted; files written so far are whole" in capsys.readouterr().err
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["people-000000.tar", "shards.json"]
