"""Shards: the same bytes every time, whole or absent, and everything comes back out."""

import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest
from plain_people import plain_body, plain_people

from meshreg.data import shards
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import (
    Manifest,
    is_whole,
    prepare,
    read_manifest,
    shard_path,
    write_manifest,
)
from meshreg.errors import InputError

COUNT, SHARD_SIZE = 10, 4


def manifest(**changes: object) -> Manifest:
    values = {"count": COUNT, "shard_size": SHARD_SIZE, "seed": 0, "settings": {"size": 48}}
    return Manifest(topology_hash=plain_body().topology_hash, **(values | changes))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    assert write_shards(folder, manifest(), plain_people) == 3
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


# --- writing --------------------------------------------------------------------------------------
def test_the_same_bytes_again_and_with_two_processes(written: Path, tmp_path: Path) -> None:
    expected = digests(written)
    assert sorted(expected) == [f"people-00000{n}.tar" for n in range(3)] + ["shards.json"]
    heard: list[int] = []
    made = write_shards(tmp_path, manifest(), plain_people, workers=2, on_samples=heard.append)
    assert made == 3 and sum(heard) == COUNT
    assert digests(tmp_path) == expected


def test_tars_carry_no_date_and_no_owner(written: Path) -> None:
    with tarfile.open(shard_path(written, 0)) as tar:
        members = tar.getmembers()
    assert [m.name for m in members[:6]] == [
        f"000000000.{name}"
        for name in (
            "depth.png",
            "image.jpg",
            "instance.png",
            "labels.png",
            "numbers.npz",
            "part.png",
        )
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_another_seed_gives_other_bytes(written: Path, tmp_path: Path) -> None:
    write_shards(tmp_path, manifest(seed=1, count=4), partial(plain_people, 1))
    assert digests(tmp_path)["people-000000.tar"] != digests(written)["people-000000.tar"]


def test_going_on_makes_only_what_is_missing(written: Path, copy: Path) -> None:
    shard_path(copy, 1).unlink()
    third = shard_path(copy, 2)
    third.write_bytes(third.read_bytes()[:-3000])  # a machine that lost power
    untouched = shard_path(copy, 0).stat().st_mtime_ns
    leftover = copy / ".people-000001.99999999.part.tar"  # no process has such a number
    of_another_run = copy / f".people-000001.{os.getppid()}.part.tar"
    of_another_run.touch()
    leftover.touch()
    heard: list[int] = []
    assert write_shards(copy, manifest(), plain_people, on_samples=heard.append) == 2
    assert heard[0] == SHARD_SIZE and sum(heard) == COUNT
    assert not leftover.exists() and of_another_run.exists()
    of_another_run.unlink()
    assert digests(copy) == digests(written)
    assert shard_path(copy, 0).stat().st_mtime_ns == untouched
    assert write_shards(copy, manifest(), _no_people) == 0


def _no_people() -> None:
    raise AssertionError("nothing was left to do")


CODE = """
import sys, time
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from plain_people import plain_people
from test_shards import manifest
from meshreg.data.shard_workers import write_shards
if __name__ == "__main__":
    workers = int(sys.argv[2])
    sleep = lambda count: time.sleep(0.4)
    write_shards(Path(sys.argv[1]), manifest(), plain_people, workers=workers, on_samples=sleep)
"""


def stopped_run(folder: Path, workers: int, number: signal.Signals) -> int:
    """Start writing in a process group, send it the signal after the first shards; exit code."""
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", CODE, str(folder), str(workers), str(here), str(here.parent)]
    process = subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not shard_path(folder, 0).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, number)
    return process.wait(timeout=60)


@pytest.mark.parametrize(
    ("workers", "number"), [(1, signal.SIGKILL), (1, signal.SIGINT), (2, signal.SIGINT)]
)
def test_a_stopped_run_leaves_whole_shards_only_and_can_go_on(
    written: Path, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    assert stopped_run(tmp_path, workers, number) != 0
    tars = sorted(tmp_path.glob("people-*.tar"))
    assert tars and all(is_whole(path) for path in tars)
    assert number == signal.SIGKILL or not list(tmp_path.glob(".people-*"))
    write_shards(tmp_path, manifest(), plain_people)
    assert digests(tmp_path) == digests(written)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"seed": 5}, "seed 0 instead of 5"), ({"settings": {"size": 64}}, "size 48 instead of 64")],
)
def test_shards_of_other_settings_are_not_mixed(
    copy: Path, change: dict[str, object], said: str
) -> None:
    before = digests(copy)
    with pytest.raises(InputError, match=said):
        write_shards(copy, manifest(**change), _no_people)
    assert digests(copy) == before


def test_settings_inside_settings_are_compared_one_by_one() -> None:
    def found(ours: object, theirs: object) -> list[str]:
        return manifest(settings=ours).differences(manifest(settings=theirs))

    scene = {"size": 128, "aspects": (1.0, 1.5)}
    assert found({"scene": scene}, {"scene": scene}) == []
    other = {"scene": scene | {"size": 224}, "bench": None}
    assert found({"scene": scene, "bench": "b"}, other) == [
        "bench none instead of b",
        "size 224 instead of 128",
    ]
    lossless = manifest(jpeg_quality=None)
    assert lossless.differences(manifest()) == ["jpeg_quality 95 instead of 0"]


def test_a_manifest_without_shards_is_replaced_unless_somebody_writes_there(
    tmp_path: Path,
) -> None:
    write_manifest(tmp_path, manifest(seed=5))
    assert len(prepare(tmp_path, manifest())) == manifest().num_shards
    assert read_manifest(tmp_path).seed == manifest().seed
    (tmp_path / "shards.json").write_text("half a manif")
    prepare(tmp_path, manifest())
    (tmp_path / f".people-000000.{os.getppid()}.part.tar").touch()
    with pytest.raises(InputError, match="instead of 5"):
        prepare(tmp_path, manifest(seed=5))


def test_other_versions_of_libraries_do_not_matter(copy: Path) -> None:
    assert write_shards(copy, manifest(made_with={"torch": "99"}), _no_people) == 0


def test_shards_without_a_manifest_are_left_alone(copy: Path) -> None:
    (copy / "shards.json").unlink()
    with pytest.raises(InputError, match=r"no shards\.json"):
        write_shards(copy, manifest(), _no_people)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    temporary = tmp_path / f".people-000000.{os.getpid()}.part.tar"
    temporary.symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"No space left on device\): make room"):
        write_shards(tmp_path, manifest(), plain_people)
    assert digests(tmp_path).keys() == {"shards.json"}


def test_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    for change in ({"count": 0}, {"shard_size": 0}, {"jpeg_quality": 101}):
        with pytest.raises(InputError, match=next(iter(change))):
            manifest(**change)
    with pytest.raises(InputError, match="workers"):
        write_shards(tmp_path, manifest(), _no_people, workers=0)


# --- several processes ----------------------------------------------------------------------------
def _refuse() -> None:
    raise InputError("the backgrounds are gone.")


def _stumble() -> None:
    raise ZeroDivisionError("a mistake of ours")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (_refuse, InputError, "^the backgrounds are gone"),
        (_stumble, RuntimeError, "a mistake of ours"),
        (_die, InputError, "died .exit code -9."),
    ],
)
def test_what_stops_a_worker_stops_the_run(
    tmp_path: Path, make: object, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        write_shards(tmp_path, manifest(), make, workers=2)
    assert digests(tmp_path).keys() == {"shards.json"}


def test_an_interruption_stops_the_workers_cleanly(written: Path, tmp_path: Path) -> None:
    def interrupt(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    many = manifest(count=400)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, many, plain_people, workers=2, on_samples=interrupt)
    assert time.monotonic() - start < 50
    left = digests(tmp_path)
    assert all(name == "shards.json" or is_whole(tmp_path / name) for name in left), left
    assert len(left) < 50


def test_living_processes_are_recognised() -> None:
    assert shards._is_running(os.getpid())
    assert not shards._is_running(99999999)
