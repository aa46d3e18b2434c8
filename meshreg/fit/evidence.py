"""What the picture says about the body: keypoints, masks, and the camera that sees them."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.clothing.labels import UNKNOWN_LABEL
from meshreg.data.images import distance_outside, resize_labels, shrink_mask
from meshreg.geometry.cameras import Camera
from meshreg.losses.semantic import LabelTarget, label_target

MARGIN = 0.15  # of the person's box, kept around it in the crop
SMALLEST_PERSON_PX = 8.0


@dataclass(frozen=True, eq=False)
class Target2D:
    """The 2D keypoints of one person and the intrinsics of the picture they are in."""

    points_px: Float[Tensor, "J 2"]
    confidence: Float[Tensor, " J"]  # zero: absent
    K: Float[Tensor, "3 3"]

    @property
    def extent_px(self) -> float:
        """The diagonal of the box of the keypoints that are there."""
        seen = self.points_px[self.confidence > 0]
        return float((seen.amax(0) - seen.amin(0)).norm())

    @cached_property
    def scale_px(self) -> float:
        """The size of the person in the picture, to measure errors by."""
        return max(self.extent_px, SMALLEST_PERSON_PX)


@dataclass(frozen=True, eq=False)
class MaskTarget:
    """A label map cut to the person and reduced, with the camera of that window."""

    target: LabelTarget
    camera: Camera
    scale_px: float  # the person's size in this window


def mask_target(labels: np.ndarray, camera: Camera, longest_px: int) -> MaskTarget:
    """Crop a label map (H, W) to its person and shrink the longer side to `longest_px`."""
    person = (labels > 0) & (labels != UNKNOWN_LABEL)
    rows, columns = np.nonzero(person.any(1))[0], np.nonzero(person.any(0))[0]
    margin = int(MARGIN * max(np.ptp(rows), np.ptp(columns))) + 1
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    bottom = min(rows[-1] + 1 + margin, labels.shape[0])
    right = min(columns[-1] + 1 + margin, labels.shape[1])
    window = labels[top:bottom, left:right]
    shrink = min(1.0, longest_px / max(window.shape))
    size = (max(1, round(window.shape[0] * shrink)), max(1, round(window.shape[1] * shrink)))
    small = resize_labels(window, size)
    maybe_person = small > 0  # unknown pixels may hide the person, so they do not push
    box = math.hypot(np.ptp(rows), np.ptp(columns)) * shrink
    return MaskTarget(
        target=label_target(
            torch.from_numpy(small.astype(np.int64)),
            torch.from_numpy(shrink_mask(person[top:bottom, left:right], size)),
            torch.from_numpy(distance_outside(maybe_person)),
        ),
        camera=camera.crop(float(left), float(top), window.shape).resize(size),
        scale_px=max(box, SMALLEST_PERSON_PX),
    )
