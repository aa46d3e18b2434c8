"""2D keypoints of people over time: one way in for `.npz`, `.json` and folders."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.data.keypoint_layouts import (
    Film,
    Frames,
    Sighting,
    film_of_folder,
    film_of_json,
    read_json,
)
from meshreg.errors import InputError, MissingFileError

# What numbers of joints mean in files of people. The first 17 of AlphaPose's Halpe sets (26, 136)
# and of COCO-WholeBody (133) are COCO's.
_SET_OF_COUNT = {17: "coco17", 25: "openpose25", 26: "coco17", 133: "coco17", 136: "coco17"}
_POINTS = ("keypoints", "keypoints_px", "keypoints_2d")
_LARGEST_CONFIDENCE = 20.0  # peaks of score maps exceed one, percentages do not stay below this
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, LookupError, ValueError)


@dataclass(frozen=True, eq=False)
class KeypointClip:
    """Everybody's 2D joints, frame by frame, as a file has them."""

    joints: Skeleton
    frames: Frames  # tables of these joints; confidence 0..1, zero where a point is no number
    fps: float | None  # frames per second; None: not told
    size: tuple[int, int] | None  # height and width of the pictures; None: not told


def read_clip(path: str | Path, *, joint_set: str | None = None) -> KeypointClip:
    """Read an `.npz` of arrays, a JSON file of a pose estimator, or a folder of one per frame.

    An `.npz` holds `keypoints` as (T, J, 2), (T, J, 3) with confidences, or (people, T, J, ...). It
    may hold `confidence`, `fps`, `image_size` (height, width), and `joint_set` or `joint_names`.
    `joint_set` says which joints they are where the file does not.

    Raises:
        MissingFileError: if there is nothing at `path`.
        InputError: if it holds no people over time, or joints of no known set.
    """
    path = Path(path)
    given = None if joint_set is None else skeleton(joint_set)
    if path.is_dir():
        return _clip(film_of_folder(path), given, path)
    if not path.is_file():
        raise MissingFileError(
            f"no keypoints at {path}: give an .npz, a .json or a folder of .json."
        )
    if not path.stat().st_size:
        raise InputError(f"{path} is empty: give an .npz, a .json or a folder of .json.")
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    if is_zip:
        arrays = _read_npz(path)
        return _clip(
            _film_of_arrays(arrays, path), given or _named_joints(arrays), path, guess=False
        )
    return _clip(film_of_json(read_json(path), path), given, path)


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a readable .npz of plain arrays: save keypoints with numpy.savez."
        ) from error


def _film_of_arrays(arrays: dict[str, Any], path: Path) -> Film:
    name = next((name for name in _POINTS if name in arrays), None)
    if name is None:
        raise InputError(
            f"{path} holds {', '.join(arrays) or 'nothing'}, but none of {', '.join(_POINTS)}: "
            "name the array of shape (T, J, 2) or (T, J, 3) like that."
        )
    points = arrays[name]
    if (
        points.dtype.kind not in "iuf"
        or points.ndim not in (3, 4)
        or points.shape[-1] not in (2, 3)
    ):
        raise InputError(
            f"{path} has {name} of shape {points.shape}: expected (T, J, 2), (T, J, 3) with "
            "confidences, or (people, T, J, 2 or 3)."
        )
    people = points[None] if points.ndim == 3 else points
    tables = _with_confidence(people.astype(np.float64), arrays.get("confidence"), path)
    several = len(people) > 1
    frames = [
        [Sighting(tables[p, t], str(p) if several else "", 1.0) for p in range(len(tables))]
        for t in range(tables.shape[1])
    ]
    return Film(
        frames, fps=_fps(arrays.get("fps"), path), size=_size(arrays.get("image_size"), path)
    )


def _with_confidence(people: np.ndarray, confidence: Any, path: Path) -> np.ndarray:
    """(people, T, J, 3) from coordinates and confidences, which are one if nothing tells them."""
    if people.shape[-1] == 3:
        return people
    shape = people.shape[:3]
    if confidence is None:
        confidence = np.ones(shape)
    if confidence.size != np.prod(shape):
        raise InputError(
            f"{path} has confidence of shape {confidence.shape}: expected {shape[1:]}, one number "
            "for every joint of every frame."
        )
    return np.concatenate([people, confidence.reshape(*shape, 1)], -1)


def _named_joints(arrays: dict[str, Any]) -> Skeleton | None:
    """The joints by the set's name or by their own."""
    if "joint_set" in arrays:
        return skeleton(str(arrays["joint_set"]))
    if "joint_names" in arrays:
        names = tuple(str(name) for name in arrays["joint_names"])
        return Skeleton("joint_names", names, (-1,) * len(names))
    return None


def _fps(value: Any, path: Path) -> float | None:
    if value is None:
        return None
    if value.size != 1 or value.dtype.kind not in "iuf":
        raise InputError(f"{path} has fps that is no single number: give frames per second.")
    fps = float(value.reshape(()))
    if not 0 < fps < np.inf:
        raise InputError(f"{path} has fps {fps:g}: expected frames per second above 0.")
    return fps


def _size(value: Any, path: Path) -> tuple[int, int] | None:
    if value is None:
        return None
    if value.size != 2 or value.dtype.kind not in "iuf" or not (value >= 1).all():
        raise InputError(f"{path} has image_size of {value.tolist()}: expected (height, width).")
    height, width = (int(side) for side in value.reshape(2))
    return height, width


# --- checks ---------------------------------------------------------------------------------------
def _clip(film: Film, joints: Skeleton | None, path: Path, *, guess: bool = True) -> KeypointClip:
    counts = sorted({len(person.table) for frame in film.frames for person in frame})
    if not counts:
        raise InputError(
            f"{path} has {len(film.frames)} frames and nobody in them: nothing to lift."
        )
    if len(counts) > 1:
        raise InputError(
            f"{path} has people of {', '.join(map(str, counts))} joints: expected one joint set "
            "for everybody."
        )
    told = skeleton(film.joint_set) if film.joint_set and joints is None else joints
    joints = told or _guessed(counts[0], path, guess=guess)
    extra = told is None and counts[0] > len(joints)
    if counts[0] != len(joints) and not extra:
        raise InputError(
            f"{path} has people of {counts[0]} joints, but {joints.name} has {len(joints)}: name "
            "their joint set (--joint-set; of adaptation, target.joint_set)."
        )
    frames = [[_checked(person, len(joints), path) for person in frame] for frame in film.frames]
    return KeypointClip(joints, _flags_as_seen(frames), film.fps, film.size)


def _guessed(count: int, path: Path, *, guess: bool) -> Skeleton:
    if not guess or count not in _SET_OF_COUNT:
        known = ", ".join(f"{number}" for number in _SET_OF_COUNT)
        rule = (
            f"of {known} joints COCO, OpenPose and AlphaPose make"
            if guess
            else "arrays do not tell which joints they are"
        )
        raise InputError(
            f"{path} has people of {count} joints ({rule}): name their joint set, such as coco17 "
            "(--joint-set; of adaptation, target.joint_set)."
        )
    return skeleton(_SET_OF_COUNT[count])


def _checked(person: Sighting, count: int, path: Path) -> Sighting:
    """The joints that are meant; points that are not finite become points that are not seen."""
    table = person.table[:count]
    finite = np.isfinite(table).all(1)
    table = np.where(finite[:, None], table, 0.0)
    low, high = float(table[:, 2].min()), float(table[:, 2].max())
    if low < 0 or high > _LARGEST_CONFIDENCE:
        raise InputError(
            f"{path} holds confidences from {low:g} to {high:g}: expected numbers from 0 to 1, or "
            "COCO's flags 0, 1, 2."
        )
    return Sighting(table, person.track, person.score)


def _flags_as_seen(frames: Frames) -> Frames:
    """Confidences up to one; COCO's flags, 1 hidden but placed and 2 visible, both count as one."""
    people = [person for frame in frames for person in frame]
    flags = all(np.isin(person.table[:, 2], (0, 1, 2)).all() for person in people)
    return [
        [
            Sighting(
                np.column_stack(
                    [p.table[:, :2], p.table[:, 2] > 0 if flags else p.table[:, 2].clip(0, 1)]
                ),
                p.track,
                p.score,
            )
            for p in frame
        ]
        for frame in frames
    ]
