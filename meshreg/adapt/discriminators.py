"""Judges of augmented poses: are they like poses of real people, in space and on the screen?

`PoseJudge` and `ScreenJudge` have the sizes of PoseAug's discriminators (Gong et al., CVPR 2021).
`PairJudge` is our reading of what PoseDA calls an anchor discriminator; its code was never
published.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.adapt.bones import BoneTree, bone_tree, bone_vectors, unit
from meshreg.body.skeleton import Skeleton


class PoseJudge(nn.Module):
    """Judges arms, legs and torso by the angles between their bones; blind to lengths and views."""

    def __init__(self, joints: Skeleton) -> None:
        super().__init__()
        self.tree = bone_tree(joints)
        self.parts = nn.ModuleList(PartNet(len(self.tree) ** 2) for _ in self.tree.parts)

    def forward(self, poses: Float[Tensor, "B J 3"]) -> Float[Tensor, "B 5"]:
        """A number for each part: near one is real, near zero made up."""
        angles = part_angles(poses, self.tree)
        scores = [net(part) for net, part in zip(self.parts, angles.unbind(1), strict=True)]
        return torch.cat(scores, 1)


class PairJudge(nn.Module):
    """Judges whether the second pose could be the first one a moment later.

    Real pairs are two frames of a clip, made-up ones a pose and its augmentation. So a pose need
    not stay what it was to pass for real, it has to be one that its own pose leads to.
    """

    def __init__(self, joints: Skeleton) -> None:
        super().__init__()
        self.tree = bone_tree(joints)
        self.parts = nn.ModuleList(PartNet(2 * len(self.tree) ** 2) for _ in self.tree.parts)

    def forward(
        self, anchors: Float[Tensor, "B J 3"], poses: Float[Tensor, "B J 3"]
    ) -> Float[Tensor, "B 5"]:
        """A number for each part: near one is real, near zero made up."""
        angles = torch.cat([part_angles(p, self.tree) for p in (anchors, poses)], -1)
        scores = [net(part) for net, part in zip(self.parts, angles.unbind(1), strict=True)]
        return torch.cat(scores, 1)


class ScreenJudge(nn.Module):
    """Judges 2D poses with their place and size."""

    def __init__(self, joints: Skeleton, *, width: int = 100) -> None:
        super().__init__()
        self.first = nn.Linear(2 * len(joints), width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.fourth = nn.Linear(width, width)
        self.last = nn.Linear(width, width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Float[Tensor, "B J 2"]) -> Float[Tensor, "B 1"]:
        """Near one is real, near zero made up."""
        first = F.leaky_relu(self.first(x.flatten(1)))
        y = self.third(F.leaky_relu(self.second(first))) + first
        y = self.fourth(F.leaky_relu(y))
        return self.head(F.leaky_relu(self.last(y)))


class PartNet(nn.Module):
    """Judges one part of the body by its angles."""

    def __init__(self, in_width: int, *, width: int = 256, last: int = 100) -> None:
        super().__init__()
        self.first = nn.Linear(in_width, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.last = nn.Linear(width, last)
        self.head = nn.Linear(last, 1)

    def forward(self, angles: Float[Tensor, "B C"]) -> Float[Tensor, "B 1"]:
        first = F.leaky_relu(self.first(angles))
        y = self.third(F.leaky_relu(self.second(first))) + first
        return self.head(F.leaky_relu(self.last(y)))


def part_angles(poses: Float[Tensor, "B J 3"], tree: BoneTree) -> Float[Tensor, "B 5 KK"]:
    """Cosines between all bones of each part, zero where one of the two belongs to another part."""
    bones = unit(bone_vectors(poses, tree))
    member = torch.zeros(len(tree.parts), len(tree), 1, device=poses.device)
    for number, part in enumerate(tree.parts):
        member[number, list(part)] = 1.0
    kept = bones[:, None] * member
    return (kept @ kept.transpose(-1, -2)).flatten(2)
