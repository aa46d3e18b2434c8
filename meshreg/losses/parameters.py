"""Losses on what a regressor predicts: pose, shape, vertices and the camera's scale.

All are weighted means over the batch, so that they do not depend on how many samples know a truth.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.losses.averages import known_difference, weighted_mean


def pose_error(
    pose_rotmat: Float[Tensor, "B J 3 3"],
    target: Float[Tensor, "B J 3 3"],
    weight: Float[Tensor, "B J"],
) -> Float[Tensor, ""]:
    """Mean squared difference of rotation matrices per joint: 8 sin^2(angle / 2)."""
    difference = known_difference(pose_rotmat.flatten(2), target.flatten(2), weight)
    return weighted_mean(difference.square().sum(-1), weight)


def shape_error(
    betas: Float[Tensor, "B S"], target: Float[Tensor, "B S"], weight: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """Mean squared difference of the shape coefficients."""
    return weighted_mean(known_difference(betas, target, weight).square().mean(-1), weight)


def vertex_error(
    vertices: Float[Tensor, "B V 3"],
    target: Float[Tensor, "B V 3"],
    weight: Float[Tensor, " B"],
) -> Float[Tensor, ""]:
    """Mean absolute difference of the vertices' coordinates, metres."""
    difference = known_difference(vertices.flatten(1), target.flatten(1), weight)
    return weighted_mean(difference.abs().mean(-1), weight)


def scale_prior(scale: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """exp(-10 s)^2: the scale of a weak-perspective camera must not come near zero, or below.

    It is the size of the body in units of the crop (Kanazawa et al. 2018; Dwivedi et al. 2021).
    """
    return torch.exp(-10 * scale).square().mean()
