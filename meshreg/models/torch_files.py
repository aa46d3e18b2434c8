"""Reading a file of torch.save without running anything that it asks for.

torch's own safe reader stops at every name it does not know. Training code of the time pickled its
configuration along with the weights; such names are given a stand-in that does nothing.
"""

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from meshreg.errors import InputError, MissingFileError

# Libraries whose objects are found beside the weights and are of no use to us.
_HARMLESS = (
    "yacs.",
    "omegaconf.",
    "argparse.Namespace",
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "numpy.",
    "pathlib.",
    "typing.",
    "collections.defaultdict",
    "easydict.",
    "addict.",
)
# Subclasses of dict, which the safe reader fills only as the plain kind.
_DICTS = ("CfgNode", "AttributeDict", "EasyDict", "defaultdict", "Dict")
_UNKNOWN_NAME = re.compile(r"GLOBAL (\S+) was not an allowed global")
_MOST_NAMES = 100
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
)


class Inert:
    """What stands in for an object that nobody needs: it keeps nothing and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_torch_file(path: Path) -> Any:
    """The content of a file of torch.save on the CPU: tensors, containers and inert objects.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or names anything that could run code.
    """
    if not path.is_file():
        raise MissingFileError(f"no checkpoint at {path}: check the path.")
    stand_ins: list[Any] = []
    for _ in range(_MOST_NAMES):
        try:
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            stand_ins.append(_stand_in(error, path))
    raise InputError(f"{path} names more than {_MOST_NAMES} classes: it is no checkpoint.")


def _stand_in(error: BaseException, path: Path) -> tuple[type, str]:
    """A harmless class for the name that the reader stopped at; other errors end the reading."""
    if not isinstance(error, pickle.UnpicklingError):
        raise InputError(
            f"{path} is damaged or not a file of torch.save ({type(error).__name__} while "
            "reading): download it again."
        ) from error
    unknown = _UNKNOWN_NAME.search(str(error))
    if unknown is None:
        raise InputError(
            f"{path} is damaged, or is more than a file of weights: download it again."
        ) from error
    name = unknown.group(1)
    if not name.startswith(_HARMLESS):
        raise InputError(
            f"{path} was refused because it asks for {name[:100]!r}, which weights do not need "
            "and could run code: get the file from its official site."
        ) from None
    return (OrderedDict if name.endswith(_DICTS) else Inert), name
