"""The README's Python runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from meshreg.fit.settings import FitSettings

ROOT = Path(__file__).parents[1]


def test_the_readmes_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # its paths start at the top of a clone
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2, "did the README change its form?"
    names: dict[str, Any] = {}
    for block in blocks:
        # A shorter search: this test is about names and shapes.
        quick = "settings=FitSettings(candidates=4, finalists=1, steps=(2, 2, 2, 2, 2))"
        block = block.replace("guess_camera(size))", f"guess_camera(size), {quick})")  # noqa: PLW2901
        names["FitSettings"] = FitSettings
        exec(block, names)  # noqa: S102
    assert names["fit"].vertices_cam.shape == (7000, 3)
    assert names["joints"].shape == (1, 17, 3)
    assert 2000 < float(names["image"].alpha.sum()) < 20_000


def test_every_linked_file_exists() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "demo" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
