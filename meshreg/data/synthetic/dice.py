"""Chance in the few forms that sampling outfits needs."""

import numpy as np

Choice = dict[str, float]  # shares; they need not add up to one


class Dice:
    """Draws from a generator in the few ways that outfits need."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def choose(self, shares: Choice) -> str:
        edges = np.cumsum(list(shares.values()))
        return list(shares)[int(np.searchsorted(edges, self.rng.random() * edges[-1], "right"))]
