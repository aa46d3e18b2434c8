"""Losses on joints: reprojection in 2D, distances in 3D, both weighted by confidence."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.losses.averages import known_difference, weighted_mean

Norm: TypeAlias = Literal["absolute", "squared"]

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
    target_px: Float[Tensor, "*#batch J 2"],
    confidence: Float[Tensor, "*#batch J"],
    *,
    sigma_px: float | Float[Tensor, "*#batch J"],
    reach: float = 4.0,
) -> Float[Tensor, "*batch"]:
    """Negative log likelihood of keypoints under heavy-tailed noise: nats, summed over the joints.

    Half the squared error in units of `sigma_px` near zero; errors beyond `reach` sigmas saturate
    (Geman and McClure 1987), so that one wrong joint cannot bend the whole body.
    """
    # Whatever stands where nothing was seen must not leak, not even as 0 * NaN.
    error_px = torch.where(confidence[..., None] > 0, points_px - target_px, 0.0)
    squared = error_px.square().sum(-1) / sigma_px**2
    saturated = squared / (1 + squared / reach**2)
    return (0.5 * confidence * saturated).sum(-1)


def reprojection(
    points_px: Float[Tensor, "B J 2"],
    target_px: Float[Tensor, "B J 2"],
    weight: Float[Tensor, "B J"],
    *,
    scale_px: float | Float[Tensor, " B"],
    norm: Norm = "absolute",
) -> Float[Tensor, ""]:
    """The weighted mean error of keypoints, in units of `scale_px`, such as half the crop's side.

    Points that are drawn outside the picture count as long as their weight does.
    """
    error = known_difference(points_px, target_px, weight)
    unit = torch.as_tensor(scale_px, dtype=error.dtype, device=error.device)
    return weighted_mean(_size_of(error / unit.reshape(-1, 1, 1), norm), weight)


def joints_from_root(
    joints: Float[Tensor, "B J 3"],
    target: Float[Tensor, "B J 3"],
    weight: Float[Tensor, "B J"],
    *,
    root: Sequence[int] = (0,),
    norm: Norm = "absolute",
) -> Float[Tensor, ""]:
    """The weighted mean error of 3D joints in metres, relative to the mean of the `root` joints.

    The root is the pelvis, or both hips. Samples whose target has no root count nothing.
    """
    return mean_size(*from_root(joints, target, weight, root=root), norm)


def from_root(
    joints: Float[Tensor, "B J 3"],
    target: Float[Tensor, "B J 3"],
    weight: Float[Tensor, "B J"],
    *,
    root: Sequence[int] = (0,),
) -> tuple[Float[Tensor, "B J 3"], Float[Tensor, "B J"]]:
    """What `joints_from_root` takes the mean of: differences, and how much each counts."""
    root = list(root)
    has_root = (weight[:, root] > 0).all(1, keepdim=True)
    weight = torch.where(has_root, weight, 0.0)
    there = weight[..., None] > 0
    joints, target = (torch.where(there, points, 0.0) for points in (joints, target))
    joints, target = (points - points[:, root].mean(1, keepdim=True) for points in (joints, target))
    return known_difference(joints, target, weight), weight


def from_middle(
    points: Float[Tensor, "B J 3"], target: Float[Tensor, "B J 3"], weight: Float[Tensor, "B J"]
) -> tuple[Float[Tensor, "B J 3"], Float[Tensor, "B J"]]:
    """Differences of points from the middle of those that are known, and how much each counts.

    For targets from any origin, of which any may be missing, so that no joint can be the root.
    """
    difference = known_difference(points, target, weight)
    share = weight / weight.sum(1, keepdim=True).clamp_min(1e-6)
    middle = (share[..., None] * difference).sum(1, keepdim=True)
    return torch.where(weight[..., None] > 0, difference - middle, 0.0), weight


def mean_size(
    difference: Float[Tensor, "B J D"], weight: Float[Tensor, "B J"], norm: Norm
) -> Float[Tensor, ""]:
    """The weighted mean size of differences."""
    return weighted_mean(_size_of(difference, norm), weight)


def _size_of(error: Float[Tensor, "*shape D"], norm: Norm) -> Float[Tensor, "*shape"]:
    """The sum over the axes; absolute values do not let one bad annotation rule the batch."""
    return (error.abs() if norm == "absolute" else error.square()).sum(-1)
