"""From maps, depths and the size of a pixel at the body to metric joints in front of a camera.

PersPose (ICCV 2025) regresses the density rho0 of pixels at the root, in metres per pixel: it is
what can be seen of a person's size, and the focal length turns it into a distance. Every joint
then follows by back-projection, without any approximation.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.geometry.cameras import unproject

# Where a picture begins, in pixel coordinates: with integers at pixel centres, or at their edges
CENTRES, EDGES = -0.5, 0.0


def cell_places(
    number: int, stride: int, *, start: float = CENTRES, like: Tensor
) -> Float[Tensor, " n"]:
    """Pixel coordinates of the centres of a row of cells that are `stride` pixels wide."""
    return (torch.arange(number).to(like) + 0.5) * stride + start


def expected_places(
    logits: Float[Tensor, "B J h w"], stride: int, *, start: float = CENTRES
) -> Float[Tensor, "B J 2"]:
    """The mean place of each heat map after a softmax, in pixels of the picture."""
    height, width = logits.shape[-2:]
    mass = logits.flatten(2).softmax(-1).unflatten(2, (height, width))
    x = mass.sum(-2) @ cell_places(width, stride, start=start, like=mass)
    y = mass.sum(-1) @ cell_places(height, stride, start=start, like=mass)
    return torch.stack([x, y], -1)


def joint_densities(
    depth: Float[Tensor, "B J"], rho0: Float[Tensor, " B"], K: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B J"]:
    """Metres per pixel at each joint, which lies `depth` metres behind the root."""
    return depth / mean_focal(K)[:, None] + rho0[:, None]


def back_projected(
    points_px: Float[Tensor, "B J 2"],
    density: Float[Tensor, "B J"],
    K: Float[Tensor, "B 3 3"],
    *,
    one_focal: bool = False,
) -> Float[Tensor, "B J 3"]:
    """Camera-space joints seen at given pixels, where a pixel covers `density` metres.

    `one_focal` takes pixels for square with the mean of both focal lengths, as released code does.
    """
    if one_focal:
        xy = (points_px - K[:, None, :2, 2]) * density[..., None]
        return torch.cat([xy, (density * mean_focal(K)[:, None])[..., None]], -1)
    return unproject(points_px, density * mean_focal(K)[:, None], K)


def mean_focal(K: Float[Tensor, "B 3 3"]) -> Float[Tensor, " B"]:
    """The arithmetic mean of both focal lengths: the one that densities refer to."""
    return (K[:, 0, 0] + K[:, 1, 1]) / 2
