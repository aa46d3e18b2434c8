"""What detectors say about a whole picture, in the terms of files: boxes, joints, label maps."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from meshreg.clothing.labels import UNKNOWN_LABEL
from meshreg.data.boxes import Boxes
from meshreg.data.keypoints import Keypoints
from meshreg.models.detectors import ClothingParser, KeypointDetector, PersonDetector

LEAST_CONFIDENCE = 0.3  # a joint below is a guess
PARSED_MARGIN = 0.1  # of a box's sides, around it: boxes cut off hands and hair


def find_people(image: np.ndarray, detector: PersonDetector, *, threshold: float = 0.5) -> Boxes:
    """The boxes of the people in an RGB picture (H, W, 3), the surest first."""
    found = detector(_tensor(image), threshold=threshold)
    return Boxes(
        corners=found.boxes.numpy().astype(np.float64),
        scores=found.scores.numpy().astype(np.float64),
    )


def find_keypoints(
    image: np.ndarray, boxes: Sequence[np.ndarray], detector: KeypointDetector
) -> list[Keypoints]:
    """COCO's joints of the person in each box; those that the detector doubts are left out."""
    corners = torch.from_numpy(np.array(boxes, np.float32).reshape(-1, 4))
    tables = detector(_tensor(image), corners).numpy()
    sure = tables[..., 2] >= LEAST_CONFIDENCE
    return [
        Keypoints(
            skeleton="coco17",
            points_px=np.where(seen[:, None], table[:, :2], 0).astype(np.float32),
            confidence=np.where(seen, table[:, 2], 0).astype(np.float32),
        )
        for table, seen in zip(tables, sure, strict=True)
    ]


def parse_clothes(
    image: np.ndarray, boxes: Sequence[np.ndarray], parser: ClothingParser
) -> list[np.ndarray]:
    """For each box a map (H, W) of the CIHP ids of its person, background elsewhere.

    The parser does not tell people apart: where other boxes overlap, nothing is known.
    """
    places = [_window(box, image.shape[:2]) for box in boxes]
    maps = []
    for number, (rows, columns) in enumerate(places):
        labels = np.zeros(image.shape[:2], np.uint8)
        window = np.ascontiguousarray(image[rows, columns])
        labels[rows, columns] = parser(_tensor(window)).numpy()
        for other, (other_rows, other_columns) in enumerate(places):
            if other != number:
                seen = labels[other_rows, other_columns]
                seen[_inside((rows, columns), (other_rows, other_columns))] = UNKNOWN_LABEL
        maps.append(labels)
    return maps


_Window = tuple[slice, slice]  # rows, columns


def _window(box: np.ndarray, size: tuple[int, ...]) -> _Window:
    """The pixels of a box and a little around it, at least one."""
    margin = PARSED_MARGIN * np.array([box[2] - box[0], box[3] - box[1]])
    left, top = np.floor(box[:2] - margin + 0.5).astype(int).clip(0, [size[1] - 1, size[0] - 1])
    right, bottom = (
        np.ceil(box[2:] + margin + 0.5).astype(int).clip([left + 1, top + 1], [size[1], size[0]])
    )
    return slice(top, bottom), slice(left, right)


def _inside(window: _Window, other: _Window) -> tuple[slice, slice]:
    """The part of `other` that `window` covers, counted from the start of `other`."""
    parts = []
    for mine, its in zip(window, other, strict=True):
        low, high = max(mine.start, its.start), min(mine.stop, its.stop)
        parts.append(slice(low - its.start, max(high, low) - its.start))
    return parts[0], parts[1]


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
