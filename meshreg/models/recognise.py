"""What network a file of torch.save belongs to, from the names in it: nothing in it is loaded."""

import zipfile
from pathlib import Path

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80\x02"  # how files of torch.save begin, new ones and old ones
_PERSPOSE = b"rho0_layer.weight"  # no other network has such a layer
_MOST_NAMES = 1 << 24  # bytes; old files begin with all names


def is_torch_file(path: Path) -> bool:
    """Whether a file was written by torch.save; False if it is not there."""
    start = _start(path, len(_ZIP))
    return start.startswith((_ZIP, _PICKLE))


def names_perspose(path: Path) -> bool:
    """Whether a file of torch.save holds the layers of a PersPose."""
    try:
        with zipfile.ZipFile(path) as file:
            (names,) = (name for name in file.namelist() if name.endswith("/data.pkl"))
            return _PERSPOSE in file.read(names)
    except (zipfile.BadZipFile, ValueError, OSError):
        return _PERSPOSE in _start(path, _MOST_NAMES)


def _start(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""
