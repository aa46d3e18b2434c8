"""Where people are in pictures: boxes from JSON files, checked against the picture.

A box is left, top, right and bottom in pixels whose centres are integers, so the box of a whole
picture of width W spans -0.5 to W - 0.5.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.errors import InputError, MissingFileError

SMALLEST_PX = 4.0  # a person of fewer pixels cannot be told from anything else
LARGEST = 20.0  # sides of the picture
_LAYOUTS = (
    "expected [[left, top, right, bottom], ...] for one picture, "
    '{"picture.jpg": [[left, top, right, bottom], ...]} for several, or COCO annotations or '
    "results with 'bbox'"
)


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of one picture."""

    corners: np.ndarray  # (N, 4) float64: left, top, right, bottom, pixels
    scores: np.ndarray  # (N,) float64 in 0..1; 1 where the file says nothing


@dataclass(frozen=True, eq=False)
class BoxFile:
    """The boxes of a file, by picture; see `read_boxes`."""

    path: Path
    by_name: Mapping[str, Boxes]  # file names without folders; "" holds for any one picture

    def of(self, image_name: str) -> Boxes:
        """The boxes of a picture.

        Raises:
            InputError: if the file has none for it.
        """
        found = self.by_name.get(image_name) or self.by_name.get("")
        if found is None:
            raise InputError(f"{self.path} has no boxes for {image_name}: add them under its name.")
        return found


def read_boxes(path: str | Path) -> BoxFile:
    """Read boxes: plain lists of corners, the same by file name, or COCO's `bbox`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is not JSON, or holds anything but boxes.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no file of boxes at {path}: check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        by_name = {name: _boxes(*rows) for name, rows in _rows(content).items()}
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is no file of boxes ({error}): {_LAYOUTS}.") from error
    if not any(name or len(boxes.corners) for name, boxes in by_name.items()):
        raise InputError(f"{path} holds no boxes: {_LAYOUTS}.")
    return BoxFile(path=path, by_name=by_name)


_Rows = tuple[list[Any], list[float]]  # corners and scores


def _rows(content: Any) -> dict[str, _Rows]:
    if isinstance(content, dict) and "annotations" in content:
        return _coco(content["annotations"], content.get("images", []))
    if isinstance(content, dict):
        named = content.get("boxes", content)
        if not isinstance(named, dict):
            return {"": (list(named), [])}
        return {Path(name).name: (list(rows), []) for name, rows in named.items()}
    if content and isinstance(content[0], dict):
        return _coco(content, [])
    return {"": (list(content), [])}


def _coco(entries: list[dict[str, Any]], images: list[dict[str, Any]]) -> dict[str, _Rows]:
    """COCO's boxes are left, top, width and height, and its pixels' corners are integers."""
    names = {image["id"]: Path(str(image["file_name"])).name for image in images}
    found: dict[str, _Rows] = {}
    pictures = {str(entry.get("image_id")) for entry in entries}
    if not names and len(pictures) > 1:
        raise ValueError(f"boxes of {len(pictures)} pictures without their names under 'images'")
    for entry in entries:
        if entry.get("category_id", 1) != 1:  # anything but a person
            continue
        left, top, width, height = (float(number) for number in entry["bbox"])
        corners, scores = found.setdefault(names.get(entry.get("image_id"), ""), ([], []))
        corners.append([left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5])
        scores.append(float(entry.get("score", 1.0)))
    return found


def _boxes(corners: list[Any], scores: list[float]) -> Boxes:
    for row in corners:
        if not isinstance(row, list) or len(row) != 4:
            raise ValueError(f"{str(row)[:40]} is not left, top, right, bottom")
    table = np.array(corners, np.float64).reshape(-1, 4)
    return Boxes(corners=table, scores=np.array(scores) if scores else np.ones(len(table)))


def check_boxes(boxes: Any, size: tuple[int, int], what: str) -> np.ndarray:  # (N, 4)
    """The boxes as an array, if all of them are about a picture of this size (height, width).

    Raises:
        InputError: if one is not finite, not a box, or beside the picture.
    """
    try:
        table = np.asarray(boxes, np.float64)
        table = table.reshape(-1, 4) if table.size in (0, 4) else table
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the boxes of {what} are not numbers: give left, top, right, bottom."
        ) from error
    if table.ndim != 2 or table.shape[1] != 4:
        raise InputError(
            f"expected the boxes of {what} as rows of left, top, right, bottom, found an array of "
            f"shape {table.shape}: give (N, 4)."
        )
    for number, box in enumerate(table):
        if problem := _problem(box, size):
            shown = ", ".join(f"{value:g}" for value in box)
            raise InputError(
                f"box {number} of {what}, ({shown}), {problem}: give left, top, right, bottom in "
                f"pixels of the {size[1]}x{size[0]} picture."
            )
    return table


def _problem(box: np.ndarray, size: tuple[int, int]) -> str:
    """What is wrong with a box, in words; empty if nothing is."""
    left, top, right, bottom = box
    if not np.isfinite(box).all():
        return "is not finite"
    if right <= left or bottom <= top:
        return "ends before it begins"
    if right <= -0.5 or bottom <= -0.5 or left >= size[1] - 0.5 or top >= size[0] - 0.5:
        return "lies outside the picture"
    if max(right - left, bottom - top) < SMALLEST_PX:
        return f"is smaller than {SMALLEST_PX:g} pixels"
    if max(right - left, bottom - top) > LARGEST * max(size):
        return "is far larger than the picture"
    return ""


def whole_picture(size: tuple[int, int]) -> np.ndarray:  # (4,)
    """The box of everything in a picture of this size (height, width)."""
    return np.array([-0.5, -0.5, size[1] - 0.5, size[0] - 0.5])


def square_around(box: np.ndarray, margin: float = 1.0) -> np.ndarray:  # (3,)
    """Centre x, centre y and side of the square around a box, its side longer by `margin`."""
    left, top, right, bottom = box
    return np.array(
        [(left + right) / 2, (top + bottom) / 2, max(right - left, bottom - top) * margin]
    )
