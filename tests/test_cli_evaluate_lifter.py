"""`meshreg evaluate` of lifters: a table with its rules, and faults in one sentence."""

import json
from pathlib import Path

import pytest
from lifting_files import write_3dhp, write_h36m, write_motion

from meshreg.cli import main
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, save_lifter


def lifter(folder: Path, joint_set: str = "h36m17") -> Path:
    spec = LifterSpec("mlp_baseline", 1, joint_set, {"width": 8})
    path = folder / f"{joint_set}.safetensors"
    save_lifter(path, build_lifter(spec), LifterHeader(spec, fps=30.0))
    return path


def evaluate(folder: Path, *words: str, model: Path | None = None) -> int:
    path = lifter(folder) if model is None else model
    return main(["evaluate", "--model", str(path), "--out", str(folder / "out"), *words])


def test_motion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_motion(tmp_path / "motion.npz")
    words = ["--data", str(tmp_path / "motion.npz"), "--protocol", "lift-motion"]
    assert evaluate(tmp_path, *words, "--subjects", "5,14", "--views", "2", "--noisy") == 0
    told = capsys.readouterr().out
    assert "root joint: as predicted" in told and "walking" in told and "mpjve_mm" in told
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["num_clips"] == 4 and set(record["actions"]) == {"walking", "dance"}


def test_human36m(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_h36m(tmp_path)
    words = ["--data", str(tmp_path / "data_3d_h36m.npz"), "--protocol", "lift-h36m"]
    assert evaluate(tmp_path, *words) == 2
    assert "--detections and --cameras" in capsys.readouterr().err
    words += ["--detections", str(tmp_path / "data_2d_h36m_gt.npz")]
    words += ["--cameras", str(tmp_path / "cameras.json")]
    assert evaluate(tmp_path, *words) == 2
    assert "no subject 'S11'" in capsys.readouterr().err
    assert evaluate(tmp_path, *words, "--subjects", "S9", "--flip", "false") == 0
    assert "mirrored pass: no" in capsys.readouterr().out


def test_3dhp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_3dhp(tmp_path)
    words = ["--data", str(tmp_path), "--protocol", "lift-3dhp"]
    assert evaluate(tmp_path, *words, model=lifter(tmp_path, "mpi_inf_3dhp17")) == 0
    assert "pck150" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "results.json").read_text())["num_frames"] == 12


FAULTS = {
    "lift-h37m": "did you mean",
    "3dpw": "not a protocol for lifters",
    "lift-motion": "no data at",
}


@pytest.mark.parametrize("protocol", FAULTS)
def test_faults(protocol: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(tmp_path, "--data", str(tmp_path / "none"), "--protocol", protocol) == 2
    told = capsys.readouterr().err
    assert FAULTS[protocol] in told and told.count("\n") == 1
