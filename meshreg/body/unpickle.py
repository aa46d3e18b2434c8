"""Reading the arrays of a pickle without running any of it.

A pickle is a program: it may name any function and call it. Here a name is looked up in a short
table only, and whatever it stands for, what comes back is an inert record of how it was called.
`to_array` then understands the records of numpy arrays, scipy sparse matrices and chumpy objects,
so none of the libraries that wrote the file is needed.
"""

import io
import math
import pickle
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from meshreg.errors import InputError

MAX_ELEMENTS = 20_000_000  # three times the largest array of a SMPL file
_REMEDY = "give the file as it came from its official site."
# What Python raises for a pickle or archive that is cut off, damaged or made to do harm.
_DAMAGE = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_REFUSED_OPCODES = {
    "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER", "BYTEARRAY8",
}  # fmt: skip


def _known_names() -> dict[str, str]:
    """The names a pickle may use, each with the kind of record that it makes."""
    kinds = {"numpy.ndarray": "plain", "numpy.dtype": "dtype", "_codecs.encode": "bytes"}
    for core in ("numpy.core", "numpy._core"):
        kinds[f"{core}.multiarray._reconstruct"] = "array"
        kinds[f"{core}.multiarray.scalar"] = "scalar"
        kinds[f"{core}.numeric._frombuffer"] = "buffer"
    for form in ("csc", "csr", "coo"):
        for module in (f"scipy.sparse.{form}", f"scipy.sparse._{form}", "scipy.sparse"):
            kinds |= {f"{module}.{form}_matrix": form, f"{module}.{form}_array": form}
    kinds |= {"chumpy.ch.Ch": "ch", "chumpy.reordering.Select": "select"}
    kinds |= {"chumpy.reordering.Reshape": "reshape", "chumpy.reordering.transpose": "transpose"}
    for builtins in ("builtins", "__builtin__"):
        kinds |= {f"{builtins}.{name}": "plain" for name in ("object", "set", "bytes")}
    return kinds | {"copy_reg._reconstructor": "new", "copyreg._reconstructor": "new"}


_KINDS = _known_names()


class Record:
    """What stands in for an object of the pickle: how it was made and the state it was given."""

    kind: str  # set by the subclass made for each name
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> "Record":
        if cls.kind == "new":  # Python 2's way to write cls.__new__(cls)
            made = args[0]
            if not (isinstance(made, type) and issubclass(made, Record)):
                raise pickle.UnpicklingError("an object is made from something that is no class")
            return made.__new__(made)
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Forbidden(Exception):
    """The pickle names something outside the table; deliberately not an error of `_DAMAGE`."""


class _RecordingUnpickler(pickle._Unpickler):
    """Python's own unpickler in Python, whose every name and opcode goes through our tables.

    The C version would be faster, but it sets memory aside for sizes that a file only claims to
    have. The few thousand opcodes of a body model make no difference.
    """

    dispatch = {
        code: pickle._Unpickler.dispatch[code]
        for code in pickle._Unpickler.dispatch
        if pickletools.code2op[chr(code)].name not in _REFUSED_OPCODES  # type: ignore[attr-defined]
    }

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # as Python 2 files need
        self.classes: dict[str, type[Record]] = {}

    def find_class(self, module: str, name: str) -> type[Record]:
        path = f"{module}.{name}"
        # Fields that nobody reads may hold any node of a chumpy expression.
        kind = _KINDS.get(path, "unread" if module.startswith("chumpy.") else "")
        if not kind:
            raise _Forbidden(path)
        # Made anew for every file, so that no file can leave anything behind for the next.
        if path not in self.classes:
            self.classes[path] = type(path, (Record,), {"kind": kind})
        return self.classes[path]

    def load_bytearray(self) -> None:
        """Read a byte array that is really there; Python's own sets its size aside first."""
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.append(self.read(size))  # type: ignore[attr-defined]

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray  # type: ignore[assignment]


@contextmanager
def damage_reported(what: str) -> Iterator[None]:
    """Turn whatever a damaged file makes Python raise into one sentence for the user."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{what} is damaged or of another kind ({type(error).__name__} while reading): "
            "download it again."
        ) from error


def read_pickle(data: bytes, what: str) -> Any:
    """Read a pickle into plain containers and records; nothing that it names is ever called.

    Raises:
        InputError: if it is damaged, or names anything that arrays do not need.
    """
    try:
        with damage_reported(what):
            return _RecordingUnpickler(data).load()
    except _Forbidden as error:
        raise InputError(
            f"{what} was refused because it asks for {str(error)[:100]!r}, which arrays "
            "do not need and which could run code: get the file from its official site."
        ) from None


def to_array(value: Any) -> np.ndarray:
    """The array that a record, a number or a list of numbers stands for.

    Raises:
        InputError: if it stands for no array.
    """
    if isinstance(value, Record):
        convert = _CONVERTERS.get(value.kind)
        if convert is None:
            raise InputError(f"a {type(value).__name__} stands where an array should be: {_REMEDY}")
        return convert(value)
    # Flat lists only: nested ones may refer to each other and so be far longer than the file.
    items = value if isinstance(value, list | tuple) else [value]
    if all(isinstance(item, str | bytes | int | float) for item in items):
        return np.asarray(value)
    raise InputError(f"a {type(value).__name__} stands where an array should be: {_REMEDY}")


def _leaf(value: Any) -> np.ndarray:
    """An array proper: parts that were made of parts could refer to each other without end."""
    if isinstance(value, Record) and (value.kind not in ("array", "buffer") or _is_box(value)):
        raise InputError(
            f"a {type(value).__name__} stands where a plain array should be: {_REMEDY}"
        )
    return to_array(value)


def _is_box(record: Record) -> bool:
    """Whether this is an array of objects, in which numpy.savez wraps a sparse matrix."""
    return record.kind == "array" and _dtype(record.state[2]).hasobject


def _raw_bytes(value: Any) -> bytes:
    if isinstance(value, Record) and value.kind == "bytes":
        value, encoding = value.args
        assert encoding == "latin1", encoding
    return value.encode("latin1") if isinstance(value, str) else bytes(memoryview(value))


def _checked_shape(shape: Any) -> tuple[int, ...]:
    """A shape that memory can hold."""
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise InputError(f"an array claims to have the shape {sizes}: {_REMEDY}")
    return sizes


def _dtype(record: Record) -> np.dtype:
    assert isinstance(record, Record) and record.kind == "dtype", record
    code = str(record.args[0])
    if not re.fullmatch(r"b1|[iuf][1248]|[SU]\d{1,4}|O8?", code):
        raise InputError(f"an array has elements of type {code[:40]!r}: {_REMEDY}")
    order: Any = record.state[1] if record.state else "="
    if order not in ("<", ">", "|", "="):
        raise pickle.UnpicklingError(f"byte order {order!r}")
    return np.dtype(code).newbyteorder(order)


def _from_raw(raw: Any, dtype: np.dtype, shape: Any, order: Any) -> np.ndarray:
    # `reshape` fails unless the bytes of the claimed shape are really there.
    return np.frombuffer(_raw_bytes(raw), dtype).reshape(_checked_shape(shape), order=order)


def _from_state(record: Record) -> np.ndarray:
    _, shape, dtype, is_fortran, raw = record.state
    if _is_box(record):
        (content,) = raw
        return to_array(content)
    return _from_raw(raw, _dtype(dtype), shape, "F" if is_fortran else "C")


def _from_buffer(record: Record) -> np.ndarray:
    raw, dtype, shape, order = record.args
    assert order in ("C", "F"), order
    return _from_raw(raw, _dtype(dtype), shape, order)


def _from_scalar(record: Record) -> np.ndarray:
    dtype, raw = record.args
    return _from_raw(raw, _dtype(dtype), (), "C")


def _from_sparse(record: Record) -> np.ndarray:
    state = record.state
    shape = _checked_shape(state["_shape"] if "_shape" in state else state["shape"])
    value = _leaf(state["data"])
    if record.kind == "coo":
        places = state["coords"] if "coords" in state else (state["row"], state["col"])
        row, column = (_leaf(place) for place in places)
    else:
        starts, minor = _leaf(state["indptr"]), _leaf(state["indices"])
        counts = np.diff(starts)
        assert starts[-1] == len(minor) and (counts >= 0).all(), "indptr"
        major = np.repeat(np.arange(len(counts)), counts)
        row, column = (minor, major) if record.kind == "csc" else (major, minor)
    dense = np.zeros(shape, value.dtype)
    assert min(row.min(initial=0), column.min(initial=0)) >= 0, "a negative place"
    np.add.at(dense, (row, column), value)
    return dense


def _from_select(record: Record) -> np.ndarray:
    state = record.state
    picked = to_array(state["a"]).ravel()[_leaf(state["idxs"])]
    return picked.reshape(_checked_shape(state.get("preferred_shape", picked.shape)))


def _from_reshape(record: Record) -> np.ndarray:
    return to_array(record.state["a"]).reshape(record.state["newshape"])


def _from_transpose(record: Record) -> np.ndarray:
    return np.transpose(to_array(record.state["a"]), record.state.get("axes"))


_CONVERTERS = {
    "array": _from_state,
    "buffer": _from_buffer,
    "scalar": _from_scalar,
    "csc": _from_sparse,
    "csr": _from_sparse,
    "coo": _from_sparse,
    "ch": lambda record: to_array(record.state["x"]),
    "select": _from_select,
    "reshape": _from_reshape,
    "transpose": _from_transpose,
}
