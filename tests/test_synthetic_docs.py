"""The page about synthetic people: its Python runs, its table names every field."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from meshreg.cli import main
from meshreg.data.sample import Sample

PAGE = (Path(__file__).parents[1] / "docs" / "synthetic.md").read_text("utf-8")
NOT_OF_SYNTHETIC = re.compile(r"index|\w+_weight|keypoints_\w+")


@pytest.mark.slow
def test_the_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["synth", "--count=4", "--size=64", "--out=people", "--workers=1"]) == 0
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block, count in zip(blocks, (4, 8), strict=True):
        names: dict[str, object] = {}
        exec(block, names)
        assert names["batch"].vertices_cam.shape == (count, 7000, 3)


def test_the_table_names_every_field() -> None:
    named = {name for row in re.findall(r"^\| (`.*?) \|", PAGE, re.M) for name in row.split(", ")}
    known = {f"`{f.name}`" for f in fields(Sample) if not NOT_OF_SYNTHETIC.fullmatch(f.name)}
    assert named == known
