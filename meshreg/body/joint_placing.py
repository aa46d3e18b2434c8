"""Putting the joints of one skeleton as near as its bone lengths allow to where they were seen.

The order is that of PersPose (ICCV 2025): hips and lower spine as one rigid triangle, then outward
bone by bone, the chest rigid again.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.rest_skeleton import PARENTS, unit

TRIANGLE = (1, 2, 3)  # both hips and the lowest spine joint: rigid with the pelvis
SHOULDERS = (12, 13, 14)  # neck and both collars: rigid with the chest
CHEST = 9
# Joints of one level depend on those before only. Joined, the levels are in the joints' order.
LEVELS = ((4, 5, 6), (7, 8, 9), (10, 11), SHOULDERS, (15, 16, 17), (18, 19), (20, 21), (22, 23))
MAX_DRIFT = 0.015  # metres


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the joints of a skeleton go, and the two rotations found on the way."""

    joints: Float[Tensor, "*batch 24 3"]  # metres; every bone has its length in the skeleton
    root_rotmat: Float[Tensor, "*batch 3 3"]
    chest_rotmat: Float[Tensor, "*batch 3 3"]  # world rotation


def place_joints(
    rest_joints: Float[Tensor, "*batch 24 3"],
    joints: Float[Tensor, "*batch 24 3"],
    *,
    max_drift: float | None = MAX_DRIFT,
    keep_xy: bool = False,
) -> Placement:
    """Place a skeleton along seen joints, each at its bone's length from the parent placed before.

    A bone points from the placed parent to the seen joint; where that leaves the joint `max_drift`
    or more from where the seen bone's own direction puts it, it takes that direction.
    With `keep_xy` joints keep their seen x and y instead, wherever a depth makes the length right.
    """
    root_rotmat, base = _pelvis(rest_joints, joints)
    placed = [base]  # joints 0 to 3, then a level each
    chest_rotmat = None
    for level in LEVELS:
        parents = [PARENTS[joint] for joint in level]
        below = _taken(placed, parents)
        offsets = rest_joints[..., list(level), :] - rest_joints[..., parents, :]
        seen = joints[..., list(level), :]
        if level == SHOULDERS:
            # Sums of outer products: how the three bones correlate with those at rest
            chest_rotmat = roma.special_procrustes((seen - below).mT @ offsets)
            new = below + offsets @ chest_rotmat.mT
        else:
            length = offsets.norm(dim=-1, keepdim=True)
            new = below + length * unit(seen - below)
            if max_drift is not None:
                own = below + length * unit(seen - joints[..., parents, :])
                drift = (new - own).norm(dim=-1, keepdim=True)
                new = torch.where(drift >= max_drift, own, new)
            if keep_xy:
                new = _with_seen_xy(new, seen, below, length)
        placed.append(new)
    assert chest_rotmat is not None
    return Placement(
        joints=torch.cat(placed, -2), root_rotmat=root_rotmat, chest_rotmat=chest_rotmat
    )


def _taken(
    placed: list[Float[Tensor, "*batch _n 3"]], joints: list[int]
) -> Float[Tensor, "*batch N 3"]:
    """Joints that are spread over the levels placed so far."""
    return torch.cat(placed, -2)[..., joints, :]


def _with_seen_xy(
    fallback: Float[Tensor, "*batch N 3"],
    seen: Float[Tensor, "*batch N 3"],
    below: Float[Tensor, "*batch N 3"],
    length: Float[Tensor, "*batch N 1"],
) -> Float[Tensor, "*batch N 3"]:
    """Seen x and y, and the depth on the seen side of the parent that makes the length right."""
    offset = seen - below
    squared = length.square() - offset[..., :2].square().sum(-1, keepdim=True)
    reachable = squared > 0
    # The square root has no slope at 0, which would spoil gradients even where it is not taken.
    depth = torch.where(reachable, squared, 1.0).sqrt() * offset[..., 2:].sign()
    there = torch.cat([seen[..., :2], below[..., 2:] + depth], -1)
    return torch.where(reachable, there, fallback)


def _pelvis(
    rest_joints: Float[Tensor, "*batch 24 3"], joints: Float[Tensor, "*batch 24 3"]
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 4 3"]]:
    """The root's rotation from the triangle, and joints 0 to 3 moved rigidly with it.

    The triangle's planes coincide, its centroids as well, and within the plane it turns by a mean
    of its corners' angles: the lower spine counts one half, each hip a quarter.
    """
    rest, seen = rest_joints[..., list(TRIANGLE), :], joints[..., list(TRIANGLE), :]
    rest_centre, seen_centre = rest.mean(-2, keepdim=True), seen.mean(-2, keepdim=True)
    # Axes in the plane, the first one towards the spine: no two normals are ever "opposite".
    rest_axes, rest_angles = _plane(rest - rest_centre)
    seen_axes, seen_angles = _plane(seen - seen_centre)
    left, right = _wrapped(seen_angles - rest_angles).unbind(-1)
    hips = left + _wrapped(right - left) / 2
    rotmat = seen_axes @ _turn_in_plane(_wrapped(hips) / 2) @ rest_axes.mT
    return rotmat, seen_centre + (rest_joints[..., :4, :] - rest_centre) @ rotmat.mT


def _plane(
    corners: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 2"]]:
    """Axes of a triangle about its centroid, the last one its normal, and both hips' angles."""
    first, second, spine = corners.unbind(-2)
    normal = unit(torch.linalg.cross(second - first, spine - first, dim=-1))
    x = unit(spine)
    axes = torch.stack([x, torch.linalg.cross(normal, x, dim=-1), normal], -1)
    hips = corners[..., :2, :] @ axes
    return axes, torch.atan2(hips[..., 1], hips[..., 0])


def _turn_in_plane(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    return roma.rotvec_to_rotmat(torch.nn.functional.pad(angle[..., None], (2, 0)))


def _wrapped(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The same angle between -pi and pi."""
    return torch.atan2(angle.sin(), angle.cos())
