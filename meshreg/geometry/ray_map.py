"""Where each cell of a grid over a picture looks: what perspective encoding tells a network."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.geometry.perspective import pixel_rays


def ray_map(
    K: Float[Tensor, "*batch 3 3"],
    picture_size: tuple[int, int],
    grid_size: tuple[int, int],
    *,
    known: Bool[Tensor, "*batch"] | None = None,
) -> Float[Tensor, "*batch 2 h w"]:
    """Tangents right and down of the rays through the middles of a grid's cells.

    `K` is in pixels of the picture, of which each cell covers an equal part; sizes are height and
    width. Where K is not known, whatever it holds, the map is zero.
    """
    y, x = (
        (torch.arange(cells, dtype=K.dtype, device=K.device) + 0.5) * (pixels / cells) - 0.5
        for pixels, cells in zip(picture_size, grid_size, strict=True)
    )
    cells_px = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    if known is not None:  # before the division, so that nothing leaks, not even through gradients
        K = torch.where(known[..., None, None], K, torch.eye(3, dtype=K.dtype, device=K.device))
    rays = pixel_rays(cells_px.expand(*K.shape[:-2], -1, 2), K)[..., :2]
    if known is not None:
        rays = torch.where(known[..., None, None], rays, 0.0)
    return rays.transpose(-1, -2).unflatten(-1, grid_size)
