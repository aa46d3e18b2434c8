"""Global position alignment: known 3D poses go where people of other pictures appear.

PoseDA (Chai et al., ICCV 2023) moves each 3D pose, without turning or scaling it, so that the
target's camera shows its root where the root of a random target pose is, and shows it as large as
that one. The move has no parameters; what remains of the pose's own place is nothing.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SMALLEST = 0.05  # on the screen: smaller target poses count as this large
DEPTHS = (1.0, 15.0)  # metres: the root is placed between these
NEAREST_JOINT = 0.5  # metres before the camera: a pose with a nearer joint is of no use


@dataclass(frozen=True, eq=False)
class Aligned:
    """Clips placed before the target's camera."""

    root: Float[Tensor, "*batch T 3"]  # where the root joint is, metres
    valid: Bool[Tensor, "*batch"]  # false: the target had no root, or a joint is too near


def place_root(
    poses: Float[Tensor, "*batch J 3"],
    target: Float[Tensor, "*batch J 2"],
    intrinsics: Float[Tensor, "*batch 4"],
    *,
    root: int,
    seen: Bool[Tensor, "*batch J"] | None = None,
) -> Float[Tensor, "*batch 3"]:
    """Where the root joint has to be for a pose to appear at a target's place and size.

    `target` is on the screen, `intrinsics` are fx, fy, cx, cy there. Size is the mean of the
    width and height of the box around the joints; those that are not `seen` are left out of both
    boxes. The depth is that of a flat figure, so a deep one appears some percent larger or smaller.
    """
    if seen is None:
        seen = torch.ones_like(target[..., 0], dtype=torch.bool)
    focal, middle = intrinsics[..., :2], intrinsics[..., 2:]
    size = _box(target, seen).mean(-1).clamp_min(SMALLEST)
    depth = (focal * _box(poses[..., :2], seen)).mean(-1) / size
    depth = depth.clamp(*DEPTHS)[..., None]
    ray = (target[..., root, :] - middle) / focal
    return torch.cat([ray * depth, depth], -1)


def align_clips(  # noqa: PLR0913
    poses: Float[Tensor, "*batch T J 3"],
    trajectory: Float[Tensor, "*batch T 3"],
    target: Float[Tensor, "*batch J 2"],
    intrinsics: Float[Tensor, "*batch 4"],
    *,
    root: int,
    frame: int,
    seen: Bool[Tensor, "*batch J"] | None = None,
) -> Aligned:
    """Place whole clips, each by one target pose: motion stays as smooth as it was.

    `poses` are measured from the root joint. The pose of one `frame` is placed as `place_root`
    says; all other frames keep their distance from it in metres, along the camera's axes, so
    someone who walks goes on walking.
    """
    if seen is None:
        seen = torch.ones_like(target[..., 0], dtype=torch.bool)
    place = place_root(poses[..., frame, :, :], target, intrinsics, root=root, seen=seen)
    moved = trajectory - trajectory[..., frame : frame + 1, :] + place[..., None, :]
    nearest = (poses[..., 2] + moved[..., None, 2]).amin((-2, -1))
    return Aligned(moved, (nearest >= NEAREST_JOINT) & seen[..., root])


def screen_camera(
    joints_cam: Float[Tensor, "*batch N 3"], x: Float[Tensor, "*batch N 2"]
) -> Float[Tensor, "*batch 4"]:
    """The intrinsics fx, fy, cx, cy with which a camera shows these points there (least squares).

    For data sets that tell where joints are in space and in the picture, but not the camera.
    """
    flat = joints_cam[..., :2] / joints_cam[..., 2:]
    away = flat - flat.mean(-2, keepdim=True)
    spread = away.square().sum(-2).clamp_min(1e-9)
    focal = (away * (x - x.mean(-2, keepdim=True))).sum(-2) / spread
    return torch.cat([focal, x.mean(-2) - focal * flat.mean(-2)], -1)


def _box(points: Float[Tensor, "*batch J 2"], seen: Bool[Tensor, "*batch J"]) -> Tensor:
    """Width and height of the box around the points that are seen; zero if none is."""
    far = torch.finfo(points.dtype).max / 4
    low = torch.where(seen[..., None], points, far).amin(-2)
    high = torch.where(seen[..., None], points, -far).amax(-2)
    return (high - low).clamp_min(0)
