"""The architecture as a test: imports point down, and heavy libraries stay in their place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "meshreg"
LAYERS = [
    {"errors"},
    {"files"},
    {"geometry", "weight_files"},
    {"body", "metrics"},
    {"clothing", "render", "export"},
    {"models", "lifters", "losses", "data", "adapt"},
    {"evaluate"},
    {"train", "fit"},
    {"predictor"},
    {"cli", "__init__"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
FILES = sorted(ROOT.rglob("*.py"))
# Libraries and the most modules that may import each of them.
CONFINED = {
    "jsonargparse": 1,
    "smplx": 1,
    "pytorch3d": 1,
    "cv2": 2,
    "trimesh": 2,
    "timm": 2,
    "transformers": 2,
    "lightning": 2,
}
NUMPY_FREE = ("geometry", "models", "lifters", "losses", "metrics", "train")


def imports_of(source: str) -> list[str]:
    """Every absolute module name that a source text imports, at any depth of nesting."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write the full module name"
            assert node.module is not None
            if node.module == "meshreg":
                names += [f"meshreg.{alias.name}" for alias in node.names]
            else:
                names.append(node.module)
    return names


def layer_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def upward_imports(here: str, source: str) -> list[str]:
    wrong = []
    for name in imports_of(source):
        if name.startswith("meshreg."):
            there = name.split(".")[1]
            if here != there and RANK[there] >= RANK[here]:
                wrong.append(name)
    return wrong


def test_imports_point_down() -> None:
    assert len(FILES) >= 20, "did the package move?"
    for file in FILES:
        assert not upward_imports(layer_of(file), file.read_text(encoding="utf-8")), file


def test_an_upward_import_is_noticed() -> None:
    assert upward_imports("geometry", "def f():\n    from meshreg.body.smpl import Body")
    assert upward_imports("losses", "import meshreg.data.images")
    assert not upward_imports("fit", "from meshreg.body.smpl import Body")


@pytest.mark.parametrize("library", CONFINED)
def test_confined_libraries(library: str) -> None:
    users = [
        file
        for file in FILES
        if any(
            name.split(".")[0] == library for name in imports_of(file.read_text(encoding="utf-8"))
        )
    ]
    assert len(users) <= CONFINED[library], users


def test_warp_stays_under_render() -> None:
    for file in FILES:
        if any(n.split(".")[0] == "warp" for n in imports_of(file.read_text(encoding="utf-8"))):
            assert layer_of(file) == "render", file


def test_numpy_stays_at_the_borders() -> None:
    for file in FILES:
        if layer_of(file) in NUMPY_FREE:
            assert "numpy" not in imports_of(file.read_text(encoding="utf-8")), file


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "common", "helpers", "misc", "types", "base"}
    assert not [file for file in FILES if file.stem in drawers]


def test_files_hold_one_idea_each() -> None:
    for file in ROOT.parent.rglob("*.py"):
        if ".venv" not in file.parts:
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 350, file
