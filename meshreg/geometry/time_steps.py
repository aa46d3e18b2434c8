"""Values over time at other moments, on straight lines between neighbours."""

import torch
from jaxtyping import Float
from torch import Tensor


def sampled_at(values: Float[Tensor, "T *D"], steps: Float[Tensor, " S"]) -> Float[Tensor, "S *D"]:
    """Values at fractional frame numbers; before the first and after the last they stay."""
    steps = steps.clamp(0, len(values) - 1)
    before = steps.floor().long()
    after = (before + 1).clamp_max(len(values) - 1)
    share = (steps - before).to(values).reshape(-1, *(1,) * (values.ndim - 1))
    return torch.lerp(values[before], values[after], share)


def steps_at_rate(length: int, fps: float, rate: float) -> Float[Tensor, " S"]:
    """Frame numbers, in a clip of `length` frames, of evenly spaced moments from first to last.

    They follow each other at `rate`, or as nearly as both ends allow.
    """
    count = round((length - 1) * rate / fps) + 1
    return torch.linspace(0, length - 1, max(count, min(length, 2)), dtype=torch.float64)
