"""Lifters that come along: found by name, the best by default, small, and of some use."""

from pathlib import Path

import pytest
import torch
from lift_people import SIZE, coco_file, walk

from meshreg.cli import main
from meshreg.data.skeleton_sequence import load_sequence
from meshreg.errors import MissingFileError
from meshreg.lifters import shipped
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, read_lifter_header, save_lifter
from meshreg.lifters.lifting import lift
from meshreg.lifters.shipped import WEIGHTS, find_lifter, shipped_names

FILES = sorted(WEIGHTS.glob("*.safetensors"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of lifters that have learned nothing, one of unknown quality."""
    for seed, (name, error) in enumerate({"worse": 40.0, "better": 25.0, "new": None}.items()):
        torch.manual_seed(seed)
        spec = LifterSpec("mlp_baseline", 1, options={"width": 8})
        header = LifterHeader(spec, fps=30.0, error_mm=error)
        save_lifter(tmp_path / "weights" / f"{name}.safetensors", build_lifter(spec), header)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_the_best_is_the_default(folder: Path) -> None:
    assert shipped_names() == ["better", "worse", "new"]
    assert find_lifter("default") == folder / "better.safetensors"
    assert find_lifter("worse") == folder / "worse.safetensors"
    assert read_lifter_header(folder / "worse.safetensors").error_mm == 40.0


def test_a_path_stays_a_path(folder: Path) -> None:
    assert find_lifter(str(folder / "new.safetensors")) == folder / "new.safetensors"


def test_a_wrong_name_is_answered_with_the_right_ones(folder: Path) -> None:
    with pytest.raises(MissingFileError, match="'best' and no such file: choose from better, wor"):
        find_lifter("best")
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(MissingFileError, match="none came with this copy"):
        find_lifter("default")


def test_a_clip_is_lifted_by_name(folder: Path, tmp_path: Path) -> None:
    keypoints = coco_file(tmp_path / "clip.json", 8)
    found = []
    for name in ("default", "better", "worse"):
        words = [f"--model={name}", "--size=640x480", "--mesh=false", f"--out={tmp_path / name}"]
        assert main(["lift", str(keypoints), *words, "--fps=30"]) == 0
        found.append(load_sequence(tmp_path / name / "skeleton.npz").joints_cam)
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


# --- the real ones --------------------------------------------------------------------------------
@pytest.mark.skipif(not FILES, reason="no lifters come with this copy")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_is_small_and_says_what_it_is(path: Path) -> None:
    assert path.stat().st_size <= 8e6
    network, header = load_lifter(path)
    assert header.error_mm is not None and header.error_mm < 100
    assert header.fps == 30 and "mocap.cs.cmu.edu" in header.licence and "steps" in header.recipe
    assert header.spec.builder in (path.stem, f"{path.stem}_mixste")
    assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.skipif(not FILES, reason="no lifters come with this copy")
def test_the_best_is_right_to_some_centimetres() -> None:
    """Somebody who walks on the spot; the lifter has never seen this body."""
    network, _ = load_lifter(find_lifter("default"))
    truth = walk(30).h36m
    poses = lift(network, walk(30).h36m_px, SIZE)
    error = (poses - (truth - truth[:, :1])).norm(dim=-1)
    assert error.mean() < 0.1, error.mean()
