"""Error measures of the field, in the units their names carry."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.geometry.rigid import procrustes


def mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch"]:
    """Mean distance between corresponding joints, in the unit of the input, without alignment."""
    return (pred - target).norm(dim=-1).mean(-1)


def pa_mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"]
) -> Float[Tensor, "*batch"]:
    """MPJPE after the best similarity transform (rotation, scale, translation) of `pred`."""
    return mpjpe(procrustes(pred, target), target)


def root_aligned_mpjpe(
    pred: Float[Tensor, "*batch J 3"], target: Float[Tensor, "*batch J 3"], root: int = 0
) -> Float[Tensor, "*batch"]:
    """MPJPE after moving both root joints to the origin."""
    return mpjpe(pred - pred[..., root : root + 1, :], target - target[..., root : root + 1, :])


def mask_iou(
    pred: Bool[Tensor, "*batch H W"], target: Bool[Tensor, "*batch H W"]
) -> Float[Tensor, "*batch"]:
    """Intersection over union of two masks; two empty masks agree perfectly."""
    intersection = (pred & target).sum((-1, -2))
    union = (pred | target).sum((-1, -2))
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union * 1.0))
