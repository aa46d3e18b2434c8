"""How sure a mean over people and seeds is, and the difference of two arms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.metrics import Interval

RESAMPLES = 4000


@dataclass(frozen=True, eq=False)
class Scores:
    """One measure of one arm: every judged person after every run."""

    by_seed: Mapping[int, Float[Tensor, " P"]]

    def table(self, seeds: tuple[int, ...]) -> Float[Tensor, "S P"]:
        """Rows of these seeds."""
        return torch.stack([self.by_seed[seed] for seed in seeds]).double()


def mean_interval(scores: Scores) -> Interval:
    """The mean over seeds and people, and its bootstrap interval."""
    return bootstrap(scores.table(tuple(sorted(scores.by_seed))))


def paired_difference(scores: Scores, reference: Scores) -> tuple[Interval, tuple[float, ...]]:
    """Mean of scores minus reference with its interval, and the difference of each common seed.

    Each person after each seed's runs is compared with the same person after the reference's run of
    that seed, so what is hard about a person, or lucky about a seed, drops out.
    """
    seeds = tuple(sorted(scores.by_seed.keys() & reference.by_seed.keys()))
    assert seeds, "nothing to compare"
    difference = scores.table(seeds) - reference.table(seeds)
    return bootstrap(difference), tuple(difference.mean(1).tolist())


def bootstrap(
    values: Float[Tensor, "S P"], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Percentiles of the mean when seeds and people are both drawn anew (Efron 1979).

    Rows and columns are drawn independently: all seeds judge the same people. Drawing from S seeds
    spreads too little by a factor of sqrt((S - 1) / S), which is made good; with three seeds the
    interval is still an optimistic one, so look at each of them as well.
    """
    rows, columns = (_shares(n, resamples, seed + k) for k, n in enumerate(values.shape))
    widened = math.sqrt(len(values) / max(len(values) - 1, 1))
    away = values.mean(1, keepdim=True) - values.mean()  # of each seed
    means = ((rows @ (values + (widened - 1) * away)) * columns).sum(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(mean=float(values.mean()), low=low, high=high)


@lru_cache(maxsize=8)
def _shares(count: int, resamples: int, seed: int) -> Float[Tensor, "R N"]:
    """How often each of `count` is drawn in each repetition, as a share of the draws."""
    drawn = torch.randint(count, (resamples, count), generator=torch.Generator().manual_seed(seed))
    ones = torch.ones(resamples, count, dtype=torch.float64)
    return torch.zeros_like(ones).scatter_add_(1, drawn, ones) / count
