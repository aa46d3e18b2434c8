"""Pixels as lifters see them: the width from -1 to 1, the height in the same unit.

The formulas are those of VideoPose3D (Pavllo et al. 2019), with which nearly all published lifters
were trained; there the left border is pixel 0, half a pixel off from elsewhere in this package.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.errors import InputError

Size = tuple[int, int]  # height and width, pixels
NEAREST = 0.05  # metres: nearer points are shown as if they were there


def to_screen(points_px: Float[Tensor, "*batch 2"], size: Size) -> Float[Tensor, "*batch 2"]:
    """Pixels of a picture of this size in half widths from its middle."""
    height, width = checked_size(size)
    return points_px * (2 / width) - points_px.new_tensor([1, height / width])


def from_screen(points: Float[Tensor, "*batch 2"], size: Size) -> Float[Tensor, "*batch 2"]:
    """The inverse of `to_screen`."""
    height, width = checked_size(size)
    return (points + points.new_tensor([1, height / width])) * (width / 2)


def checked_size(size: Size) -> Size:
    """The size itself, if it can be one.

    Raises:
        InputError: if it is not two positive numbers.
    """
    height, width = size
    if height < 1 or width < 1:
        raise InputError(
            f"expected the height and width of the pictures in pixels, found {height} and "
            f"{width}: say how large the pictures were in which the joints were found."
        )
    return size


def screen_intrinsics(K: Float[Tensor, "*batch 3 3"], size: Size) -> Float[Tensor, "*batch 4"]:
    """Focal lengths fx, fy and principal point cx, cy in the unit of the screen."""
    width = checked_size(size)[1]
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1) * (2 / width)
    return torch.cat([focal, to_screen(K[..., :2, 2], size)], -1)


def project_to_screen(
    points_cam: Float[Tensor, "*batch N 3"], intrinsics: Float[Tensor, "*batch 4"]
) -> Float[Tensor, "*batch N 2"]:
    """Where a camera of these intrinsics shows points; those behind it are shown far outside."""
    flat = points_cam[..., :2] / points_cam[..., 2:].clamp_min(NEAREST)
    return flat * intrinsics[..., None, :2] + intrinsics[..., None, 2:]
