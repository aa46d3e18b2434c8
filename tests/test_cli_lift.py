"""`meshreg lift`: what it writes and says, and how it says no."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lift_people import coco_file, walk
from PIL import Image
from smpl_files import one_sentence

from meshreg.cli import lift as command
from meshreg.cli import main
from meshreg.data.amass import load_amass
from meshreg.data.bvh import read_bvh
from meshreg.data.keypoint_clips import read_clip
from meshreg.data.lifter_input import lifter_input
from meshreg.data.skeleton_sequence import load_sequence
from meshreg.data.tracks import tracks_of
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, save_lifter
from meshreg.lifters.lifting import lift

SMALL = {"width": 16, "hidden": 32, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lifter that has learned nothing."""
    torch.manual_seed(0)
    spec = LifterSpec("mixste", frames=5, options=SMALL)
    path = tmp_path_factory.mktemp("lifter") / "lifter.safetensors"
    save_lifter(path, build_lifter(spec), LifterHeader(spec=spec, fps=25.0))
    return path


def run(
    capsys: pytest.CaptureFixture[str], keypoints: Path, *more: str, size: bool = True
) -> tuple[int, str, str]:
    out = keypoints.parent / "out"
    given = ["--size=640x480"] if size else []
    code = main(["lift", str(keypoints), f"--out={out}", *given, *more])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_file_of_weights_lifts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    code, out, err = run(capsys, keypoints, f"--model={model}", "--fps=25", "--mesh=false")
    assert (code, err) == (0, "")
    folder = tmp_path / "out"
    written = {file.name for file in folder.iterdir()}
    assert {f"skeleton.{kind}" for kind in ("npz", "csv", "bvh", "gif")} <= written
    assert not {"motion.npz", "body.glb"} & written
    sequence = load_sequence(folder / "skeleton.npz")
    assert sequence.joints_cam.shape == (8, 17, 3) and sequence.fps == 25.0
    assert np.abs(sequence.joints_cam[:, 0]).max() == 0
    assert "guessed" in sequence.camera_source and "guessed" in out
    assert read_bvh(folder / "skeleton.bvh").fps == 25.0
    with Image.open(folder / "skeleton.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 8


@pytest.mark.parametrize(("words", "stride"), [((), 1), (("--overlap=false",), None)])
def test_windows_overlap_unless_told_otherwise(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: Path,
    words: tuple[str, ...],
    stride: int | None,
) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 12)
    run(capsys, keypoints, f"--model={model}", "--fps=25", "--mesh=false", *words)
    found = load_sequence(tmp_path / "out" / "skeleton.npz").joints_cam
    (track,) = tracks_of(read_clip(keypoints))
    known = lifter_input(track, (480, 640), min_confidence=0.3)
    points = torch.from_numpy(known.keypoints_px)
    expected = [lift(load_lifter(model)[0], points, (480, 640), stride=s) for s in (1, None)]
    assert (expected[0] - expected[1]).abs().max() > 1e-4
    np.testing.assert_allclose(found, expected[stride is None], atol=1e-5)


def test_a_right_skeleton_becomes_a_body(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
) -> None:
    truth = walk(8).h36m[:4]
    monkeypatch.setattr(command, "load_network", lambda options: (load_lifter(model)[0], 50.0))
    monkeypatch.setattr(
        "meshreg.lifters.lifting.lift",
        lambda network, points, size, **_: torch.nn.functional.interpolate(
            (truth - truth[:, :1]).flatten(1).T[None],
            size=len(points),
            mode="linear",
            align_corners=True,
        )[0].T.reshape(-1, 17, 3),
    )
    keypoints = coco_file(tmp_path / "clip.json", 8)
    keypoints.write_text(json.dumps(json.loads(keypoints.read_text())[:4]))
    code, out, err = run(capsys, keypoints, "--fov=60", "--fps=25")
    assert (code, err) == (0, "")
    found = load_sequence(tmp_path / "out" / "skeleton.npz")
    # Its place comes from the picture, averaged over a tenth of a second.
    assert np.abs(found.root_cam - truth[:, 0].numpy()).max() < 0.12
    motion = load_amass(tmp_path / "out" / "motion.npz")
    assert motion.poses.shape == (4, 24, 3) and motion.fps == 25.0
    assert (tmp_path / "out" / "body.glb").stat().st_size > 1e5
    assert "its joints meet the skeleton" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=nothing_like"], "no lifter named 'nothing_like'"),
        (["--model={here}"], "damaged"),
        (["--model={model}", "--person=4"], "no person 4"),
        (["--model={model}", "--joint-set=nothing_like"], "is not a joint set"),
        (["--model={model}", "--joint-set=openpose25"], "17 joints, but openpose25 has 25"),
        (["--model={model}", "--size=big"], "1920x1080, found 'big'"),
        (["--model={model}", "--size=64x48"], "outside the 64x48 picture"),
        (["--model={model}", "--fps=0"], "--fps above 0"),
        (["--model={model}", "--min-confidence=0.95"], "lower --min-confidence"),
        (["--model={model}", "--fov=60", "--focal=500"], "contradict"),
        (["--model={model}", "--mesh=false", "--mesh-animation"], "leaves out"),
        (["--model={model}", "--fov=190"], "field of view"),
        (["--model={model}", "--iterations=8"], "--iterations are of --refine"),
        (["--model={model}", "--refine=uao", "--fov=60"], "--model uao"),
    ],
)
def test_bad_input(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: Path,
    arguments: list[str],
    words: str,
) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    given = [word.format(model=model, here=keypoints) for word in arguments]
    code, out, err = run(capsys, keypoints, *given)
    message = err.replace("meshreg: error: ", "").replace(str(tmp_path), "").strip()
    assert code == 2 and out == ""
    assert words in message
    assert one_sentence(message), message
    assert not list((tmp_path / "out").glob("*"))


def test_the_size_of_pictures_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Path
) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    code, _, err = run(capsys, keypoints, f"--model={model}", size=False)
    assert code == 2 and "give --size" in err


def test_weights_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    torch.save({"model": {"conv.weight": torch.zeros(3)}}, tmp_path / "other.bin")
    code, _, err = run(capsys, keypoints, f"--model={tmp_path / 'other.bin'}")
    assert code == 2 and "none of the lifters" in err
