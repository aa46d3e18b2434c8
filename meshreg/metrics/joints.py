"""Errors of 3D joints, after the alignments that papers differ in."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.geometry.rigid import procrustes

# MPI-INF-3DHP (Mehta et al. 2017), metres: a joint counts as found closer than this, and the area
# under the curve is the mean over 31 distances of which the first, 0, finds nothing.
PCK_DISTANCE = 0.150
AUC_DISTANCES = tuple(0.005 * step for step in range(31))


def joint_errors(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch J"]:
    """The distance of every joint from where it should be."""
    return (pred - target).norm(dim=-1)


def mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch"]:
    """Mean distance between corresponding joints, in the unit of the input, without alignment."""
    return joint_errors(pred, target).mean(-1)


def centred(
    points: Float[Tensor, "*batch N 3"], roots: Float[Tensor, "*batch R 3"]
) -> Float[Tensor, "*batch N 3"]:
    """Points as seen from the middle of the root joints: one pelvis, or both hips."""
    return points - roots.mean(-2, keepdim=True)


def root_aligned_mpjpe(
    pred: Float[Tensor, "*batch J 3"],
    target: Float[Tensor, "*batch J 3"],
    root: int | Sequence[int] = 0,
) -> Float[Tensor, "*batch"]:
    """MPJPE after moving both roots to the origin; several root joints stand for their mean."""
    roots = [root] if isinstance(root, int) else list(root)
    assert roots, "no root joint"
    return mpjpe(centred(pred, pred[..., roots, :]), centred(target, target[..., roots, :]))


def aligned(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch J 3"]:
    """`pred` after the best rotation, scale and shift; worked out in double precision."""
    return procrustes(pred.double(), target.double()).to(pred.dtype)


def pa_mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch"]:
    """MPJPE after the best similarity transform (rotation, scale, translation) of `pred`."""
    return mpjpe(aligned(pred, target), target)


def n_mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch"]:
    """MPJPE after the best scaling of `pred` about the origin, where the roots should be.

    The scale is that of Rhodin et al. (2018): <pred, target> / <pred, pred>, pose by pose.
    """
    overlap = (pred * target).sum((-1, -2), keepdim=True)
    size = pred.square().sum((-1, -2), keepdim=True)
    return mpjpe(overlap / size.clamp_min(1e-12) * pred, target)


def pck(
    pred: Float[Tensor, "*batch J 3"],
    target: Float[Tensor, "*batch J 3"],
    distance: float = PCK_DISTANCE,
) -> Float[Tensor, "*batch"]:
    """The share of joints that are closer than `distance` to where they should be, 0 to 1."""
    return _share_below(joint_errors(pred, target), distance)


def auc(
    pred: Float[Tensor, "*batch J 3"],
    target: Float[Tensor, "*batch J 3"],
    distances: Sequence[float] = AUC_DISTANCES,
) -> Float[Tensor, "*batch"]:
    """The mean of PCK over distances: the area under its curve.

    With the usual distances no prediction gets more than 30/31, because 0 is among them.
    """
    errors = joint_errors(pred, target)
    return torch.stack([_share_below(errors, distance) for distance in distances]).mean(0)


def _share_below(errors: Float[Tensor, "*batch J"], distance: float) -> Float[Tensor, "*batch"]:
    return (errors < distance).to(errors.dtype).mean(-1)
