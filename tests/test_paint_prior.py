"""The script that paints a prior on the body."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from meshreg.body.smpl import Body, load_body
from meshreg.clothing.counting import labels_from_joints
from meshreg.clothing.prior import SemanticPrior, save_semantic_prior

DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        return importlib.import_module("paint_prior")


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def test_a_prior_is_painted(
    script: ModuleType, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "SIZE", (200, 170))
    prior = SemanticPrior(
        probs=labels_from_joints(body.weights), topology_hash=body.topology_hash, recipe="joints"
    )
    save_semantic_prior(tmp_path / "prior.safetensors", prior)
    out = tmp_path / "prior.png"
    argv = ["paint_prior.py", str(tmp_path / "prior.safetensors"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", argv)
    assert script.main() == 0
    picture = np.asarray(Image.open(out)).astype(int)
    red, green, blue = (picture[:220, :170, i] for i in range(3))
    shoes = (red > 120) & (green > 80) & (blue < 60)
    face = (blue > 120) & (red < 60) & (green < 60)
    assert shoes.sum() > 20 and face.sum() > 20
    assert np.nonzero(shoes)[0].min() > np.nonzero(face)[0].max(), "shoes below the face"


def test_a_prior_that_is_not_there(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["paint_prior.py", "nowhere.safetensors"])
    assert script.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
