"""What a camera that turns on the spot does to rays, pixels and bodies.

Such a camera sees the same rays in other places, so a picture can be turned without knowing any
depth: pixels move by the homography K R K^-1. Turned towards a subject, every camera sees it in
the middle, where perspective does not distort it (Yu et al. 2021, PCL; PersPose, ICCV 2025).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.geometry.cameras import MIN_DEPTH

Turn = Literal["minimal", "pcl"]


def pixel_rays(
    points_px: Float[Tensor, "*batch N 2"], K: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Where pixels look: camera-space directions that reach the plane at depth 1.

    The principal point gives exactly (0, 0, 1), in any precision.
    """
    offset = points_px - K[..., None, :2, 2]
    y = offset[..., 1] / K[..., 1, 1, None]
    x = (offset[..., 0] - K[..., 0, 1, None] * y) / K[..., 0, 0, None]
    return torch.stack([x, y, torch.ones_like(x)], -1)


def minimal_turn(
    start: Float[Tensor, "*batch 3"], end: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """The smallest rotation that takes one direction to another; opposite ones have none.

    No angle and no axis appear, so it is exact and smooth also where the two are equal.
    """
    start, end = (v / v.norm(dim=-1, keepdim=True) for v in (start, end))
    axis = cross_matrix(torch.linalg.cross(start, end, dim=-1))
    cosine = (start * end).sum(-1)[..., None, None]
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + axis + axis @ axis / (1 + cosine)


def yaw_pitch_turn(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation that takes a direction to the optical axis: about y, then about x (PCL).

    It differs from the smallest one by a roll, which grows towards the picture's corners.
    """
    forward = direction / direction.norm(dim=-1, keepdim=True)
    x, y, z = forward.unbind(-1)
    flat = torch.hypot(x, z)
    right = torch.stack([z, torch.zeros_like(x), -x], -1) / flat[..., None]
    down = torch.stack([-x * y, flat.square(), -y * z], -1) / flat[..., None]
    return torch.stack([right, down, forward], -2)


def roll_turn(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """A turn about the optical axis by which things in the picture turn clockwise, radians."""
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rows = [c, -s, zero, s, c, zero, zero, zero, one]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def turn_towards(
    point_px: Float[Tensor, "*batch 2"],
    K: Float[Tensor, "*batch 3 3"],
    *,
    target_px: Float[Tensor, "*batch 2"] | None = None,
    how: Turn = "minimal",
) -> Float[Tensor, "*batch 3 3"]:
    """R_new_cam of the turn that moves a pixel to the principal point, or to `target_px`."""
    start = pixel_rays(point_px[..., None, :], K)[..., 0, :]
    end = torch.tensor([0.0, 0.0, 1.0]).to(start).expand_as(start)
    if target_px is not None:
        end = pixel_rays(target_px[..., None, :], K)[..., 0, :]
    if how == "pcl":
        return yaw_pitch_turn(end).transpose(-1, -2) @ yaw_pitch_turn(start)
    return minimal_turn(start, end)


# --- pixels ---------------------------------------------------------------------------------------
def inverse_intrinsics(K: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """K^-1, written out, so that a principal point stays exactly on the axis."""
    fx, fy, skew = K[..., 0, 0], K[..., 1, 1], K[..., 0, 1]
    cx, cy, zero, one = K[..., 0, 2], K[..., 1, 2], torch.zeros_like(fx), torch.ones_like(fx)
    x = [1 / fx, -skew / (fx * fy), (skew * cy / fy - cx) / fx]
    return torch.stack([*x, zero, 1 / fy, -cy / fy, zero, zero, one], -1).unflatten(-1, (3, 3))


def homography(
    R_new_cam: Float[Tensor, "*batch 3 3"],
    K: Float[Tensor, "*batch 3 3"],
    K_new: Float[Tensor, "*batch 3 3"] | None = None,
) -> Float[Tensor, "*batch 3 3"]:
    """How the pixels of a picture move when its camera turns; `K_new` if it also zooms.

    Its scale is kept: pixels whose third coordinate is not positive are behind the new camera.
    """
    return (K if K_new is None else K_new) @ R_new_cam @ inverse_intrinsics(K)


def move_pixels(
    points_px: Float[Tensor, "*batch N 2"], new_from_old: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch N 2"]:
    """Pixels under a homography; those behind the new camera come out mirrored, but finite."""
    ones = torch.ones_like(points_px[..., :1])
    moved = torch.cat([points_px, ones], -1) @ new_from_old.transpose(-1, -2)
    depth = moved[..., 2:]
    safe = torch.where(depth.abs() < MIN_DEPTH, torch.full_like(depth, MIN_DEPTH), depth)
    return moved[..., :2] / safe


def box_corners(box: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4 2"]:
    """The four corners of left, top, right, bottom, clockwise from the upper left."""
    left, top, right, bottom = box.unbind(-1)
    x = torch.stack([left, right, right, left], -1)
    return torch.stack([x, torch.stack([top, top, bottom, bottom], -1)], -1)


def move_box(
    box: Float[Tensor, "*batch 4"], new_from_old: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch 4"]:
    """The smallest upright box around what a homography makes of a box."""
    corners = move_pixels(box_corners(box), new_from_old)
    return torch.cat([corners.amin(-2), corners.amax(-2)], -1)


# --- bodies ---------------------------------------------------------------------------------------
def turn_points(
    R: Float[Tensor, "*batch 3 3"], points: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Points or directions after a turn; the transposed matrix brings them back."""
    return points @ R.transpose(-1, -2)


def turn_pose(
    R: Float[Tensor, "*batch 3 3"], pose_rotmat: Float[Tensor, "*batch J 3 3"]
) -> Float[Tensor, "*batch J 3 3"]:
    """The pose of a body that the camera sees after a turn: only its root, at index 0, changes."""
    return torch.cat(
        [R[..., None, :, :] @ pose_rotmat[..., :1, :, :], pose_rotmat[..., 1:, :, :]], -3
    )


def turn_transl(
    R: Float[Tensor, "*batch 3 3"],
    transl: Float[Tensor, "*batch 3"],
    pelvis_rest: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch 3"]:
    """The translation of that body, whose unposed pelvis is at `pelvis_rest`.

    Bodies turn about their pelvis and translations are added afterwards, so it is the pelvis that
    moves as points do.
    """
    return turn_points(R, (transl + pelvis_rest)[..., None, :])[..., 0, :] - pelvis_rest


def cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix that takes any w to the cross product of this vector and w."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
