"""How far a mean may be off because other samples could have been drawn: bootstrap intervals."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

CHUNK = 4_000_000  # resampled indices held at once


@dataclass(frozen=True)
class Interval:
    """A mean and where it would lie in most repetitions of the experiment."""

    mean: float
    low: float
    high: float


def bootstrap_interval(
    values: Float[Tensor, " N"],
    groups: Int[Tensor, " N"] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """The mean of the values and the percentile bootstrap interval around it (Efron, 1979).

    Samples of one sequence are alike, so with `groups` whole sequences are drawn: as if each of
    them were one observation, which makes the interval as wide as it should be.
    """
    assert len(values) and 0 < level < 1 and resamples > 0, (len(values), level, resamples)
    sums, counts = _sums_of_groups(values.double().cpu(), groups)
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, CHUNK // len(sums))
    means = []
    for first in range(0, resamples, rows):
        shape = (min(rows, resamples - first), len(sums))
        drawn = torch.randint(len(sums), shape, generator=generator)
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.quantile(torch.cat(means), tails).tolist()
    return Interval(mean=float(sums.sum() / counts.sum()), low=low, high=high)


def _sums_of_groups(
    values: Float[Tensor, " N"], groups: Int[Tensor, " N"] | None
) -> tuple[Float[Tensor, " G"], Float[Tensor, " G"]]:
    """The sum and the number of the values of each group."""
    if groups is None:
        return values, torch.ones_like(values)
    _, place = groups.cpu().unique(return_inverse=True)
    zeros = values.new_zeros(int(place.max()) + 1)
    sums = zeros.index_add(0, place, values)
    return sums, zeros.index_add(0, place, torch.ones_like(values))
