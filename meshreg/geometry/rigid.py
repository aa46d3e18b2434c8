"""Rigid and similarity transforms: 4x4 matrices and Procrustes alignment."""

import torch
from jaxtyping import Float
from torch import Tensor


def compose(
    rotation: Float[Tensor, "*batch 3 3"], translation: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """The 4x4 matrix that rotates first and translates second."""
    T = torch.zeros(*translation.shape[:-1], 4, 4, dtype=rotation.dtype, device=rotation.device)
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def invert(T: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """The inverse of a rigid transform: T_b_a from T_a_b."""
    R_inverse = T[..., :3, :3].transpose(-1, -2)
    return compose(R_inverse, -(R_inverse @ T[..., :3, 3:])[..., 0])


def transform(
    T: Float[Tensor, "*batch 4 4"], points: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Points of frame b in frame a, given T_a_b."""
    return points @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]


def procrustes(
    source: Float[Tensor, "*batch N 3"], target: Float[Tensor, "*batch N 3"]
) -> Float[Tensor, "*batch N 3"]:
    """`source` moved onto `target` by the best rotation, uniform scale and translation.

    Least squares after Umeyama (1991); reflections are excluded. This is the alignment in PA-MPJPE.
    """
    source_mean, target_mean = source.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    s, t = source - source_mean, target - target_mean
    U, singular, Vt = torch.linalg.svd(t.transpose(-1, -2) @ s)
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.det(U @ Vt).sign()
    R = U @ (sign[..., None] * Vt)
    variance = s.square().sum((-1, -2)).clamp_min(1e-12)
    scale = (singular * sign).sum(-1) / variance
    return scale[..., None, None] * (s @ R.transpose(-1, -2)) + target_mean
