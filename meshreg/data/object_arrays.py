"""Reading `.npz` files whose arrays hold dictionaries, without running what is pickled in them.

numpy itself would run it: `allow_pickle=True` trusts the file. Here only dictionaries, lists,
texts, numbers and arrays of numbers come out, and whatever else a file asks for is refused.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.body.unpickle import Record, damage_reported, read_pickle, to_array
from meshreg.errors import InputError, MissingFileError

_LARGEST = 2**31  # bytes of one array
_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_object_arrays(path: Path, *names: str) -> dict[str, Any]:
    """The named contents of an `.npz` file, as plain Python with arrays of numbers.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file, lacks a name, or names anything that could run code.
    """
    if not path.is_file():
        raise MissingFileError(f"no data at {path}: check the path.")
    with damage_reported(str(path)), zipfile.ZipFile(path) as archive:
        held = {Path(name).stem: name for name in archive.namelist()}
        for name in names:
            if name not in held:
                raise InputError(
                    f"{path} holds {', '.join(sorted(held)) or 'nothing'}, but no {name}: give "
                    "the file that its name in the documentation stands for."
                )
        return {name: _member(archive, held[name], f"{name} of {path}") for name in names}


def _member(archive: zipfile.ZipFile, name: str, what: str) -> Any:
    if archive.getinfo(name).file_size > _LARGEST:
        raise InputError(f"{what} claims more than 2 GB: download the file again.")
    data = archive.read(name)
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise InputError(f"{what} is written as version {version} of .npy: save it with numpy.")
    _, _, dtype = _READ_HEADER[version](stream)
    if dtype.hasobject:
        return _plain(read_pickle(data[stream.tell() :], what), {}, what)
    return np.load(io.BytesIO(data), allow_pickle=False)


def _plain(value: Any, done: dict[int, Any], what: str) -> Any:
    """Everything converted once, so that parts which refer to each other cannot grow."""
    if isinstance(value, str | bytes | int | float | bool | None):
        return value
    if id(value) in done:
        if done[id(value)] is _BUSY:
            raise InputError(f"{what} contains itself: download the file again.")
        return done[id(value)]
    done[id(value)] = _BUSY
    done[id(value)] = converted = _converted(value, done, what)
    return converted


_BUSY = object()


def _converted(value: Any, done: dict[int, Any], what: str) -> Any:
    if isinstance(value, dict):
        return {_plain(k, done, what): _plain(v, done, what) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, done, what) for part in value]
    if isinstance(value, Record) and value.kind == "array" and isinstance(value.state[4], list):
        shape, parts = tuple(value.state[1]), [_plain(part, done, what) for part in value.state[4]]
        if len(shape) > 1:
            raise InputError(f"{what} has objects in {len(shape)} axes: expected a list at most.")
        return parts if shape else parts[0]
    array = to_array(value)
    return array.item() if array.ndim == 0 else array
