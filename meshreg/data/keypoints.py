"""2D keypoints from COCO and OpenPose JSON files."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.errors import InputError, MissingFileError

SETS = {17: "coco17", 25: "openpose25"}
OUTSIDE_MARGIN = 0.02  # of the diagonal: annotators click a little over the edge
SCORE_SLACK = 1.5  # the peak of a heatmap can lie a little above one; more is another scale


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The 2D joints of one person, in pixels of the picture."""

    skeleton: str  # "coco17" or "openpose25"
    points_px: np.ndarray  # (J, 2) float32; zero where the confidence is zero
    confidence: np.ndarray  # (J,) float32 in 0..1; zero = absent


def read_keypoints(
    path: str | Path, size: tuple[int, int], *, image_name: str = "", person: int | None = None
) -> Keypoints:
    """One person's keypoints, checked against a picture of `size` (height, width).

    Understands COCO annotations (`{"annotations": [...]}`), COCO results (`[{"keypoints": [...]}]`)
    and OpenPose (`{"people": [{"pose_keypoints_2d": [...]}]}`). Without `person` the one whose
    keypoints span the largest box is taken.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds no usable person, a wrong number of joints, values that are not
            finite, joints outside the picture, no confident joint, or several pictures of which
            none has this `image_name`.
    """
    path = Path(path)
    tables = _tables(path, image_name)
    if person is not None and not 0 <= person < len(tables):
        raise InputError(
            f"{path} holds {len(tables)} people: there is no number {person} (the first is 0)."
        )
    table = tables[person] if person is not None else max(tables, key=_box_area)
    return _keypoints(table, size, path)


def read_everybody(
    path: str | Path, size: tuple[int, int], *, image_name: str = ""
) -> list[Keypoints]:
    """The keypoints of all people of a picture, in the order of the file; see `read_keypoints`.

    People without any joint are left out.
    """
    path = Path(path)
    tables = _tables(path, image_name)
    somebody = [table for table in tables if (table[:, 2] != 0).any()]
    return [_keypoints(table, size, path) for table in somebody or tables]


def _tables(path: Path, image_name: str) -> list[np.ndarray]:  # (J, 3) each
    return [_table(values, path) for values in _people(_load(path), path, image_name)]


def _keypoints(table: np.ndarray, size: tuple[int, int], path: Path) -> Keypoints:
    _check(table, size, path)
    seen = table[:, 2] > 0
    return Keypoints(
        skeleton=SETS[len(table)],
        points_px=np.where(seen[:, None], table[:, :2], 0).astype(np.float32),
        confidence=table[:, 2].clip(0, 1).astype(np.float32),
    )


def _load(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(f"no keypoint file at {path}: check the path.")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is not a JSON file ({error}): give keypoints of COCO or OpenPose."
        ) from error


def _people(content: Any, path: Path, image_name: str) -> list[list[Any]]:
    """The flat keypoint lists of all people, whatever the file's layout."""
    people: list[Any]
    if isinstance(content, dict) and "people" in content:
        people = [entry.get("pose_keypoints_2d") for entry in _objects(content["people"])]
    else:
        images, entries = [], content
        if isinstance(content, dict):
            images, entries = _objects(content.get("images")), content.get("annotations")
        mine = _of_picture(_objects(entries), images, image_name, path)
        people = [entry.get("keypoints") for entry in mine]
    people = [p for p in people if isinstance(p, list) and p]
    if not people:
        raise InputError(
            f"{path} holds no person in COCO form (a list of objects with 'keypoints') or OpenPose "
            "form ('people' with 'pose_keypoints_2d')."
        )
    return people


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _of_picture(
    entries: list[dict[str, Any]], images: list[dict[str, Any]], image_name: str, path: Path
) -> list[dict[str, Any]]:
    """The entries of the named picture; a file about one picture need not know its name."""
    names = [(str(image.get("file_name")), image.get("id")) for image in images]
    wanted = [number for name, number in names if image_name and Path(name).name == image_name]
    pictures = {str(entry.get("image_id")) for entry in entries if entry.get("keypoints")}
    if wanted:
        return [entry for entry in entries if entry.get("image_id") in wanted]
    if len(pictures) > 1:
        raise InputError(
            f"{path} holds people of {len(pictures)} pictures and does not say who is in "
            f"{image_name or 'this one'}: cut out the entries of this picture, or list its file "
            "name under 'images'."
        )
    return entries


def _table(values: list[Any], path: Path) -> np.ndarray:
    """A flat list x, y, confidence, ... as (J, 3)."""
    if len(values) % 3 or len(values) // 3 not in SETS:
        raise InputError(
            f"{path} has a person with {len(values)} numbers: expected 17 x 3 (COCO) or 25 x 3 "
            "(OpenPose) of x, y, confidence."
        )
    try:
        table = np.array(values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{path} has keypoints that are not numbers: give x, y, confidence for every joint."
        ) from error
    confidence = table[:, 2]
    if np.isin(confidence, (0, 1, 2)).all():  # COCO's flags: 1 hidden but placed, 2 visible
        table[:, 2] = confidence > 0
    return table


def _box_area(table: np.ndarray) -> float:
    seen = table[table[:, 2] > 0, :2]
    return float(np.prod(np.ptp(seen, axis=0))) if len(seen) else -1.0


def _check(table: np.ndarray, size: tuple[int, int], path: Path) -> None:
    height, width = size
    seen = table[:, 2] > 0
    if not (np.isfinite(table[seen]).all() and np.isfinite(table[:, 2]).all()):
        raise InputError(f"{path} holds values that are not finite: give such joints confidence 0.")
    if (table[:, 2] < 0).any() or (table[:, 2] > SCORE_SLACK).any():
        raise InputError(
            f"{path} holds confidences from {table[:, 2].min():g} to {table[:, 2].max():g}: "
            "expected numbers from 0 to 1, or COCO's flags 0, 1, 2."
        )
    if not seen.any():
        raise InputError(f"{path} has no joint with a confidence above 0: nothing to fit to.")
    margin = OUTSIDE_MARGIN * math.hypot(height, width)
    low, high = -margin, np.array([width - 1 + margin, height - 1 + margin])
    outside = seen & ((table[:, :2] < low) | (table[:, :2] > high)).any(1)
    if outside.any():
        joint = int(outside.argmax())
        x, y = table[joint, :2]
        raise InputError(
            f"{path} puts joint {joint} at ({x:.0f}, {y:.0f}), outside the {width}x{height} "
            "picture: give keypoints of this picture, or confidence 0 to joints that are not in it."
        )
