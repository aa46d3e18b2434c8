"""Whether predicted scales of errors are true: likelihood, coverage and reliability diagrams.

Errors are taken to follow Laplace distributions, whose scale is their mean absolute value.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: from the surest errors to the least sure, in bins of equal count."""

    predicted: Float[Tensor, " bins"]  # mean scale
    found: Float[Tensor, " bins"]  # mean absolute error; on the diagonal if scales are true


def laplace_nll(error: Float[Tensor, " N"], scale: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Negative log likelihood, nats, in the unit of the errors: lower is better."""
    return error.abs() / scale + (2 * scale).log()


def reliability(
    error: Float[Tensor, " N"], scale: Float[Tensor, " N"], *, bins: int = 10
) -> Reliability:
    """Mean scales and errors in bins of the scale."""
    assert len(error) >= bins, (len(error), bins)
    order = scale.argsort()
    parts = [(scale[some].mean(), error[some].abs().mean()) for some in order.chunk(bins)]
    predicted, found = (torch.stack(column) for column in zip(*parts, strict=True))
    return Reliability(predicted=predicted, found=found)


def calibration_error(diagram: Reliability) -> float:
    """How far the diagram is from its diagonal: the mean absolute log ratio, 0 if it is on it."""
    return float((diagram.found.log() - diagram.predicted.log()).abs().mean())


def coverage(error: Float[Tensor, " N"], scale: Float[Tensor, " N"], level: float) -> float:
    """The share of errors within the interval that should hold `level` of them."""
    assert 0 < level < 1, level
    limit = -torch.log(torch.tensor(1 - level)) * scale
    return float((error.abs() <= limit).float().mean())
