"""Errors of whole meshes whose vertices correspond."""

from jaxtyping import Float
from torch import Tensor

from meshreg.metrics.joints import centred, mpjpe


def v2v(
    pred: Float[Tensor, "*batch V 3"], target: Float[Tensor, "*batch V 3"]
) -> Float[Tensor, "*batch"]:
    """Mean distance between corresponding vertices where they are, without any alignment."""
    return mpjpe(pred, target)


def pve(
    pred: Float[Tensor, "*batch V 3"],
    target: Float[Tensor, "*batch V 3"],
    pred_roots: Float[Tensor, "*batch R 3"],
    target_roots: Float[Tensor, "*batch R 3"],
) -> Float[Tensor, "*batch"]:
    """Per-vertex error: mean vertex distance after moving both roots to the origin."""
    return mpjpe(centred(pred, pred_roots), centred(target, target_roots))
