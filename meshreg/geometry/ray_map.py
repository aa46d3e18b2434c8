"""Where each cell of a grid over a picture looks: what perspective encoding tells a network."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.geometry.cameras import unproject


def ray_map(
    K: Float[Tensor, "B 3 3"],
    picture_size: tuple[int, int],
    grid_size: tuple[int, int],
    *,
    known: Bool[Tensor, " B"] | None = None,
) -> Float[Tensor, "B 2 h w"]:
    """Tangents right and down of the rays through the middles of a grid's cells.

    Sizes are height and width. Where K is not known, whatever it holds, the map is zero.
    """
    y, x = (
        (torch.arange(cells, dtype=K.dtype, device=K.device) + 0.5) * (pixels / cells) - 0.5
        for pixels, cells in zip(picture_size, grid_size, strict=True)
    )
    cells_px = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
    if known is not None:
        K = torch.where(known[:, None, None], K, torch.eye(3).to(K))
    rays = unproject(cells_px.expand(len(K), -1, 2), torch.ones(len(K), len(cells_px)).to(K), K)
    rays = rays[..., :2].mT.unflatten(2, grid_size)
    return rays if known is None else torch.where(known[:, None, None, None], rays, 0.0)
