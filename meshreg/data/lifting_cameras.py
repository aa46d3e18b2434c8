"""Random cameras around people who move: all of a person stays inside the picture."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.data.lifting_settings import CameraSettings

_NEAREST = 0.7  # metres between the camera and the box around the person
_MARGIN = 0.95  # share of the half picture that the person may fill


SIZES = ((1000, 1000), (1080, 1920), (720, 1280), (1920, 1080), (480, 640))  # height, width


@dataclass(frozen=True, eq=False)
class ViewsOfBoxes:
    """One camera for each box."""

    R_cam_world: Float[Tensor, "B 3 3"]
    position: Float[Tensor, "B 3"]  # metres, in the world
    focal_px: Float[Tensor, " B"]
    size: Float[Tensor, "B 2"]  # width and height, pixels

    def to_camera(self, points: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T J 3"]:
        """World points in the camera's axes."""
        moved = points - self.position[:, None, None]
        return moved @ self.R_cam_world[:, None].transpose(-1, -2)

    def project(self, points_cam: Float[Tensor, "B T J 3"]) -> Float[Tensor, "B T J 2"]:
        """Pixels; the optical axis meets the picture in its middle."""
        flat = points_cam[..., :2] / points_cam[..., 2:].clamp_min(1e-3)
        middle = self.size[:, None, None] / 2
        return flat * self.focal_px[:, None, None, None] + middle

    def to_screen(self, points_px: Float[Tensor, "B T J 2"]) -> Float[Tensor, "B T J 2"]:
        """As `meshreg.geometry.screen.to_screen`, for pictures of various sizes."""
        width = self.size[:, :1]
        middle = torch.cat([torch.ones_like(width), self.size[:, 1:] / width], 1)
        return points_px * (2 / width)[:, None, None] - middle[:, None, None]


def random_views(
    low: Float[Tensor, "B 3"],
    high: Float[Tensor, "B 3"],
    generator: torch.Generator,
    settings: CameraSettings,
) -> ViewsOfBoxes:
    """Cameras that see all of the boxes between two corners, in a world whose y points up.

    A camera stands at least so far away that nothing of the box is behind or beside it; its focal
    length is as drawn, or as long as the box allows.
    """
    count = len(low)

    def drawn(span: tuple[float, float]) -> Float[Tensor, " B"]:
        return span[0] + (span[1] - span[0]) * torch.rand(count, generator=generator)

    size = torch.tensor(SIZES, dtype=torch.float32).flip(1)
    size = size[torch.randint(len(SIZES), (count,), generator=generator)]
    middle, radius = (low + high) / 2, (high - low).norm(dim=1) / 2
    away = torch.maximum(drawn(settings.distance), 1.2 * radius + _NEAREST)
    heading = drawn((0.0, 2 * math.pi))
    position = torch.stack(
        [
            middle[:, 0] + away * heading.cos(),
            low[:, 1] + drawn(settings.height),
            middle[:, 2] + away * heading.sin(),
        ],
        1,
    )
    yaw, pitch = (drawn((-settings.aim, settings.aim)) for _ in range(2))
    roll = drawn((-settings.roll, settings.roll))
    direction = middle - position
    if settings.level:
        direction, pitch = direction * torch.tensor([1.0, 0.0, 1.0]), torch.zeros(count)
    R_cam_world = _turned(_looking_at(direction), yaw, pitch, roll)
    views = ViewsOfBoxes(R_cam_world, position, torch.ones(count), size)
    focal_px = torch.minimum(drawn(settings.focal) * size[:, 0], _longest_focal(views, low, high))
    return ViewsOfBoxes(R_cam_world, position, focal_px, size)


def _looking_at(direction: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
    """Cameras upright in a world whose y points up: rows are right, down and forward."""
    forward = direction / direction.norm(dim=1, keepdim=True)
    up = torch.tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = torch.linalg.cross(forward, up)
    right = right / right.norm(dim=1, keepdim=True)
    return torch.stack([right, torch.linalg.cross(forward, right), forward], 1)


def _turned(
    R: Float[Tensor, "B 3 3"],
    yaw: Float[Tensor, " B"],
    pitch: Float[Tensor, " B"],
    roll: Float[Tensor, " B"],
) -> Float[Tensor, "B 3 3"]:
    """Cameras turned about their own axes."""
    for axis, angle in enumerate((pitch, yaw, roll)):
        one, other = (i for i in range(3) if i != axis)
        turn = torch.eye(3).repeat(len(R), 1, 1)
        turn[:, one, one] = turn[:, other, other] = angle.cos()
        turn[:, one, other], turn[:, other, one] = -angle.sin(), angle.sin()
        R = turn @ R
    return R


def _longest_focal(
    views: ViewsOfBoxes, low: Float[Tensor, "B 3"], high: Float[Tensor, "B 3"]
) -> Float[Tensor, " B"]:
    """The focal length at which the corners of the boxes just stay inside the picture, pixels."""
    ends = torch.stack([low, high], 1)  # (B, 2, 3)
    bits = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)])
    corners = torch.stack([ends[:, bits[:, k], k] for k in range(3)], -1)  # (B, 8, 3)
    seen = views.to_camera(corners[:, None])[:, 0]
    extent = (seen[..., :2] / seen[..., 2:].clamp_min(1e-3)).abs().amax(1)
    return (_MARGIN * views.size / 2 / extent.clamp_min(1e-6)).amin(1)
