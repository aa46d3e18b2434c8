"""The scripts around lifters that come along: one makes their files, one draws what they do."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from lifting_files import write_motion
from PIL import Image

from meshreg.data.lifting import LiftingData
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, save_lifter

ROOT = Path(__file__).parents[1]


def imported(folder: str, name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / folder))
        return importlib.import_module(name)


def lifter(path: Path) -> Path:
    torch.manual_seed(0)
    spec = LifterSpec("mlp_baseline", 1, options={"width": 8})
    save_lifter(path, build_lifter(spec), LifterHeader(spec, fps=30.0))
    return path


def people(motion: Path) -> LiftingData:
    held_out = imported("benchmarks", "held_out")
    write_motion(motion)
    data = held_out.seen(held_out.held_out_people(motion), noisy=False, views=1)
    assert {clip.subject for clip in data.clips} == {"5", "14"}
    return replace(data, clips=data.clips[:1])


def test_a_clip_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = imported("demo", "lift_motion")
    write_motion(tmp_path / "motion.npz")
    words = [f"--model={lifter(tmp_path / 'a.safetensors')}", "--body=none", "--frames=3"]
    words += [f"--out={tmp_path / 'out' / 'clip.gif'}", "--noisy"]
    monkeypatch.setattr(sys, "argv", ["lift_motion.py", str(tmp_path / "motion.npz"), *words])
    assert script.main() == 0
    with Image.open(tmp_path / "out" / "clip.gif") as gif:
        assert gif.size == (3 * script.SIDE, script.SIDE)
        assert getattr(gif, "n_frames", 1) == 3


def test_a_clip_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = imported("demo", "lift_motion")
    write_motion(tmp_path / "motion.npz")
    words = [f"--model={lifter(tmp_path / 'a.safetensors')}", "--clip=dive"]
    words += [f"--out={tmp_path / 'clip.gif'}"]
    monkeypatch.setattr(sys, "argv", ["lift_motion.py", str(tmp_path / "motion.npz"), *words])
    assert script.main() == 2
    assert "no clip 'dive': choose one of its clips, such as clip0" in capsys.readouterr().err


def test_half_precision_is_kept_unless_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = imported("benchmarks", "ship_lifter")
    data = people(tmp_path / "motion.npz")
    source, target = lifter(tmp_path / "a.safetensors"), tmp_path / "new" / "b.safetensors"
    monkeypatch.setattr(script, "HALF_COSTS_MM", 10.0)  # it has learned nothing: 871 mm
    whole, half = script.ship(source, target, data)
    assert whole != half
    network, header = load_lifter(target)
    assert header.error_mm == pytest.approx(whole, abs=0.01)
    before = load_lifter(source)[0].state_dict()
    assert any((value != before[name]).any() for name, value in network.state_dict().items())
    monkeypatch.setattr(script, "HALF_COSTS_MM", 0.0)
    assert script.ship(source, target, data) == (whole, whole)
    for name, value in load_lifter(target)[0].state_dict().items():
        assert torch.equal(value, before[name]), name
