"""By how much of their angle from the axis people are turned the wrong way.

A network that does not know where its crop was takes a person on the right for one in the middle,
and so for one who is turned. Errors about y are compared with angles to the side, errors about x
with angles up and down: a share of 1 is a network that takes every crop for one from the middle, 0
one that is not misled.
"""

from collections.abc import Mapping

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.sample import Batch
from meshreg.geometry.perspective import pixel_rays
from meshreg.models.outputs import BodyPrediction

# Direction -> names of the angle from the axis and of the root's error, degrees
TURNS = {"to the side": ("side_deg", "side_error_deg"), "up and down": ("up_deg", "up_error_deg")}
_LARGEST = 60.0  # degrees: beyond it, front and back were mixed up


def turns(pred: BodyPrediction, batch: Batch) -> dict[str, Float[Tensor, " B"]]:
    """The angles of boxes from the axis, and how far the bodies in them are turned wrong."""
    wrong = roma.rotmat_to_rotvec(pred.pose_rotmat[:, 0] @ batch.pose_rotmat[:, 0].mT)
    ray = pixel_rays(batch.box[:, None, :2], batch.K_full)[:, 0]
    place = torch.atan2(ray[:, :2], ray[:, 2:])
    found = (place[:, 0], -wrong[:, 1], place[:, 1], wrong[:, 0])
    names = [name for pair in TURNS.values() for name in pair]
    return dict(zip(names, map(torch.rad2deg, found), strict=True))


def share(values: Mapping[str, Float[Tensor, " P"]], direction: str) -> float:
    """The error per angle of one run in one direction, by least squares."""
    place, error = (values[name].numpy() for name in TURNS[direction])
    kept = np.abs(error) < _LARGEST
    return float(np.polyfit(place[kept], error[kept], 1)[0])


def share_text(by_seed: list[float]) -> str:
    """The mean of the seeds, and the lowest and highest."""
    return f"{np.mean(by_seed):+.2f} ({min(by_seed):+.2f} to {max(by_seed):+.2f})"
