"""`import meshreg` is cheap, and every promised name is there."""

import subprocess
import sys

import pytest

import meshreg

HEAVY = (
    "torch", "numpy", "smplx", "warp", "cv2", "trimesh", "roma", "PIL", "jsonargparse", "scipy",
    "safetensors", "rich", "jaxtyping",
)  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_nothing_heavy() -> None:
    loaded = run(
        "import sys; before = set(sys.modules); import meshreg; dir(meshreg); meshreg.__version__;"
        f"print(*sorted(set({HEAVY!r}) & (set(sys.modules) - before)))"
    )
    assert loaded == ""


def test_the_check_above_can_fail() -> None:
    assert "torch" in run("import sys, meshreg; meshreg.Camera; print(*sys.modules)").split()


@pytest.mark.parametrize("name", meshreg.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(meshreg, name)
    assert name == "__version__" or value.__module__.startswith("meshreg.")
    assert name in dir(meshreg)


def test_names_that_are_not_there() -> None:
    with pytest.raises(AttributeError, match="meshreg.*'Bodi'"):
        _ = meshreg.Bodi
    assert not hasattr(meshreg, "_HOMES")


def test_a_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from meshreg import *", names)
    assert set(meshreg.__all__) <= set(names)
