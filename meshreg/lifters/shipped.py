"""The lifters that come with meshreg, by name: files of weights in a folder of the package."""

import math
from pathlib import Path

from meshreg.errors import MissingFileError
from meshreg.lifters.checkpoint import read_lifter_header

WEIGHTS = Path(__file__).parent / "weights"
DEFAULT = "default"  # stands for the best of them
_ENDING = ".safetensors"


def shipped_names() -> list[str]:
    """The lifters that came along, the best first: by their error on people not trained on."""

    def error(name: str) -> float:
        found = read_lifter_header(_file(name)).error_mm
        return math.inf if found is None else found

    return sorted(sorted(file.stem for file in WEIGHTS.glob(f"*{_ENDING}")), key=error)


def find_lifter(name: str) -> Path:
    """The file of a lifter: a path as it is, else the one that came along under this name.

    Raises:
        MissingFileError: if there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    names = shipped_names()
    if name == DEFAULT and names:
        return _file(names[0])
    if name in names:
        return _file(name)
    known = f"choose from {', '.join(names)}" if names else "none came with this copy of meshreg"
    raise MissingFileError(
        f"there is no lifter named {name!r} and no such file: {known}; or train one with "
        "`meshreg train --config configs/lifters/small/ktpformer.yaml`, or give the path of "
        "weights that the authors of a lifter released."
    )


def _file(name: str) -> Path:
    return WEIGHTS / f"{name}{_ENDING}"
