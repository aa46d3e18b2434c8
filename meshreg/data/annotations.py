"""What a data set says about its people, one row each: the common form of foreign files.

Readers fill in what their file has; everything else keeps weight zero.
"""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.body.smpl import Body
from meshreg.data.sample import KEYPOINTS
from meshreg.errors import InputError, MissingFileError

SMPL_VERTICES = 6890
NUM_KEYPOINTS = len(KEYPOINTS)
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False)
class Annotations:
    """The people of a data set. Pixels are those of the full pictures, lengths metres."""

    source: str  # the file, for messages
    images: tuple[str, ...]  # picture of each person, relative to the folder of pictures
    box: np.ndarray  # (N, 3) centre x, centre y and side of a square
    K: np.ndarray  # (N, 3, 3); NaN where nobody knows it
    betas: np.ndarray  # (N, S)
    betas_weight: np.ndarray  # (N,)
    pose_rotvec: np.ndarray  # (N, 24, 3), the root's in the camera's frame, radians
    pose_weight: np.ndarray  # (N, 24)
    transl: np.ndarray  # (N, 3), in the camera's frame
    transl_weight: np.ndarray  # (N,)
    keypoints_px: np.ndarray  # (N, 49, 3), x, y and weight, in the order of `KEYPOINTS`
    keypoints_cam: np.ndarray  # (N, 49, 4), x, y, z and weight; from any origin
    joints_px: np.ndarray  # (N, 45, 3), x, y and weight, of the body's own joints
    genders: tuple[str, ...]  # "male", "female", "neutral", or "" where nobody knows
    masks: tuple[str, ...]  # label map of each person's picture, or ""
    sequences: tuple[str, ...]  # which clip the picture is from, or ""
    topology_hash: str = ""  # of the body whose betas these are; "" means SMPL's
    may_lie_sideways: bool = False  # some pictures are to be turned a quarter clockwise

    def __len__(self) -> int:
        return len(self.images)

    def fits(self, body: Body) -> bool:
        """Whether betas of these annotations mean something to that body."""
        if self.topology_hash:
            return body.topology_hash == self.topology_hash
        return len(body.v_template) == SMPL_VERTICES

    def rows(self, chosen: np.ndarray) -> "Annotations":
        """Some of the people, by their numbers."""
        parts: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                parts[field.name] = value[chosen]
            elif isinstance(value, tuple):
                parts[field.name] = tuple(value[int(row)] for row in chosen)
        return replace(self, **parts)


def _shapes(count: int) -> dict[str, tuple[int, ...]]:
    return {
        "box": (count, 3),
        "K": (count, 3, 3),
        "betas": (count, 10),
        "betas_weight": (count,),
        "pose_rotvec": (count, 24, 3),
        "pose_weight": (count, 24),
        "transl": (count, 3),
        "transl_weight": (count,),
        "keypoints_px": (count, NUM_KEYPOINTS, 3),
        "keypoints_cam": (count, NUM_KEYPOINTS, 4),
        "joints_px": (count, 45, 3),
    }


def annotate(source: str, images: tuple[str, ...], **known: Any) -> Annotations:
    """Annotations of which only some are known, with those checked.

    Raises:
        InputError: if an array has another length or shape, or holds NaN where its weight is not 0.
    """
    count = len(images)
    nothing = ("",) * count
    texts: dict[str, Any] = {"genders": nothing, "masks": nothing, "sequences": nothing}
    arrays = {name: np.zeros(shape) for name, shape in _shapes(count).items()}
    arrays["K"] = np.full((count, 3, 3), np.nan)
    for name, value in known.items():
        (arrays if name in arrays else texts)[name] = value
    for name, shape in _shapes(count).items():
        found = arrays[name].shape
        if found[:1] + found[2:] != shape[:1] + shape[2:] or (name != "betas" and found != shape):
            raise InputError(f"{source} has {name} of shape {found}, expected {shape}.")
    parts: dict[str, Any] = texts | _clean(source, arrays)
    return Annotations(source=source, images=images, **parts)


def _clean(source: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with zeros where the weight is zero, after refusing NaN anywhere else."""
    weights = {
        "betas": arrays["betas_weight"],
        "pose_rotvec": arrays["pose_weight"],
        "transl": arrays["transl_weight"],
        **{name: arrays[name][..., -1] for name in ("keypoints_px", "keypoints_cam", "joints_px")},
        "box": np.ones(len(arrays["box"])),
        "pose_weight": np.ones_like(arrays["pose_weight"]),
        "betas_weight": np.ones_like(arrays["betas_weight"]),
        "transl_weight": np.ones_like(arrays["transl_weight"]),
    }
    cleaned = dict(arrays)
    for name, weight in weights.items():
        used = np.broadcast_to(_behind(weight != 0, arrays[name].ndim), arrays[name].shape)
        bad = np.argwhere(used & ~np.isfinite(arrays[name]))
        if len(bad):
            raise InputError(
                f"{source}: {name} of row {bad[0][0]} is not finite: give it weight 0, or take the "
                "row out."
            )
        cleaned[name] = np.where(used, arrays[name], 0.0).astype(np.float64)
    sides = cleaned["box"][:, 2]
    if (sides <= 0).any():
        row = int(np.argmin(sides))
        raise InputError(f"{source}: the box of row {row} has side {sides[row]:g}, not above 0.")
    focals = cleaned["K"][:, [0, 1], [0, 1]]
    if (focals <= 0).any():  # NaN, an unknown camera, is not
        row = int(np.argwhere(focals <= 0)[0, 0])
        raise InputError(
            f"{source}: the camera of row {row} has focal lengths {focals[row, 0]:g} and "
            f"{focals[row, 1]:g}, not above 0."
        )
    return cleaned


def _behind(values: np.ndarray, ndim: int) -> np.ndarray:
    return values.reshape(values.shape + (1,) * (ndim - values.ndim))


def read_columns(path: str | Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file of annotations, without those that would need unpickling.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file; `what` says which was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no annotations at {path}: give {what}.")
    columns: dict[str, np.ndarray] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            for name in archive:
                try:
                    columns[name] = archive[name]
                except ValueError as error:  # pickled objects could run code
                    if "allow_pickle" not in str(error):
                        raise
    except _UNREADABLE as error:
        raise InputError(f"{path} is damaged or no .npz of arrays: give {what}.") from error
    return columns


class Columns:
    """The columns of one file, taken one by one and checked as they are."""

    def __init__(self, arrays: Mapping[str, np.ndarray], path: str | Path, what: str) -> None:
        """Learn how many rows there are.

        Raises:
            InputError: if the file names no pictures.
        """
        self.arrays, self.path, self.what = arrays, Path(path), what
        self.count = 0
        self.images = self.texts("imgname")
        self.count = len(self.images)
        if not self.count:
            raise InputError(f"{path} describes nobody: give a file with at least one person.")

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def numbers(self, name: str, *shape: int) -> np.ndarray:
        """A column of numbers, each row of this shape (-1: any length); flat rows are unfolded.

        Raises:
            InputError: if it is missing, or is of another length or kind.
        """
        values = self._column(name)
        if values.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: {name} holds no numbers: give {self.what}.")
        size = int(np.prod(shape))
        if -1 not in shape and values[:1].size != size * min(len(values), 1):
            raise InputError(
                f"{self.path}: {name} has rows of shape {values.shape[1:]}, expected {shape}."
            )
        return values.astype(np.float64).reshape(len(values), *shape)

    def texts(
        self, name: str, convert: Callable[[str], str] = lambda text: text
    ) -> tuple[str, ...]:
        """A column of words.

        Raises:
            InputError: if it is missing, or is of another length or kind.
        """
        values = self._column(name)
        if values.dtype.kind not in "US" or values.ndim != 1:
            raise InputError(f"{self.path}: {name} holds no text in rows: give {self.what}.")
        return tuple(convert(str(text)) for text in values.astype(str))

    def _column(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            found = ", ".join(sorted(self.arrays)) or "nothing that can be read without unpickling"
            raise InputError(f"{self.path} lacks {name} (it has {found}): give {self.what}.")
        values = self.arrays[name]
        if not values.ndim or (self.count and len(values) != self.count):
            length = len(values) if values.ndim else "no"
            raise InputError(
                f"{self.path}: {name} has {length} rows but imgname has {self.count}: the file is "
                "damaged, make it again."
            )
        return values
