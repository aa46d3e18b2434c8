"""The script behind docs/pictures.md draws one panel for every function that it names."""

import importlib
import sys
from pathlib import Path

import pytest

from meshreg.data.images import read_image

ROOT = Path(__file__).parents[1]


def test_the_picture_of_the_docs_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "demo"))
    monkeypatch.setattr(sys, "argv", ["make_pictures.py", "--out", str(tmp_path / "sheet.jpg")])
    importlib.import_module("make_pictures").main()
    made, kept = tmp_path / "sheet.jpg", ROOT / "docs" / "images" / "pictures.jpg"
    assert read_image(made).shape == read_image(kept).shape
    assert abs(read_image(made).astype(int) - read_image(kept)).mean() < 2
    assert kept.stat().st_size < 200_000
