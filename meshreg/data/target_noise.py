"""Poses to learn that are a little off, so that a lifter does not learn them by heart."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.chance import chance
from meshreg.data.lifting import LiftingBatch
from meshreg.data.lifting_motion import MotionWindows
from meshreg.data.lifting_windows import ClipWindows

_STREAM = 77  # of chance, apart from that of the windows


@dataclass(frozen=True, eq=False)
class UnsteadyTargets:
    """Windows whose poses are turned in the picture's plane and scaled; what is seen stays.

    Each is turned one way, the other way or not, and made larger, smaller or neither, as GLA-GCN's
    authors do.
    """

    windows: MotionWindows | ClipWindows
    turn: float  # degrees
    scale: float  # share
    seed: int = 0
    rank: int = 0

    def at(self, number: int) -> LiftingBatch:
        """Batch number 0, 1, ..."""
        batch = self.windows.at(number)
        generator = chance(self.seed, _STREAM, number, self.rank)
        turns, sizes = torch.randint(-1, 2, (2, len(batch)), generator=generator)
        angle = math.radians(self.turn) * turns
        moved = turned(batch.poses, angle) * (1 + self.scale * sizes)[:, None, None, None]
        return replace(batch, poses=moved)


def turned(poses: Float[Tensor, "B T J 3"], angle: Float[Tensor, " B"]) -> Float[Tensor, "B T J 3"]:
    """Poses turned about the camera's axis, from its x towards its y."""
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    R = torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3))
    return poses @ R[:, None].transpose(-1, -2)
