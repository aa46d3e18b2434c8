"""What pose estimators write for a film, as people per frame.

Understood are JSON of COCO (annotations and results), AlphaPose, MMPose and OpenPose (a folder of
one file per frame), and plain lists of frames.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.errors import InputError

_PEOPLE = ("people", "instances", "annotations", "persons")
_POINTS = ("keypoints", "pose_keypoints_2d")
_TRACKS = ("track_id", "idx", "person_id")
# Numbered pictures further apart than this on average are no film with people missing.
_SPARSE = 50
LAYOUTS = (
    "COCO or AlphaPose results, COCO annotations, MMPose, OpenPose's folder of files, or a list of "
    "frames with 'people' who have 'keypoints'"
)


@dataclass(frozen=True, eq=False)
class Sighting:
    """One person in one frame."""

    table: np.ndarray  # (J, 3) float64: x and y in pixels, confidence; NaN where a file says so
    track: str  # what the file calls this person in all frames; empty: it does not say
    score: float  # of the whole person, on any scale


Frames = list[list[Sighting]]


@dataclass(frozen=True, eq=False)
class Film:
    """The people of all frames, and what else a file tells."""

    frames: Frames
    fps: float | None = None
    size: tuple[int, int] | None = None  # height and width of the pictures
    joint_set: str = ""  # empty: it does not say


def film_of_json(content: Any, path: Path) -> Film:
    """The film in the content of a JSON file.

    Raises:
        InputError: if it is laid out in none of the known ways.
    """
    if isinstance(content, dict):
        for key, read in (
            ("instance_info", _listed_frames),
            ("frames", _listed_frames),
            ("people", _single_frame),
            ("annotations", _coco),
        ):
            if key in content:
                return read(content, key, path)
        if content and all(isinstance(v, dict) and "people" in v for v in content.values()):
            numbered = {name: _people(value, path) for name, value in content.items()}
            return Film(_in_order(numbered))
    if isinstance(content, list) and content:
        if all(isinstance(entry, dict) and _has(entry, _POINTS) for entry in content):
            return Film(_in_order(_by_picture(content, path)))
        if all(isinstance(entry, list) or _has(entry, _PEOPLE) for entry in content):
            return Film(_frames(content, path))
    raise InputError(f"{path} holds no people over time that are laid out as expected: {LAYOUTS}.")


def film_of_folder(folder: Path) -> Film:
    """One JSON file per frame, in the order of the numbers in their names; gaps are kept.

    Raises:
        InputError: if there are none, or one holds several frames.
    """
    files = sorted(f for f in folder.glob("*.json") if not f.name.startswith("."))
    if not files:
        raise InputError(f"no .json files in {folder}: give OpenPose's folder of files per frame.")
    numbered: dict[str, list[Sighting]] = {}
    for file in files:
        frames = _film_of_frame(read_json(file), file).frames
        if len(frames) > 1:
            raise InputError(
                f"{file} holds {len(frames)} frames, but in a folder each file is one frame: give "
                "that file alone."
            )
        numbered[file.stem] = frames[0] if frames else []
    return Film(_in_order(numbered))


def _film_of_frame(content: Any, path: Path) -> Film:
    """As `film_of_json`; an empty list is a frame without people."""
    return Film([[]]) if content == [] else film_of_json(content, path)


def read_json(path: Path) -> Any:
    """The content of a JSON file, in which NaN is a number.

    Raises:
        InputError: if it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is not a JSON file ({reason}): expected {LAYOUTS}.") from error


# --- layouts --------------------------------------------------------------------------------------
def _listed_frames(content: dict[str, Any], key: str, path: Path) -> Film:
    entries = content[key]
    if not isinstance(entries, list):
        raise InputError(f"{path} has '{key}' that is not a list of frames: expected {LAYOUTS}.")
    size = content.get("image_size")
    return Film(
        frames=_frames(entries, path),
        fps=_number(content.get("fps")),
        size=_size(size[0], size[1]) if isinstance(size, list) and len(size) == 2 else None,
        joint_set=str(content.get("joint_set", "")),
    )


def _single_frame(content: dict[str, Any], key: str, path: Path) -> Film:
    return Film([_people(content, path)])


def _coco(content: dict[str, Any], key: str, path: Path) -> Film:
    """Annotations; the pictures' names give the order, where they are told."""
    images = content.get("images")
    images = [entry for entry in images if isinstance(entry, dict)] if images else []
    names = {str(image.get("id")): str(image.get("file_name", "")) for image in images}
    numbered: dict[str, list[Sighting]] = {names[str(i.get("id"))]: [] for i in images}
    for picture, people in _by_picture(content[key], path).items():
        numbered.setdefault(names.get(picture, picture), []).extend(people)
    sizes = {_size(image.get("height"), image.get("width")) for image in images}
    return Film(_in_order(numbered), size=sizes.pop() if len(sizes) == 1 else None)


def _by_picture(entries: Any, path: Path) -> dict[str, list[Sighting]]:
    numbered: dict[str, list[Sighting]] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and _has(entry, _POINTS):
            numbered.setdefault(str(entry.get("image_id")), []).extend(_person(entry, path))
    return numbered


def _frames(entries: Iterable[Any], path: Path) -> Frames:
    """Frames in the order of the list, or in places of their own if each tells its number."""
    entries = list(entries)
    numbers = [e.get("frame_id", e.get("frame")) if isinstance(e, dict) else None for e in entries]
    if all(isinstance(number, int) for number in numbers) and len(set(numbers)) == len(numbers):
        named = {str(n): _people(e, path) for n, e in zip(numbers, entries, strict=True)}
        return _in_order(named)
    return [_people(entry, path) for entry in entries]


def _in_order(numbered: Mapping[str, list[Sighting]]) -> Frames:
    """By the last number in each name; numbers left out are frames without people.

    Names without numbers, or with numbers that are not those of a film, are only sorted.
    """
    found = {name: re.findall(r"\d+", Path(name).stem) for name in numbered}
    places = {name: int(digits[-1]) for name, digits in found.items() if digits}
    if len(places) < len(numbered) or len(set(places.values())) < len(numbered):
        return [numbered[name] for name in sorted(numbered)]
    order = sorted(numbered, key=lambda name: places[name])
    if not order:
        return []
    first, last = places[order[0]], places[order[-1]]
    step = math.gcd(*(places[name] - first for name in order)) or 1
    if (last - first) // step >= _SPARSE * len(order):
        return [numbered[name] for name in order]
    frames: Frames = [[] for _ in range((last - first) // step + 1)]
    for name in order:
        frames[(places[name] - first) // step] = numbered[name]
    return frames


# --- people ---------------------------------------------------------------------------------------
def _has(entry: Any, names: tuple[str, ...]) -> bool:
    return isinstance(entry, dict) and any(name in entry for name in names)


def _people(frame: Any, path: Path) -> list[Sighting]:
    """Everybody of one frame: a list of people, or an object that holds one."""
    if isinstance(frame, dict):
        frame = next((frame[name] for name in _PEOPLE if name in frame), [])
    entries = frame if isinstance(frame, list) else []
    return [s for e in entries if isinstance(e, dict) for s in _person(e, path)]


def _person(entry: dict[str, Any], path: Path) -> list[Sighting]:
    """The person, if there are any joints: some files keep a place for people without."""
    points = next((entry[name] for name in _POINTS if name in entry), None)
    if not points:
        return []
    table = _table(points, entry.get("keypoint_scores"), path)
    score = _number(entry.get("score", entry.get("bbox_score")))
    return [Sighting(table, _track(entry), 1.0 if score is None else score)]


def _table(points: Any, scores: Any, path: Path) -> np.ndarray:  # (J, 3)
    """Joints as rows x, y, confidence; from a flat list, or pairs or triples."""
    try:
        array = np.array(points, np.float64)  # None becomes NaN
        if array.ndim == 1:
            array = array.reshape(-1, 3)
        if array.ndim == 2 and array.shape[1] == 2:
            column = np.ones(len(array)) if scores is None else np.array(scores, np.float64)
            array = np.concatenate([array, column.reshape(-1, 1)], 1)
        assert array.ndim == 2 and array.shape[1] == 3
    except (TypeError, ValueError, OverflowError, AssertionError) as error:
        raise InputError(
            f"{path} has a person whose keypoints are not x, y, confidence for every joint: "
            f"expected {LAYOUTS}."
        ) from error
    return array


def _track(entry: dict[str, Any]) -> str:
    """The name of the person over time; negative numbers mean that nobody kept track."""
    value = next((entry[name] for name in _TRACKS if entry.get(name) is not None), None)
    while isinstance(value, list) and value:
        value = value[0]
    number = _number(value)
    if number is None:
        return value if isinstance(value, str) else ""
    return "" if number < 0 else f"{number:g}"


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _size(height: Any, width: Any) -> tuple[int, int] | None:
    sides = _number(height), _number(width)
    if sides[0] is None or sides[1] is None or min(sides[0], sides[1]) < 1:
        return None
    return int(sides[0]), int(sides[1])
