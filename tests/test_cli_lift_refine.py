"""`meshreg lift --refine uao`: what changes, and what it needs to be told."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lift_people import CAMERA, SIZE, coco_file, walk
from smpl_files import one_sentence

from meshreg.cli import main
from meshreg.data.skeleton_sequence import load_sequence
from meshreg.fit.roots import solved
from meshreg.fit.uncertainty import optimize_latent
from meshreg.geometry.lens import lens_of_camera
from meshreg.geometry.screen import to_screen
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, save_lifter

SMALL = {"width": 16, "hidden": 16, "depth": 1, "joint_growth": 1}
PLAIN = {"width": 16, "dropout": 0.0}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Lifters that have learned nothing, one of which tells its uncertainty."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("lifters")
    found = {}
    for name, options in (("uao", SMALL), ("mlp_baseline", PLAIN)):
        spec = LifterSpec(name, frames=1, options=options)
        found[name] = folder / f"{name}.safetensors"
        save_lifter(found[name], build_lifter(spec), LifterHeader(spec=spec, fps=25.0))
    return found


def run(capsys: pytest.CaptureFixture[str], keypoints: Path, *more: str) -> tuple[int, str, str]:
    out = keypoints.parent / "out"
    code = main(["lift", str(keypoints), f"--out={out}", "--size=640x480", "--mesh=false", *more])
    said = capsys.readouterr()
    return code, said.out, said.err


def h36m_file(path: Path, frames: int = 8) -> Path:
    np.savez(path, keypoints=walk(frames).h36m_px.numpy(), joint_set="h36m17", fps=25.0)
    return path


def test_the_command_writes_what_the_loop_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], models: dict[str, Path]
) -> None:
    keypoints = h36m_file(tmp_path / "clip.npz")
    words = [f"--model={models['uao']}", "--fov=60", "--refine", "uao", "--root=solved"]
    code, _, err = run(capsys, keypoints, *words, "--iterations=6")
    assert (code, err) == (0, "")
    sequence = load_sequence(tmp_path / "out" / "skeleton.npz")
    network, _ = load_lifter(models["uao"])
    wanted = optimize_latent(
        network,
        to_screen(walk(8).h36m_px.float(), SIZE),
        lens_of_camera(CAMERA, 8),
        root=solved,
        iters=6,
        fps=25.0,
    )
    np.testing.assert_allclose(sequence.joints_cam, wanted.poses.numpy(), atol=1e-4)
    assert (wanted.poses - wanted.first).abs().max() > 1e-3
    assert run(capsys, keypoints, *words[:2])[0] == 0
    without = load_sequence(tmp_path / "out" / "skeleton.npz")
    assert np.abs(without.joints_cam - sequence.joints_cam).max() > 1e-3


@pytest.mark.parametrize("root", ["steady", "likely", "stature"])
def test_every_rule_writes_finite_joints(
    root: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], models: dict[str, Path]
) -> None:
    keypoints = h36m_file(tmp_path / "clip.npz")
    words = [f"--model={models['uao']}", "--fov=60", "--refine=uao", f"--root={root}"]
    code, _, err = run(capsys, keypoints, *words)
    assert (code, err) == (0, "")
    assert np.isfinite(load_sequence(tmp_path / "out" / "skeleton.npz").joints_cam).all()


def test_joints_that_are_not_seen_are_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], models: dict[str, Path]
) -> None:
    points = walk(8).h36m_px.numpy().copy()
    points[2:4, 13] = np.nan
    np.savez(tmp_path / "clip.npz", keypoints=points, joint_set="h36m17", fps=25.0)
    words = [f"--model={models['uao']}", "--fov=60", "--refine=uao"]
    code, out, err = run(capsys, tmp_path / "clip.npz", *words)
    assert (code, err) == (0, "") and "were not seen" in out


@pytest.mark.parametrize(
    ("frames", "arguments", "words"),
    [
        (8, ["--model={mlp_baseline}", "--fov=60"], "does not tell how uncertain"),
        (8, ["--model={uao}"], "give --camera, --focal or --fov"),
        (3, ["--model={uao}", "--fov=60"], "needs 5 frames or more, but there are 3"),
        (8, ["--model={uao}", "--fov=60", "--iterations=0"], "--iterations from 1 to 64, found 0"),
        (8, ["--model={uao}", "--fov=60", "--root=oracle"], "root"),
    ],
)
def test_bad_input(  # noqa: PLR0913
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: dict[str, Path],
    frames: int,
    arguments: list[str],
    words: str,
) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    keypoints.write_text(json.dumps(json.loads(keypoints.read_text())[:frames]))
    given = [word.format(**models) for word in arguments]
    code, out, err = run(capsys, keypoints, "--refine=uao", *given)
    message = err.replace("meshreg: error: ", "").replace(str(tmp_path), "").strip()
    assert code == 2 and out == ""
    assert words in message and one_sentence(message), message
    assert not list((tmp_path / "out").glob("*"))


def test_nothing_but_gaps_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], models: dict[str, Path]
) -> None:
    points = np.full((8, 17, 2), np.nan)
    np.savez(tmp_path / "clip.npz", keypoints=points, joint_set="h36m17", fps=25.0)
    words = [f"--model={models['uao']}", "--fov=60", "--refine=uao"]
    code, out, err = run(capsys, tmp_path / "clip.npz", *words)
    assert code == 2 and out == "" and err.count("\n") == 1
