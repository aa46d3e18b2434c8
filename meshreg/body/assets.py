"""Body models as plain arrays: what a body file holds, reading and writing it, finding it.

A body file is an `.npz` in SMPL's layout; sparse arrays are stored as coordinate triplets. Every
file carries a topology hash, because vertex-keyed data of one body is nonsense on another.
"""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np

from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

Gender = Literal["neutral", "male", "female"]

BUILTIN_PATH = Path(__file__).with_name("builtin.npz")
FORMAT_VERSION = 1
DEFAULT_FOLDER = Path("body_models")
LICENSED = ("smpl_neutral", "smpl_male", "smpl_female")
# What a damaged file makes numpy raise; a file of plain text makes it speak of pickles.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    RuntimeError,
)


@dataclass(frozen=True, eq=False)
class BodyData:
    """The arrays of one SMPL-format body, in metres, T-pose, y up, facing +z, left = +x."""

    name: str  # "builtin", "smpl_neutral", ...
    licence: str  # one line: who owns the data and under which terms
    v_template: np.ndarray  # (V, 3) float32
    faces: np.ndarray  # (F, 3) int64
    shapedirs: np.ndarray  # (V, 3, S) float32, metres per unit of beta
    posedirs: np.ndarray  # (V, 3, 207) float32
    J_regressor: np.ndarray  # (24, V) float32, rows sum to one
    weights: np.ndarray  # (V, 24) float32, rows sum to one
    parents: np.ndarray  # (24,) int64, -1 for the root
    # Extras of the built-in body; empty for files that have none.
    uv: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))  # (Vt, 2)
    uv_faces: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))  # (F, 3)
    vertex_part: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (V,) joint id
    mirror: np.ndarray = field(
        default_factory=lambda: np.zeros(0, np.int64)
    )  # (V,) mirrored vertex
    regressors: dict[str, np.ndarray] = field(default_factory=dict)  # joint set -> (J, V) float32
    recipe: str = ""  # how the file was made

    @property
    def topology_hash(self) -> str:
        return topology_hash(len(self.v_template), self.faces)


def topology_hash(num_vertices: int, faces: np.ndarray) -> str:
    """Sixteen hex digits that name a vertex order: a digest of the vertex count and the faces."""
    digest = hashlib.sha256(np.int64(num_vertices).tobytes())
    digest.update(np.ascontiguousarray(faces, dtype="<i8").tobytes())
    return digest.hexdigest()[:16]


def check_same_topology(expected: str, found: str, what: str) -> None:
    """Refuse data that is keyed to the vertices of another body.

    Raises:
        InputError: if the two topology hashes differ.
    """
    if expected != found:
        raise InputError(
            f"{what} belongs to a body with topology {found}, but this body has {expected}: "
            "use the file made for this body, or load the body that the file was made for."
        )


def _smallest_uint(highest: int) -> type:
    return np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.uint32


def _pack_sparse(name: str, dense: np.ndarray, value_type: type) -> dict[str, np.ndarray]:
    matrix = dense.reshape(-1, dense.shape[-1])
    row, column = np.nonzero(matrix)
    return {
        f"{name}.row": row.astype(_smallest_uint(matrix.shape[0])),
        f"{name}.column": column.astype(_smallest_uint(matrix.shape[1])),
        f"{name}.value": matrix[row, column].astype(value_type),
        f"{name}.shape": np.array(dense.shape, np.int64),
    }


def _unpack_sparse(name: str, arrays: Any) -> np.ndarray:
    shape = tuple(arrays[f"{name}.shape"])
    dense = np.zeros((int(np.prod(shape[:-1])), int(shape[-1])), np.float32)
    dense[arrays[f"{name}.row"], arrays[f"{name}.column"]] = arrays[f"{name}.value"]
    return dense.reshape(shape)


def save_body_data(data: BodyData, path: Path, value_type: type = np.float32) -> None:
    """Write a body file; `value_type=np.float16` halves it at a cost of under 0.1 mm."""
    arrays: dict[str, Any] = {
        "format_version": np.int64(FORMAT_VERSION),
        "topology_hash": np.array(data.topology_hash),
        "name": np.array(data.name),
        "licence": np.array(data.licence),
        "recipe": np.array(data.recipe),
        "v_template": data.v_template.astype(np.float32),
        "f": data.faces.astype(_smallest_uint(len(data.v_template))),
        "shapedirs": data.shapedirs.astype(value_type),
        "parents": data.parents.astype(np.int8),
        "uv": data.uv.astype(np.float32),
        "uv_faces": data.uv_faces.astype(_smallest_uint(len(data.uv))),
        "vertex_part": data.vertex_part.astype(np.uint8),
        "mirror": data.mirror.astype(_smallest_uint(len(data.v_template))),
    }
    for name in ("weights", "posedirs"):
        arrays |= _pack_sparse(name, getattr(data, name), value_type)
    # Regressor rows keep float32: their sums to one are worth more than the few kilobytes.
    arrays |= _pack_sparse("J_regressor", data.J_regressor, np.float32)
    for joint_set, rows in data.regressors.items():
        arrays |= _pack_sparse(f"regressor.{joint_set}", rows, np.float32)
    write_npz(path, arrays)


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Write a compressed `.npz` whole or not at all, with the same bytes every time."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_body_data(path: Path) -> BodyData:
    """Read a body file written by `save_body_data`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is not a body file or its topology hash does not fit its arrays.
    """
    if not path.is_file():
        raise MissingFileError(
            f"no body file at {path}: see body_models/README.md for how to get one."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _body_data(arrays, path)
    except _UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: make it again with `meshreg models add`.") from error


def _body_data(arrays: Any, path: Path) -> BodyData:
    if "format_version" not in arrays or "topology_hash" not in arrays:
        raise InputError(
            f"{path} is not a meshreg body file: convert it with `meshreg models add {path}`."
        )
    prefix = "regressor."
    regressors = {key[len(prefix) : -len(".shape")] for key in arrays if key.startswith(prefix)}
    weights = _unpack_sparse("weights", arrays)
    data = BodyData(
        name=str(arrays["name"]),
        licence=str(arrays["licence"]),
        recipe=str(arrays["recipe"]),
        v_template=arrays["v_template"].astype(np.float32),
        faces=arrays["f"].astype(np.int64),
        shapedirs=arrays["shapedirs"].astype(np.float32),
        posedirs=_unpack_sparse("posedirs", arrays),
        J_regressor=_unpack_sparse("J_regressor", arrays),
        weights=weights / weights.sum(1, keepdims=True),  # half precision loses 1e-4 of a row
        parents=arrays["parents"].astype(np.int64),
        uv=arrays["uv"],
        uv_faces=arrays["uv_faces"].astype(np.int64),
        vertex_part=arrays["vertex_part"].astype(np.int64),
        mirror=arrays["mirror"].astype(np.int64),
        regressors={
            name: _unpack_sparse(prefix + name, arrays)
            for name in sorted(regressors)
            if f"{prefix}{name}.shape" in arrays
        },
    )
    check_same_topology(data.topology_hash, str(arrays["topology_hash"]), f"the header of {path}")
    return data


def find_body_file(name: str, folder: Path | None = None) -> Path:
    """Where the body of that name is kept: "builtin", "smpl_neutral", ..., or a path to an `.npz`.

    Raises:
        MissingFileError: if it is not there; the sentence says where to get it.
        InputError: if the name means nothing.
    """
    if name == "builtin":
        path = BUILTIN_PATH
        hint = "install meshreg again, the built-in body is part of it."
    elif name in LICENSED:
        path = (
            (folder or DEFAULT_FOLDER) / "smpl" / f"SMPL_{name.removeprefix('smpl_').upper()}.npz"
        )
        hint = _how_to_get(path)
    elif name.endswith(".npz"):
        path = Path(name)
        hint = f"check the path, or use one of {', '.join(('builtin', *LICENSED))}."
    else:
        raise InputError(_unknown_body(name))
    if not path.is_file():
        raise MissingFileError(f"{path.name} is not in {path.parent}: {hint}")
    return path


def _how_to_get(path: Path) -> str:
    unconverted = path.with_suffix(".pkl")
    if unconverted.is_file():
        return f"convert the {unconverted.name} there with `meshreg models add {unconverted}`."
    neutral = " (or smplify.is.tue.mpg.de, neutral only)" if "NEUTRAL" in path.name else ""
    return (
        f"download SMPL from smpl.is.tue.mpg.de{neutral} under its own licence and run "
        "`meshreg models add PATH` on the download, or use the free body "
        "called builtin (load_body() without arguments)."
    )


def _unknown_body(name: str) -> str:
    if name.endswith(".pkl"):
        return f"{name} is a pickle: convert it once with `meshreg models add {name}`."
    known = ("builtin", *LICENSED)
    close = get_close_matches(name, known, n=1)
    return (
        f"{name!r} is not a body{f' (did you mean {close[0]}?)' if close else ''}: "
        f"choose from {', '.join(known)} or give a path to an .npz file."
    )


def load_body_data(name: str = "builtin", *, folder: Path | None = None) -> BodyData:
    """Read a body by name: the free built-in one, a converted SMPL, or a path to a body file."""
    return read_body_data(find_body_file(name, folder))
