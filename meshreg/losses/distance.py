"""How far points of the body lie outside a mask: a pull that reaches any distance."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def distance_maps(mask: Bool[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """For every pixel the distance in pixels to the nearest pixel of the mask; 0 on the mask.

    An empty mask gives zeros: nothing to be pulled to. Exact, along columns and then along rows.
    """
    _, height, width = mask.shape
    rows = torch.arange(height, device=mask.device)[:, None]
    columns = torch.arange(width, device=mask.device)
    far = height + width
    above = torch.where(mask, rows, -far).cummax(1).values
    below = torch.where(mask, rows, height + far).flip(1).cummin(1).values.flip(1)
    in_column = torch.minimum(rows - above, below - rows).square()
    squared = torch.full_like(in_column, far**2 * 4)
    for column in range(width):
        candidate = in_column[:, :, column, None] + (columns - column).square()
        squared = torch.minimum(squared, candidate)
    nearest = squared.to(torch.get_default_dtype()).sqrt()
    return torch.where(mask.any((1, 2), keepdim=True), nearest, 0.0)


def distance_from_mask(
    points_px: Float[Tensor, "B V 2"],
    outside_px: Float[Tensor, "A H W"],
    *,
    scale_px: float | Float[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """Mean squared distance of projected vertices from the mask, in units of the person's size.

    It reaches any distance, where a rendered mask only feels its own outline. Vertices beyond the
    picture's border cost nothing: nobody knows what is there. One map per body, or one for all.
    """
    height, width = outside_px.shape[1:]
    size = points_px.new_tensor([width, height])
    grid = (points_px + 0.5) / size * 2 - 1  # grid_sample's corners are the image's borders
    sampled = torch.nn.functional.grid_sample(
        outside_px.expand(len(points_px), -1, -1)[:, None],
        grid[:, None],
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )[:, 0, 0]
    inside_picture = (grid.abs() < 1).all(-1)
    unit = torch.as_tensor(scale_px, dtype=sampled.dtype, device=sampled.device)
    distance = torch.where(inside_picture, sampled, 0.0) / unit.reshape(-1, 1)
    return distance.square().mean(-1)


def mask_extent(mask: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """The diagonal of each mask's box in pixels, to measure distances by; at least one pixel."""
    sides = []
    for other in (1, 2):
        there = mask.any(other).float()
        places = torch.arange(1, there.shape[1] + 1, device=mask.device) * there
        first = torch.where(there > 0, places, there.shape[1] + 1).amin(1)
        sides.append((places.amax(1) - first).clamp_min(0))
    return torch.stack(sides).square().sum(0).sqrt().clamp_min(1.0)
