"""2D keypoints from COCO and OpenPose JSON files."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meshreg.errors import InputError, MissingFileError

SETS = {17: "coco17", 25: "openpose25"}
OUTSIDE_MARGIN = 0.02  # of the longer side: annotators click a little over the edge


@dataclass(frozen=True, eq=False)
class Keypoints:
    """The 2D joints of one person, in pixels of the picture."""

    skeleton: str  # "coco17" or "openpose25"
    points_px: np.ndarray  # (J, 2) float32; zero where the confidence is zero
    confidence: np.ndarray  # (J,) float32 in 0..1; zero = absent


def read_keypoints(
    path: Path, size: tuple[int, int], *, image_name: str = "", person: int | None = None
) -> Keypoints:
    """One person's keypoints, checked against a picture of `size` (height, width).

    Understands COCO annotations (`{"annotations": [...]}`), COCO results (`[{"keypoints": [...]}]`)
    and OpenPose (`{"people": [{"pose_keypoints_2d": [...]}]}`). Without `person` the one whose
    keypoints span the largest box is taken.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds no usable person, a wrong number of joints, values that are not
            finite, joints outside the picture, or no confident joint.
    """
    people = _people(_load(path), path, image_name)
    tables = [_table(values, path) for values in people]
    if person is not None and not 0 <= person < len(tables):
        raise InputError(
            f"{path} holds {len(tables)} people: there is no number {person} (the first is 0)."
        )
    table = tables[person] if person is not None else max(tables, key=_box_area)
    _check(table, size, path)
    seen = table[:, 2] > 0
    return Keypoints(
        skeleton=SETS[len(table)],
        points_px=np.where(seen[:, None], table[:, :2], 0).astype(np.float32),
        confidence=table[:, 2].astype(np.float32),
    )


def _load(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError(f"no keypoint file at {path}: check the path.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a JSON file ({error}).") from error


def _people(content: Any, path: Path, image_name: str) -> list[list[float]]:
    """The flat keypoint lists of all people, whatever the file's layout."""
    people: list[Any] = []
    if isinstance(content, dict) and "people" in content:
        people = [p.get("pose_keypoints_2d") for p in content["people"] if isinstance(p, dict)]
    elif isinstance(content, dict) and "annotations" in content:
        wanted = {i["id"] for i in content.get("images", []) if i.get("file_name") == image_name}
        people = [
            a.get("keypoints")
            for a in content["annotations"]
            if not wanted or a.get("image_id") in wanted
        ]
    elif isinstance(content, list):
        people = [a.get("keypoints") for a in content if isinstance(a, dict)]
    people = [p for p in people if isinstance(p, list) and p]
    if not people:
        raise InputError(
            f"{path} holds no person in COCO form (a list of objects with 'keypoints') or OpenPose "
            "form ('people' with 'pose_keypoints_2d')."
        )
    return people


def _table(values: list[float], path: Path) -> np.ndarray:
    """A flat list x, y, confidence, ... as (J, 3)."""
    if len(values) % 3 or len(values) // 3 not in SETS:
        raise InputError(
            f"{path} has a person with {len(values)} numbers: expected 17 x 3 (COCO) or 25 x 3 "
            "(OpenPose) of x, y, confidence."
        )
    try:
        table = np.array(values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} has keypoints that are not numbers ({error}).") from error
    if table[:, 2].max(initial=0) > 1:  # COCO's flags: 1 hidden but placed, 2 visible
        table[:, 2] = table[:, 2] > 0
    return table


def _box_area(table: np.ndarray) -> float:
    seen = table[table[:, 2] > 0, :2]
    return float(np.prod(np.ptp(seen, axis=0))) if len(seen) else -1.0


def _check(table: np.ndarray, size: tuple[int, int], path: Path) -> None:
    height, width = size
    if not np.isfinite(table).all():
        raise InputError(f"{path} holds values that are not finite: remove them or set them to 0.")
    seen = table[:, 2] > 0
    if (table[:, 2] < 0).any():
        raise InputError(f"{path} holds negative confidences: expected numbers from 0 to 1.")
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
