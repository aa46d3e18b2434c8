"""Where a picture shows each joint: coarse maps, read off by soft-argmax.

The mean of a map is exact between cells and differentiable (Sun et al. 2018, integral regression).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.models.outputs import JointEvidence

LEAST_LOG_SPREAD, MOST_LOG_SPREAD = -6.0, 3.0


class TopDown(nn.Module):
    """Merges maps from coarse to fine by light convolutions (feature pyramids, Lin et al. 2017)."""

    def __init__(self, in_channels: tuple[int, ...], width: int) -> None:
        """`in_channels` of maps from fine to coarse, each half as large as the one before."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.mix = nn.ModuleList(_separable(width) for _ in in_channels)

    def forward(self, maps: list[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B D h w"]:
        merged: Tensor | None = None
        for lateral, mix, finer in reversed(list(zip(self.lateral, self.mix, maps, strict=True))):
            here = lateral(finer)
            if merged is not None:
                here = here + F.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = mix(here)
        assert merged is not None
        return merged


class JointMaps(nn.Module):
    """Four maps per joint: where it is, how deep, and how sure both are."""

    def __init__(self, width: int, num_joints: int = 45) -> None:
        super().__init__()
        self.num_joints = num_joints
        self.readout = nn.Conv2d(width, 4 * num_joints, 1)

    def forward(
        self, features: Float[Tensor, "B D h w"]
    ) -> tuple[JointEvidence, Float[Tensor, "B J D"]]:
        """What the maps say, and the features of each joint's surroundings."""
        maps = self.readout(features).unflatten(1, (4, self.num_joints))
        # Half precision is too coarse for means over a thousand cells.
        scores, *others = (part.flatten(2).float() for part in maps.unbind(1))
        log_share = scores.log_softmax(-1)
        share = log_share.exp()
        depth, log_spread, log_depth_spread = ((share * part).sum(-1) for part in others)
        evidence = JointEvidence(
            points=share @ _cell_centres(features),
            depth=depth,
            log_spread=log_spread.clamp(LEAST_LOG_SPREAD, MOST_LOG_SPREAD),
            log_depth_spread=log_depth_spread.clamp(LEAST_LOG_SPREAD, MOST_LOG_SPREAD),
            log_share=log_share.unflatten(-1, features.shape[-2:]),
        )
        return evidence, share.to(features.dtype) @ features.flatten(2).transpose(1, 2)


def _cell_centres(features: Float[Tensor, "B D h w"]) -> Float[Tensor, "N 2"]:
    """x and y of a map's cells, row by row; the borders of the picture are at -1 and 1."""
    rows, columns = (torch.arange(size, device=features.device) for size in features.shape[-2:])
    y, x = ((cells + 0.5) / len(cells) * 2 - 1 for cells in (rows, columns))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)


def _separable(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )
