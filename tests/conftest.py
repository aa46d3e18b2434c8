"""Shared fixtures; and, for every test, run-time checks of the shapes written in signatures."""

import signal
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

PACKAGE = Path(__file__).parents[1] / "meshreg"
SHARED = Path(__file__).parents[2] / "shared"  # reference numbers; a user's checkout has none


def modules_with_checked_shapes() -> list[str]:
    """Every module of the package except those of Warp kernels, whose source Warp reads itself."""
    names = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if "import warp" in file.read_text(encoding="utf-8"):
            continue
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] != "__init__":
            names.append(".".join(parts))
    return names


install_import_hook(modules_with_checked_shapes(), "beartype.beartype")


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_works() -> None:
    """A shell that starts the tests in the background makes them, and what they start, deaf."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests make many tiny tensors; handing them to a second thread costs more than it gains."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def reference_fixtures() -> Path:
    folder = SHARED / "fixtures"
    if not folder.is_dir():
        pytest.skip("the reference numbers are not part of a user's checkout")
    return folder
