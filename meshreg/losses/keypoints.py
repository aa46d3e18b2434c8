"""Losses on joints: reprojection in 2D, distances in 3D, both weighted by confidence."""

from jaxtyping import Float
from torch import Tensor


def robust_reprojection(
    points_px: Float[Tensor, "*batch J 2"],
    target_px: Float[Tensor, "J 2"],
    confidence: Float[Tensor, " J"],
    *,
    sigma_px: float,
    reach: float = 4.0,
) -> Float[Tensor, "*batch"]:
    """Negative log likelihood of keypoints under heavy-tailed noise, summed over the joints, in nats.

    Half the squared error in units of `sigma_px` near zero; errors beyond `reach` sigmas saturate
    (Geman and McClure 1987), so that one wrong joint cannot bend the whole body.
    """
    squared = (points_px - target_px).square().sum(-1) / sigma_px**2
    saturated = squared / (1 + squared / reach**2)
    return (0.5 * confidence * saturated).sum(-1)
