"""Losses on joints: reprojection in 2D, distances in 3D, both weighted by confidence."""

import torch
from jaxtyping import Float
from torch import Tensor

# How far annotators disagree about a joint, relative to the average joint: rounded from the
# constants of COCO's keypoint metric. Hips lie deep under cloth, faces are sharp.
SPREAD = {"nose": 0.5, "eye": 0.5, "ear": 0.6, "hip": 1.5, "pelvis": 1.5, "spine": 1.5}


def joint_spread(joint_names: tuple[str, ...]) -> Float[Tensor, " J"]:
    """Noise of each joint relative to an average one, found by the last word of its name."""
    words = [name.split("_") for name in joint_names]
    factors = [next((SPREAD[w] for w in parts if w in SPREAD), 1.0) for parts in words]
    return torch.tensor(factors)


def robust_reprojection(
    points_px: Float[Tensor, "*batch J 2"],
    target_px: Float[Tensor, "J 2"],
    confidence: Float[Tensor, " J"],
    *,
    sigma_px: float | Float[Tensor, " J"],
    reach: float = 4.0,
) -> Float[Tensor, "*batch"]:
    """Negative log likelihood of keypoints under heavy-tailed noise: nats, summed over the joints.

    Half the squared error in units of `sigma_px` near zero; errors beyond `reach` sigmas saturate
    (Geman and McClure 1987), so that one wrong joint cannot bend the whole body.
    """
    # Whatever stands where nothing was seen must not leak, not even as 0 * NaN.
    error_px = torch.where(confidence[:, None] > 0, points_px - target_px, 0.0)
    squared = error_px.square().sum(-1) / sigma_px**2
    saturated = squared / (1 + squared / reach**2)
    return (0.5 * confidence * saturated).sum(-1)
