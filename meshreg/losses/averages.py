"""Means over what is known: absence is weight zero, whatever stands in its place."""

import torch
from jaxtyping import Float
from torch import Tensor


def weighted_mean(
    error: Float[Tensor, "*shape"], weight: Float[Tensor, "*shape"]
) -> Float[Tensor, ""]:
    """sum(w e) / sum(w); zero, without any gradient, where all weights are.

    An error of weight zero may be NaN in its value, but its gradient must be finite already:
    clean it before any operation that can blow up, for example with `known_difference`.
    """
    mass = weight.sum()
    known = torch.where(weight > 0, error, 0.0)
    return (weight * known).sum() / torch.where(mass > 0, mass, 1.0)


def known_difference(
    pred: Float[Tensor, "*shape D"],
    target: Float[Tensor, "*shape D"],
    weight: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape D"]:
    """pred - target where there is a weight, else exactly zero, in the gradient as well."""
    return torch.where(weight[..., None] > 0, pred - target, 0.0)
