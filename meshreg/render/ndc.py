"""PyTorch3D's image coordinates (NDC): x left, y up, half the shorter image side is one unit."""

import torch
from jaxtyping import Float
from torch import Tensor

# Faces with a corner at or behind this depth (metres) are not drawn.
MIN_DEPTH = 1e-8


def homogeneous_ndc(
    verts_cam: Float[Tensor, "B V 3"], K: Float[Tensor, "B 3 3"], size: tuple[int, int]
) -> Float[Tensor, "B V 3"]:
    """Project camera-space points to (x z, y z, z), that is NDC before the division by depth.

    Pixel column u lies at x = (W - 1 - 2 u) / min(H, W); the last row of K is taken as (0, 0, 1).
    """
    return torch.cat([verts_cam @ ndc_rows(K, size).mT, verts_cam[..., 2:]], -1)


def ndc_rows(K: Float[Tensor, "B 3 3"], size: tuple[int, int]) -> Float[Tensor, "B 2 3"]:
    """The rows that map camera space to (x z, y z)."""
    height, width = size
    # Centred before it meets the points: pixels times depth would lose digits in float32.
    centre = K.new_tensor([[0.0, 0.0, width - 1.0], [0.0, 0.0, height - 1.0]])
    return (centre - 2 * K[:, :2]) / min(size)


def divide_by_depth(points: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
    """Turn (x z, y z, z) into (x, y, z); points at or behind the camera get x = y = 0."""
    xy, z = points[..., :2], points[..., 2:]
    in_front = z > MIN_DEPTH
    # The inner `where` keeps the gradient of the branch not taken finite.
    xy = torch.where(in_front, xy / torch.where(in_front, z, 1.0), 0.0)
    return torch.cat([xy, z], -1)
