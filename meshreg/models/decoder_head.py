"""A head that looks for the body in the features with one query (Goel et al. 2023, HMR 2.0)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.models.heads import StartBuffers, condition_width, gentle_linear
from meshreg.models.outputs import BodyState


class DecoderHead(StartBuffers):
    """One query token attends to all feature tokens; small networks read corrections off it.

    A lone query has nobody beside it, so there is no attention among queries.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        start: BodyState,
        width: int = 512,
        depth: int = 3,
        num_heads: int = 8,
        dropout: float = 0.0,
        num_condition: int = 0,
    ) -> None:
        super().__init__()
        assert width % (4 * num_heads) == 0, (width, num_heads)
        self.num_condition = num_condition
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.embed_features = nn.Linear(in_channels, width)
        self.embed_condition = nn.Linear(num_condition, width) if num_condition else None
        self.blocks = nn.ModuleList(
            DecoderBlock(width=width, num_heads=num_heads, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.decpose = _readout(width, start.pose_rot6d.shape[1])
        self.decshape = _readout(width, start.betas.shape[1])
        self.deccam = _readout(width, start.cam.shape[1])
        self.keep_start(start)

    def forward(
        self,
        features: Float[Tensor, "B C h w"],
        condition: Float[Tensor, "B D"] | None = None,
        start: BodyState | None = None,
    ) -> list[BodyState]:
        """One state in a list, as other heads give several."""
        assert condition_width(condition) == self.num_condition, (
            condition_width(condition),
            self.num_condition,
        )
        batch_size, _, height, width = features.shape
        tokens = self.embed_features(features.flatten(2).transpose(1, 2))
        places = grid_positions(height, width, tokens.shape[-1], device=tokens.device)
        tokens = tokens + places.to(tokens.dtype)
        query = self.query.expand(batch_size, -1, -1)
        if condition is not None and self.embed_condition is not None:
            query = query + self.embed_condition(condition.to(tokens.dtype))[:, None]
        for block in self.blocks:
            query = block(query, tokens)
        found = self.norm(query[:, 0])
        state = start or self.start(batch_size)
        return [
            BodyState(
                pose_rot6d=state.pose_rot6d + self.decpose(found),
                betas=state.betas + self.decshape(found),
                cam=state.cam + self.deccam(found),
            )
        ]


class DecoderBlock(nn.Module):
    """Attention from queries to tokens, then a small network on each query, both as corrections."""

    def __init__(self, *, width: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.norm_query, self.norm_tokens = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width, bias=False)
        self.to_key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(
        self, query: Float[Tensor, "B Q D"], tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B Q D"]:
        query = query + self.attend(self.norm_query(query), self.norm_tokens(tokens))
        return query + self.mlp(query)

    def attend(
        self, query: Float[Tensor, "B Q D"], tokens: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B Q D"]:
        """Each query's weighted mean of what the tokens say."""
        key, value = self.to_key_value(tokens).chunk(2, -1)
        query, key, value = (self._split(x) for x in (self.to_query(query), key, value))
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B H N d"]:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _readout(width: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), gentle_linear(width, size))


def grid_positions(
    height: int, width: int, channels: int, *, device: torch.device | None = None
) -> Float[Tensor, "N C"]:
    """Sines and cosines of the place in a grid, row by row, from -1 to 1 whatever its size.

    Convolutional features do not tell where they were taken; grids of any size fit.
    """
    rows, columns = (torch.arange(size, device=device) for size in (height, width))
    y, x = (((cells + 0.5) / len(cells) * 2 - 1) * math.pi for cells in (rows, columns))
    # From one turn over the grid to one turn over two cells of a 16 x 16 grid.
    frequency = torch.logspace(0, 3, channels // 4, base=2.0, device=device)
    waves = torch.meshgrid(y, x, indexing="ij")
    angles = torch.stack(waves, -1).reshape(-1, 2, 1) * frequency
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
