"""Local pose augmentation: a network that proposes other angles, bone lengths and views of poses.

Sizes and order are those of PoseAug's generator (Gong et al., CVPR 2021), from which PoseDA takes
its changes; PoseAug's third one, of the place in space, is left to the alignment.
"""

import math
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.adapt.bones import BoneTree, bone_tree, bone_vectors, pose_of_bones, unit
from meshreg.body.skeleton import Skeleton

NOISE = 48  # normal numbers for each kind of change
_KINDS = 3
_FIRST_WORDS = 0.1  # standard deviation of what is said before anything is learnt
_LARGEST_RATIO = 0.2  # by how much of itself a bone gets longer or shorter at most


@dataclass(frozen=True, eq=False)
class Change:
    """What happens to a person: the same in all frames of a clip, so motion stays smooth."""

    tree: BoneTree
    old: Float[Tensor, "B K 3"]  # directions of bones in the pose that was looked at
    new: Float[Tensor, "B K 3"]  # the directions that they get instead
    ratio: Float[Tensor, "B R"]  # by which share each length grows; both sides share one
    rotvec: Float[Tensor, "B 3"]  # turn of the whole person about the root, radians

    @property
    def bend(self) -> Float[Tensor, "B K"]:
        """How far bones turn: one minus the cosine of the angle."""
        return 1 - (self.old * self.new).sum(-1)

    def bent(self, poses: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T J 3"]:
        """Bones turned, in each frame as in the pose that was looked at; lengths stay."""
        return pose_of_bones(self._turned(bone_vectors(poses, self.tree)), self.tree)

    def applied(self, poses: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T J 3"]:
        """Bones turned and made longer or shorter, then the whole person turned."""
        bones = self._turned(bone_vectors(poses, self.tree))
        bones = bones * (1 + self.ratio[:, list(self.tree.length_of)])[:, None, :, None]
        return self._rotated(pose_of_bones(bones, self.tree))

    def moved(self, trajectory: Float[Tensor, "B T 3"], frame: int) -> Float[Tensor, "B T 3"]:
        """The way of the root, turned like the person about where it is in this frame."""
        start = trajectory[:, frame : frame + 1]
        return self._rotated((trajectory - start)[:, :, None])[:, :, 0] + start

    def _turned(self, bones: Float[Tensor, "B T K 3"]) -> Float[Tensor, "B T K 3"]:
        """By the smallest rotation that takes the old direction to the new one."""
        old, new = self.old[:, None].expand_as(bones), self.new[:, None].expand_as(bones)
        axis = torch.linalg.cross(old, new)  # as long as the sine of the angle
        once = torch.linalg.cross(axis, bones)
        share = 1 / (1 + (old * new).sum(-1, keepdim=True)).clamp_min(1e-4)
        turned = bones + once + share * torch.linalg.cross(axis, once)
        return unit(turned) * bones.norm(dim=-1, keepdim=True)

    def _rotated(self, points: Float[Tensor, "B T N 3"]) -> Float[Tensor, "B T N 3"]:
        R = roma.rotvec_to_rotmat(self.rotvec)
        return points @ R[:, None].transpose(-1, -2)


class Augmentor(nn.Module):
    """Looks at a pose, is given chance, and says how to change the person."""

    def __init__(self, joints: Skeleton, *, width: int = 256, noise: int = NOISE) -> None:
        super().__init__()
        self.joints, self.width, self.noise = joints, width, noise
        self.tree = bone_tree(joints)
        flat = 3 * len(joints) + noise
        self.angles = Trunk(flat, width, 3 * len(self.tree))
        self.lengths = Trunk(flat + len(self.tree), width, self.tree.num_lengths)
        self.rotation = Trunk(flat, width, 3)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Float[Tensor, "B 3 Z"]:
        """Chance for so many poses, on the CPU."""
        return torch.randn(count, _KINDS, self.noise, generator=generator)

    def forward(self, poses: Float[Tensor, "B J 3"], noise: Float[Tensor, "B 3 Z"]) -> Change:
        """A change for each pose, which must be measured from the root joint."""
        bones = bone_vectors(poses, self.tree)
        flat, old = poses.flatten(1), unit(bones)
        for_angles, for_lengths, for_rotation = noise.unbind(1)
        added = self.angles(torch.cat([flat, for_angles], 1)).unflatten(1, (-1, 3))
        new = unit(old + added)
        # The trunk keeps its direction, or bending could pass for a turn of the whole person.
        stays = torch.zeros(len(self.tree), 1, dtype=torch.bool, device=poses.device)
        stays[list(self.tree.trunk)] = True
        known = torch.cat([flat, bones.norm(dim=-1), for_lengths], 1)
        ratio = _LARGEST_RATIO * self.lengths(known).tanh()
        free = torch.arange(ratio.shape[1], device=ratio.device) != self.tree.fixed_length
        turn = math.pi * self.rotation(torch.cat([flat, for_rotation], 1)).tanh()
        return Change(self.tree, old, torch.where(stays, old, new), ratio * free, turn)


class Trunk(nn.Module):
    """Five dense layers with norms, then one that says something."""

    def __init__(self, in_width: int, width: int, out_width: int) -> None:
        super().__init__()
        widths = [in_width, *[width] * 5]
        layers = [
            part
            for one, other in zip(widths, widths[1:], strict=False)
            for part in (nn.Linear(one, other), nn.BatchNorm1d(other), nn.LeakyReLU(0.01))
        ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, out_width)
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
        # PoseAug begins with turns by any angle; after a short game many people still lie or float.
        nn.init.normal_(self.head.weight, std=_FIRST_WORDS / width**0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B D"]:
        return self.head(self.layers(x))
