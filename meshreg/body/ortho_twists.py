"""How far each bone is turned about itself, as a direction that a network can regress.

Two ends of a bone say where it points but not how it is rolled. PersPose (ICCV 2025) adds the
body's backward direction, made perpendicular to the bone: in rest it is the part of -z across the
bone, in a pose that same vector carried along. Together they give the joint's whole rotation.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.kinematics import offsets_of, world_rotations
from meshreg.body.rest_skeleton import PARENTS, unit

# Joints whose rotation shows in one bone, and the far ends of these bones.
TURNING = (1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 16, 17, 18, 19, 20, 21)
TURNED = (4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 20, 21, 22, 23)
# Joints without a bone behind them: both hands, both feet, the head. In the order of the networks.
LEAVES = (22, 23, 10, 11, 15)
ROOT, CHEST = 0, 9  # have three bones each, which tell the rotation without any twist


def rest_twists(rest_joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3"]:
    """The direction across the bone that ends at each joint, in the unposed body.

    Undefined for a bone that runs along z. The root's entry is that of a bone from the origin.
    """
    x, y, z = offsets_of(rest_joints, PARENTS).unbind(-1)
    return unit(torch.stack([x * z, y * z, -(x.square() + y.square())], -1))


def pose_twists(
    pose_rotmat: Float[Tensor, "*batch 24 3 3"], rest_joints: Float[Tensor, "*batch 24 3"]
) -> Float[Tensor, "*batch 24 3"]:
    """The twists of a posed body, which `rotations_from_bones` turns back into rotations.

    A bone moves with the joint that it starts from.
    """
    world = world_rotations(pose_rotmat, PARENTS)
    carrier = world[..., [max(parent, 0) for parent in PARENTS], :, :]
    return (carrier @ rest_twists(rest_joints)[..., None])[..., 0]


def rotations_from_bones(
    joints: Float[Tensor, "*batch 24 3"],
    rest_joints: Float[Tensor, "*batch 24 3"],
    twists: Float[Tensor, "*batch 24 3"],
    ends: Float[Tensor, "*batch 2 3 3"],
) -> list[Float[Tensor, "*batch 3 3"] | None]:
    """World rotations of the joints with bones; None for leaves, which nothing here tells.

    `ends` are the rotations of the root and of the chest. Twists may have any length, and a part
    along their bone.
    """
    turned, turning = list(TURNED), list(TURNING)
    bones = joints[..., turned, :] - joints[..., turning, :]
    rest_bones = rest_joints[..., turned, :] - rest_joints[..., turning, :]
    posed = _frames(bones, twists[..., turned, :])
    rest = _frames(rest_bones, rest_twists(rest_joints)[..., turned, :])
    world: list[Tensor | None] = [None] * len(PARENTS)
    for joint, rotmat in zip(TURNING, (posed @ rest.mT).unbind(-3), strict=True):
        world[joint] = rotmat
    world[ROOT], world[CHEST] = ends.unbind(-3)
    return world


def rotations_from_swings(
    joints: Float[Tensor, "*batch 24 3"],
    rest_joints: Float[Tensor, "*batch 24 3"],
    ends: Float[Tensor, "*batch 2 3 3"],
) -> list[Float[Tensor, "*batch 3 3"] | None]:
    """The same without twists: every joint turns as little as its bone demands.

    For skeletons of which nothing but the joints is known.
    """
    rest_bones = offsets_of(rest_joints, PARENTS)
    world: list[Tensor | None] = [None] * len(PARENTS)
    world[ROOT], world[CHEST] = ends.unbind(-3)
    for joint, end in zip(TURNING, TURNED, strict=True):  # parents come first
        above = world[PARENTS[joint]]
        assert above is not None, joint
        straight = unit((above @ rest_bones[..., end, :, None])[..., 0])
        bone = unit(joints[..., end, :] - joints[..., joint, :])
        world[joint] = _smallest_turn(straight, bone) @ above
    return world


def _frames(
    bones: Float[Tensor, "*batch N 3"], twists: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3 3"]:
    """Rotations whose first column is the bone and whose second is the twist made square to it."""
    along = unit(bones)
    across = unit(twists - (twists * along).sum(-1, keepdim=True) * along)
    return torch.stack([along, across, torch.linalg.cross(along, across, dim=-1)], -1)


def _smallest_turn(
    start: Float[Tensor, "*batch 3"], end: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The smallest rotation from one unit vector to another; opposite ones have none."""
    # Half the turn is the angle between one of them and the middle, so the middle gives the
    # quaternion (x, y, z, w) without any trigonometry.
    middle = unit(start + end)
    axis = torch.linalg.cross(start, middle, dim=-1)
    return roma.unitquat_to_rotmat(torch.cat([axis, (start * middle).sum(-1, keepdim=True)], -1))
