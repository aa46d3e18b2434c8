"""Losses on where a network saw the joints, before any body explains them, and on its doubts."""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.losses.averages import weighted_mean


def cell_error(
    log_share: Float[Tensor, "B J h w"],
    points: Float[Tensor, "B J 2"],
    weight: Float[Tensor, "B J"],
) -> Float[Tensor, ""]:
    """Cross entropy of a map's cells with the four around each point (x, y from -1 to 1), nats.

    The four count so that their mean is the point: the best map is also right between cells.
    Unlike the error of the mean, this tells a map that is still flat where to look.
    """
    height, width = log_share.shape[-2:]
    known = weight > 0
    size = points.new_tensor([width, height])
    place = torch.where(known[..., None], (points + 1) / 2 * size - 0.5, 0.0)
    # Points in the outer half of a border's cell belong to that cell.
    place = torch.minimum(place.clamp_min(0.0), size - 1)
    low = torch.minimum(place.floor(), (size - 2).clamp_min(0))
    past = place - low
    flat, error = log_share.flatten(2), torch.zeros_like(weight)
    for right in (0, 1):
        for down in (0, 1):
            share = _part(past[..., 0], right) * _part(past[..., 1], down)
            cell = (low[..., 1] + down) * width + low[..., 0] + right
            cell = cell.long().clamp_max(height * width - 1)
            error = error - share * flat.gather(2, cell[..., None])[..., 0]
    return weighted_mean(error, weight)


def _part(past: Float[Tensor, "B J"], is_next: int) -> Float[Tensor, "B J"]:
    return past if is_next else 1 - past


def depth_error(
    depth: Float[Tensor, "B J"],
    joints_cam: Float[Tensor, "B J 3"],
    weight: Float[Tensor, "B J"],
) -> Float[Tensor, ""]:
    """The weighted mean error of depths behind the pelvis, which is joint 0, metres.

    Samples that do not know where the pelvis is count nothing.
    """
    target, known = depth_behind_pelvis(joints_cam, weight)
    return weighted_mean((depth - target).abs(), known)


def depth_behind_pelvis(
    joints_cam: Float[Tensor, "B J 3"], weight: Float[Tensor, "B J"]
) -> tuple[Float[Tensor, "B J"], Float[Tensor, "B J"]]:
    """The depths that are known, zero elsewhere, and the weights that are left."""
    known = torch.where(weight[:, :1] > 0, weight, 0.0)
    z = torch.where(known > 0, joints_cam[..., 2], 0.0)
    return torch.where(known > 0, z - z[:, :1], 0.0), known


def doubt(
    error: Float[Tensor, "*shape"],
    log_spread: Float[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"],
) -> Float[Tensor, ""]:
    """Negative log likelihood of errors under Laplace distributions of these spreads, nats.

    Only the spreads learn from it: trained through it as well, the places of difficult joints would
    be given up early, for they would hardly count (Seitzer et al. 2022).
    """
    known = torch.where(weight > 0, error.detach(), 0.0).abs()
    return weighted_mean(known * torch.exp(-log_spread) + log_spread, weight)
