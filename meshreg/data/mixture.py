"""Several sources of samples mixed by weight: batch number n is always the same one."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Protocol, runtime_checkable

import torch

from meshreg.data.chance import chance
from meshreg.data.sample import Batch, Sample
from meshreg.errors import InputError

DECK = 1000  # draws after which the sources have come exactly as often as their weights say


@runtime_checkable
class Source(Protocol):
    """Samples by number, each the same in whatever company."""

    @property
    def count(self) -> int | None:
        """How many there are; None: without end."""
        ...

    def take(self, indices: Sequence[int]) -> Batch:
        """These samples as one batch, on the CPU."""
        ...


class Mixture:
    """Batches of samples from several sources, the same for the same seed and number.

    Draws come in decks of a thousand, which hold each source in proportion to its weight, shuffled.
    A source with an end is gone through in a new random order each time; one without is read in
    order. Of several processes each takes its own part of a common, larger batch.
    """

    def __init__(  # noqa: PLR0913
        self,
        sources: Mapping[str, Source],
        weights: Mapping[str, float],
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Sources and weights share their names; weights need not sum to one.

        Raises:
            InputError: if there is no source, a weight is not positive or too small to matter, or a
                source is empty.
        """
        assert sources.keys() == weights.keys(), (sources.keys(), weights.keys())
        assert 0 <= rank < world_size, (rank, world_size)
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, not {batch_size}.")
        for name, source in sources.items():
            if source.count == 0:
                raise InputError(f"the data source {name!r} is empty: leave it out.")
        self.sources, self.batch_size, self.seed = dict(sources), batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.shares = shares_of_deck(weights)

    def at(self, number: int) -> Batch:
        """Batch number 0, 1, ... of this process.

        Raises:
            InputError: if samples of two sources cannot be in one batch.
        """
        wanted = self.draws(number)
        parts = {name: self.sources[name].take(indices) for name, indices in wanted.items()}
        return joined(parts)

    def draws(self, number: int) -> dict[str, list[int]]:
        """Which samples of which sources batch `number` of this process holds."""
        first = (number * self.world_size + self.rank) * self.batch_size
        wanted: dict[str, list[int]] = {}
        for slot in range(first, first + self.batch_size):
            name, draw = self._draw(slot)
            wanted.setdefault(name, []).append(self._index(name, draw))
        return wanted

    def _draw(self, slot: int) -> tuple[str, int]:
        """The source of draw `slot`, and how many times that source was drawn before."""
        deck, place = divmod(slot, DECK)
        names = list(self.shares)
        cards, places = _shuffled_deck(tuple(self.shares.values()), self.seed, deck)
        kind = cards[place]
        earlier = bisect.bisect_left(places[kind], place)
        return names[kind], deck * self.shares[names[kind]] + earlier

    def _index(self, name: str, draw: int) -> int:
        """The sample that draw number `draw` of a source is."""
        count = self.sources[name].count
        if count is None:
            return draw
        epoch, place = divmod(draw, count)
        number = list(self.sources).index(name)
        return _order(count, self.seed, number, epoch)[place]


def shares_of_deck(weights: Mapping[str, float]) -> dict[str, int]:
    """How many of `DECK` draws are of each source: the nearest whole numbers that sum up.

    Raises:
        InputError: if a weight is not positive or too small to matter.
    """
    if not weights:
        raise InputError("there is no data to train on: give at least one source.")
    for name, weight in weights.items():
        if not 0 < weight < float("inf"):
            raise InputError(f"the weight of the data source {name!r} must be positive: {weight}.")
    exact = {name: DECK * weight / sum(weights.values()) for name, weight in weights.items()}
    shares = {name: int(share) for name, share in exact.items()}
    remainders = sorted(exact, key=lambda name: shares[name] - exact[name])
    for name in remainders[: DECK - sum(shares.values())]:
        shares[name] += 1
    for name, share in shares.items():
        if share == 0:
            raise InputError(
                f"the data source {name!r} has less than a thousandth of the weight: leave it out."
            )
    return shares


@lru_cache(maxsize=4)
def _shuffled_deck(
    shares: tuple[int, ...], seed: int, deck: int
) -> tuple[list[int], list[list[int]]]:
    """The kinds of a deck's cards in order, and the places of each kind."""
    kinds = torch.repeat_interleave(torch.arange(len(shares)), torch.tensor(shares))
    cards = kinds[torch.randperm(DECK, generator=chance(seed, -1, deck))].tolist()
    places: list[list[int]] = [[] for _ in shares]
    for place, kind in enumerate(cards):
        places[kind].append(place)
    return cards, places


@lru_cache(maxsize=8)
def _order(count: int, seed: int, source: int, epoch: int) -> list[int]:
    """In which order a source is gone through this time."""
    return torch.randperm(count, generator=chance(seed, source, epoch)).tolist()


def joined(parts: Mapping[str, Batch]) -> Batch:
    """One batch of several, in their order.

    Raises:
        InputError: if their pictures differ in size, or their bodies in the number of betas.
    """
    (first, model), *others = parts.items()
    for name, part in others:
        for what in ("image", "betas"):
            theirs, ours = getattr(part, what).shape[1:], getattr(model, what).shape[1:]
            if theirs != ours:
                raise InputError(
                    f"the data sources {name!r} and {first!r} differ in their {what} "
                    f"({tuple(theirs)} and {tuple(ours)}): make them alike."
                )
    if not others:
        return model
    columns = {f.name: [getattr(part, f.name) for part in parts.values()] for f in fields(Sample)}
    return Sample(**{name: torch.cat(column) for name, column in columns.items()})
