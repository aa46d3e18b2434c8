"""Overlap of masks and of label maps."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor


def mask_iou(
    pred: Bool[Tensor, "*batch H W"], target: Bool[Tensor, "*batch H W"]
) -> Float[Tensor, "*batch"]:
    """Intersection over union of two masks; two empty masks agree perfectly."""
    intersection = (pred & target).sum((-1, -2))
    union = (pred | target).sum((-1, -2))
    return torch.where(union > 0, intersection / union.clamp_min(1), torch.ones_like(union * 1.0))


def class_iou(
    pred: Integer[Tensor, "*batch H W"],
    target: Integer[Tensor, "*batch H W"],
    classes: Sequence[int],
    known: Bool[Tensor, "*batch H W"] | None = None,
) -> Float[Tensor, "*batch C"]:
    """Intersection over union of every class, over the pixels where the truth is known.

    A class that neither map shows there is NaN: it neither agrees nor disagrees.
    """
    ids = torch.tensor(list(classes), device=pred.device)[:, None, None]
    counts = torch.ones_like(pred, dtype=torch.bool) if known is None else known
    one, other = ((labels.unsqueeze(-3) == ids) & counts.unsqueeze(-3) for labels in (pred, target))
    union = (one | other).sum((-1, -2))
    return torch.where(union > 0, (one & other).sum((-1, -2)) / union.clamp_min(1), torch.nan)
