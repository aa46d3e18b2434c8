"""The licensed SMPL files: recognised by content, converted once into plain body files.

SMPL itself cannot be shipped. Whoever holds a licence points `add_body_models` at what they
downloaded (a `.pkl`, an `.npz`, a folder or a zip), and finds ordinary body files afterwards.
"""

import io
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.body.assets import BUILTIN_PATH, BodyData, Gender, read_body_data, save_body_data
from meshreg.body.skeleton import skeleton
from meshreg.body.unpickle import damage_reported, read_pickle, to_array
from meshreg.errors import InputError, MissingFileError

LICENCE = "SMPL model licence of the Max Planck Society (smpl.is.tue.mpg.de); not redistributable"
NUM_VERTICES, NUM_FACES, NUM_JOINTS = 6890, 13776, 24
_LOG = logging.getLogger(__name__)
_KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_MAX_BYTES = 2**30  # four times the largest official file
_OTHER_FAMILIES = {10475: "SMPL-X", 778: "MANO", 5023: "FLAME", 3889: "SMAL"}  # by vertex count


@dataclass(frozen=True)
class BodyFile:
    """One line of the list of bodies at hand."""

    name: str  # what `load_body` takes
    path: Path
    num_vertices: int = 0  # 0 if the file cannot be read
    num_betas: int = 0
    topology_hash: str = ""
    licence: str = ""
    problem: str = ""  # why the file cannot be used; empty if it can


def add_body_models(
    path: Path, folder: Path, gender: Gender | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Convert downloaded SMPL files into `folder/smpl/SMPL_<GENDER>.npz`.

    Raises:
        InputError: if there is nothing to convert, or another file is already in the way.
    """
    targets = {
        folder / "smpl" / f"SMPL_{body.name.removeprefix('smpl_').upper()}.npz": body
        for body in load_official(path, gender)
    }
    missing = {target: body for target, body in targets.items() if not _is_there(target, body)}
    for target in missing:
        if target.exists() and not overwrite:
            raise InputError(
                f"{target} already holds another body: remove it first, or add with "
                "`--overwrite true` (overwrite=True)."
            )
    for target, body in missing.items():
        save_body_data(body, target)
    return list(targets)


def _is_there(target: Path, body: BodyData) -> bool:
    try:
        there = read_body_data(target)
    except InputError:
        return False
    return _same_body(there, body)


def _same_body(one: BodyData, other: BodyData) -> bool:
    names = ("v_template", "faces", "shapedirs", "posedirs", "J_regressor", "weights")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return one.name == other.name and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in pairs
    )


def list_body_models(folder: Path = Path("body_models")) -> list[BodyFile]:
    """The built-in body and every converted file of a folder, broken ones included."""
    paths = [BUILTIN_PATH, *sorted((folder / "smpl").glob("*.npz"))]
    return [_describe(path) for path in paths]


def _describe(path: Path) -> BodyFile:
    name = "builtin" if path == BUILTIN_PATH else path.stem.lower()
    try:
        data = read_body_data(path)
    except InputError as error:
        return BodyFile(name=name, path=path, problem=str(error))
    return BodyFile(
        name=data.name,
        path=path,
        num_vertices=len(data.v_template),
        num_betas=data.shapedirs.shape[2],
        topology_hash=data.topology_hash,
        licence=data.licence,
    )


def load_official(path: Path, gender: Gender | None = None) -> list[BodyData]:
    """Read the SMPL models in a file, a folder or a zip; `gender` for files that do not tell.

    Raises:
        MissingFileError: if there is nothing at that path.
        InputError: if no SMPL model is found; for a single file, the reason.
    """
    bodies: dict[str, BodyData] = {}
    problems: list[str] = []
    for name, read in _files(path):
        try:
            body = _body(name, _fields(read(), name), gender)
        except InputError as error:
            problems.append(str(error))
            continue
        bodies[body.name] = _preferred(bodies.get(body.name), body)
    if not bodies:
        nothing = f"{path} holds no .pkl or .npz file: give the file or archive of SMPL itself."
        raise InputError(problems[0] if problems else nothing)
    for problem in problems:
        _LOG.warning("skipped: %s", problem)
    return [bodies[name] for name in sorted(bodies)]


def _preferred(first: BodyData | None, second: BodyData) -> BodyData:
    """Of two releases of one model, the one with more shape components."""
    if first is None:
        return second
    shorter, longer = sorted((first, second), key=lambda body: body.shapedirs.shape[2])
    num_betas = shorter.shapedirs.shape[2]
    if not _same_body(shorter, replace(longer, shapedirs=longer.shapedirs[..., :num_betas])):
        raise InputError(
            f"two different models claim to be {first.name} ({first.recipe}; {second.recipe}): "
            "give one of the two files."
        )
    return longer


def _files(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every file that might be a model: its name, and what reads it."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and _may_be_model(file.name):
                yield str(file.relative_to(path)), partial(_read_file, file)
    elif not path.is_file():
        raise MissingFileError(f"there is no file or folder at {path}: check the path.")
    elif _is_archive(path):
        yield from _archive_members(path)
    else:
        yield path.name, partial(_read_file, path)


def _may_be_model(name: str) -> bool:
    return name.lower().endswith((".pkl", ".npz")) and not Path(name).name.startswith(".")


def _read_file(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _MAX_BYTES:
        raise InputError(f"{path} has {size >> 20} MiB, more than any SMPL file: give another.")
    return path.read_bytes()


def _is_archive(path: Path) -> bool:
    """Whether this is a zip of files; an `.npz` is a zip of arrays."""
    if not zipfile.is_zipfile(path):
        return False
    with damage_reported(path.name), zipfile.ZipFile(path) as archive:
        return not all(name.endswith(".npy") for name in archive.namelist())


def _archive_members(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with damage_reported(path.name), zipfile.ZipFile(path) as archive:
        for name in sorted(filter(_may_be_model, archive.namelist())):
            yield name, partial(_read_member, archive, name)


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise InputError(f"{name} in the archive is larger than any SMPL file: it is not SMPL.")
    with damage_reported(name):
        return archive.read(name)


def _fields(content: bytes, what: str) -> Mapping[str, Any]:
    """The named values of a pickle or an `.npz`, as records or arrays."""
    if content.startswith(b"PK\x03\x04"):
        return _npz_fields(content, what)
    fields = read_pickle(content, what)
    if not isinstance(fields, dict):
        raise InputError(f"{what} does not hold a body model: give a file of SMPL itself.")
    return fields


def _npz_fields(content: bytes, what: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    with damage_reported(what), zipfile.ZipFile(io.BytesIO(content)) as archive:
        for file in archive.namelist():
            key = file.removesuffix(".npy")
            if key in (*_KEYS, "gender", "topology_hash"):
                fields[key] = _npy_value(_read_member(archive, file), f"{key} in {what}")
    return fields


def _npy_value(raw: bytes, what: str) -> Any:
    """An array, read without numpy's own unpickling of object arrays."""
    file = io.BytesIO(raw)
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:  # a scipy matrix that was saved like an array
        return read_pickle(file.read(), what)
    # No check of the claimed size is needed: `reshape` fails unless the bytes are really there.
    return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if is_fortran else "C")


def _array(fields: Mapping[str, Any], key: str, what: str) -> np.ndarray:
    value = fields[key]
    if isinstance(value, np.ndarray):
        return value
    try:
        return to_array(value)
    except InputError as error:
        raise InputError(f"in {key} of {what} {error}") from error


def _body(what: str, fields: Mapping[str, Any], gender: Gender | None) -> BodyData:
    if "topology_hash" in fields:
        raise InputError(f"{what} is a meshreg body file already: pass its path to load_body().")
    lacking = [key for key in _KEYS if key not in fields]
    if lacking:
        raise InputError(f"{what} has no {lacking[0]}, so it is not SMPL: give a file of SMPL.")
    with damage_reported(what):
        arrays = {key: _array(fields, key, what) for key in _KEYS}
        _check_shapes(arrays, what)
        _check_values(arrays, what)
        sex = _gender(fields, what, gender)
    return BodyData(
        name=f"smpl_{sex}",
        licence=LICENCE,
        v_template=arrays["v_template"].astype(np.float32),
        faces=arrays["f"].astype(np.int64),
        shapedirs=arrays["shapedirs"].astype(np.float32),
        posedirs=arrays["posedirs"].astype(np.float32),
        J_regressor=arrays["J_regressor"].astype(np.float32),
        weights=(arrays["weights"] / arrays["weights"].sum(1, keepdims=True)).astype(np.float32),
        parents=np.array(skeleton("smpl24").parents, np.int64),
        recipe=f"converted from {Path(what).name}",
    )


def _other_family(arrays: Mapping[str, np.ndarray]) -> str:
    """The name of the model family if it is a known one other than SMPL."""
    shape = {key: array.shape for key, array in arrays.items()}
    if shape["v_template"][:1] != (NUM_VERTICES,):
        return _OTHER_FAMILIES.get(shape["v_template"][0] if shape["v_template"] else 0, "")
    if shape["weights"] == (NUM_VERTICES, 52):
        return "SMPL-H"
    return "STAR" if shape["posedirs"][-1:] == (93,) else ""


def _check_shapes(arrays: Mapping[str, np.ndarray], what: str) -> None:
    family = _other_family(arrays)
    if family:
        raise InputError(f"{what} is a {family} model, not SMPL: only SMPL itself can be added.")
    num_betas = arrays["shapedirs"].shape[-1] if arrays["shapedirs"].ndim == 3 else 0
    expected = {
        "v_template": (NUM_VERTICES, 3),
        "f": (NUM_FACES, 3),
        "shapedirs": (NUM_VERTICES, 3, max(1, num_betas)),
        "posedirs": (NUM_VERTICES, 3, 9 * (NUM_JOINTS - 1)),
        "J_regressor": (NUM_JOINTS, NUM_VERTICES),
        "weights": (NUM_VERTICES, NUM_JOINTS),
        "kintree_table": (2, NUM_JOINTS),
    }
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise InputError(
                f"{what} has a {key} of shape {arrays[key].shape} where SMPL has {shape}: "
                "give a file of SMPL itself."
            )


def _check_values(arrays: Mapping[str, np.ndarray], what: str) -> None:
    numeric = all(array.dtype.kind in "iuf" for array in arrays.values())
    if not numeric or not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"{what} holds values that are not finite numbers: download it again.")
    for key in ("weights", "J_regressor"):
        error = np.abs(arrays[key].sum(1) - 1).max()
        if error > 1e-3 or arrays[key].min() < -1e-3:
            raise InputError(f"the rows of {key} in {what} do not sum to one: download it again.")
    if arrays["f"].min() < 0 or arrays["f"].max() >= NUM_VERTICES:
        raise InputError(f"{what} has faces of vertices that do not exist: download it again.")
    # The root's parent is -1 or, in unsigned files, the largest number.
    parents = arrays["kintree_table"][0, 1:].astype(np.int64)
    if tuple(parents) != skeleton("smpl24").parents[1:]:
        raise InputError(f"{what} does not have SMPL's joint tree: give a file of SMPL itself.")


def _gender(fields: Mapping[str, Any], what: str, given: Gender | None) -> Gender:
    """The gender that the file states, else the one given, else what its name hints at."""
    stated = _gender_in(_text(fields, what)) if "gender" in fields else None
    if stated and given and stated != given:
        raise InputError(f"{what} says that it is {stated}, not {given}: leave gender out.")
    hints = [_gender_in(part) for part in reversed(Path(what).parts)]
    found = stated or given or next(filter(None, hints), None)
    if found is None:
        raise InputError(
            f"{what} does not tell whether it is the neutral, male or female model: "
            "say which with --gender (gender=...)."
        )
    return found


def _gender_in(text: str) -> Gender | None:
    words = re.split(r"[^a-z]+", text.lower())
    genders: list[Gender] = ["neutral", "female", "male"]  # "female" holds "male": it comes first
    for gender in genders:
        if gender in text.lower() or (gender != "neutral" and gender[0] in words):
            return gender
    return None


def _text(fields: Mapping[str, Any], what: str) -> str:
    array = _array(fields, "gender", what)
    text = array.item() if array.size == 1 else ""
    return text.decode("latin1") if isinstance(text, bytes) else str(text)
