"""What lifters learn from and are measured on: clips of joints in the picture and in space."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.body.skeleton import Skeleton
from meshreg.errors import InputError
from meshreg.geometry.screen import Size


@dataclass(frozen=True, eq=False)
class LiftingClip:
    """One person seen by one camera; the joints are those of the data set."""

    keypoints_px: Float[Tensor, "T J 2"]  # as detected or drawn, pixels
    joints_cam: Float[Tensor, "T J 3"]  # camera frame, metres; the root's are its trajectory
    size: Size  # height and width of the pictures, pixels
    subject: str
    action: str  # averages are over these
    camera: str
    fps: float
    scored: Bool[Tensor, " T"] | None = None  # frames that count in an evaluation; None: all
    focal_px: float | None = (
        None  # of a camera whose axis meets the picture's middle; None: not told
    )

    def __len__(self) -> int:
        return len(self.keypoints_px)

    @property
    def name(self) -> str:
        return f"{self.subject} {self.action} {self.camera}"


@dataclass(frozen=True, eq=False)
class LiftingData:
    """Clips with the same joints."""

    clips: tuple[LiftingClip, ...]
    joints: Skeleton
    source: str  # for messages
    licence: str = ""

    def of(self, subjects: Sequence[str]) -> "LiftingData":
        """The clips of some subjects.

        Raises:
            InputError: if one of them is not there.
        """
        known = sorted({clip.subject for clip in self.clips})
        for name in subjects:
            if name not in known:
                raise InputError(
                    f"{self.source} has no subject {name!r}: choose from {', '.join(known)}."
                )
        chosen = tuple(clip for clip in self.clips if clip.subject in subjects)
        return replace(self, clips=chosen)


@dataclass(frozen=True, eq=False)
class LiftingBatch:
    """Windows ready for a network."""

    x: Float[Tensor, "*batch T J 2"]  # on the screen: half widths from its middle
    poses: Float[Tensor, "*batch T J 3"]  # camera axes, metres from the root joint
    root: Float[Tensor, "*batch T 3"]  # where the root joint is, camera axes, metres
    known: Float[Tensor, "*batch T"]  # weight of each frame in the loss
    index: Int[Tensor, "*batch"]  # number of the clip

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> "LiftingBatch":
        return LiftingBatch(
            x=self.x.to(device),
            poses=self.poses.to(device),
            root=self.root.to(device),
            known=self.known.to(device),
            index=self.index.to(device),
        )


def root_of(joints: Skeleton) -> int:
    """Where the joint is from which poses are measured."""
    return joints.parents.index(-1)


def from_root(poses: Float[Tensor, "*batch J 3"], joints: Skeleton) -> Float[Tensor, "*batch J 3"]:
    """Poses without their trajectory: the root joint becomes zero."""
    return poses - poses[..., [root_of(joints)], :]
