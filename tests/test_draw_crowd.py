"""The script that draws a sheet of synthetic people."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from plain_people import plain_people

from meshreg.data.sample import Batch

DEMO = Path(__file__).parents[1] / "demo"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        return importlib.import_module("draw_crowd")


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["draw_crowd.py", *words])
    return script.main()


def test_people_and_labels_are_drawn_into_a_new_folder(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(count: int, seed: int, size: int) -> Batch:
        return plain_people().render(range(count))

    monkeypatch.setattr(script, "draw", draw)
    out = tmp_path / "new" / "crowd.png"
    assert run(script, monkeypatch, "--count=3", f"--out={out}") == 0
    pictures = [np.asarray(Image.open(p)) for p in (out, out.with_name("crowd_labels.png"))]
    side = draw(1, 0, 0).image.shape[-1]
    assert pictures[0].shape == pictures[1].shape == (2 * side, 2 * side, 3)
    first = draw(1, 0, 0).image[0].permute(1, 2, 0)
    assert torch.equal(torch.from_numpy(pictures[0][:side, :side].copy()), first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--count=0"], "--count must be at least 1, not 0"),
        (["--seed=-1"], "--seed must be 0 or more"),
        (["--size=7"], "size of the scene settings must be a number between 32 and 2048"),
        (["--out=crowd.xyz"], "FILE.png or FILE.jpg, found crowd.xyz"),
        (["--out=file/crowd.png"], "cannot write to file"),
    ],
)
def test_bad_input_is_one_sentence(
    script: ModuleType,
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert run(script, monkeypatch, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("draw_crowd: error: ") and error.count("\n") == 1 and said in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
