"""Mixed sources: proportions, orders, ranks and workers, the same for the same number."""

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
import torch
from plain_people import plain_people

from meshreg.data.feed import feed
from meshreg.data.mixture import DECK, Mixture, shares_of_deck
from meshreg.data.remembered import Remembered
from meshreg.data.resized import resized
from meshreg.data.sample import Batch
from meshreg.data.sized import First, Sized
from meshreg.errors import InputError, MissingFileError


@cache
def somebody() -> Batch:
    batch = plain_people().render([0])
    return replace(batch, vertices_cam=batch.vertices_cam[:, :0])


class Numbers:
    """Samples that only differ in their number."""

    def __init__(self, count: int | None, first: int = 0) -> None:
        self.count, self.first = count, first

    def take(self, indices: Sequence[int]) -> Batch:
        rows = {name: v.expand(len(indices), *v.shape[1:]) for name, v in vars(somebody()).items()}
        return Batch(**rows | {"index": self.first + torch.tensor(indices)})


def mixture(**changes: object) -> Mixture:
    sources = {"few": Numbers(7), "endless": Numbers(None, 1000)}
    options: dict = {"batch_size": 10, "seed": 3} | changes
    return Mixture(sources, {"few": 1.0, "endless": 3.0}, **options)


def numbers(mixed: Mixture, count: int) -> list[int]:
    return [int(i) for number in range(count) for i in mixed.at(number).index]


def test_shares_are_as_the_weights_say() -> None:
    drawn = numbers(mixture(), DECK // 10)
    assert sum(n < 1000 for n in drawn) == DECK // 4
    # Not only in the end: chance is fair in every part of the deck.
    first = sum(n < 1000 for n in drawn[:200])
    assert 30 <= first <= 70
    assert shares_of_deck({"a": 1.0, "b": 1.0, "c": 1.0}) == {"a": 334, "b": 333, "c": 333}


def test_no_sample_comes_again_before_all_others_have() -> None:
    drawn = numbers(mixture(), 300)
    few = [n for n in drawn if n < 1000]
    rounds = [few[i : i + 7] for i in range(0, len(few) - 6, 7)]
    # Within a batch the sources stand together, so only whole batches keep the order.
    assert len(rounds) > 50 and len({tuple(r) for r in rounds}) > 30
    assert max(Counter(few).values()) - min(Counter(few).values()) <= 1
    endless = [n for n in drawn if n >= 1000]
    assert endless == list(range(1000, 1000 + len(endless)))


def test_a_batch_depends_on_its_number_only() -> None:
    one, other = mixture(), mixture()
    forward = [one.at(n).index for n in range(150)]
    for n in reversed(range(150)):
        assert torch.equal(other.at(n).index, forward[n])
    assert numbers(mixture(seed=4), 5) != numbers(mixture(), 5)


def test_ranks_share_one_larger_batch() -> None:
    whole = mixture(batch_size=20)
    parts = [mixture(batch_size=10, rank=rank, world_size=2) for rank in range(2)]
    for n in range(5):
        ours = sorted(int(i) for part in parts for i in part.at(n).index)
        assert ours == sorted(whole.at(n).index.tolist())


def test_the_feed_keeps_the_order() -> None:
    expected = [mixture().at(n).index.tolist() for n in range(3, 9)]
    assert [batch.index.tolist() for batch in feed(mixture(), range(3, 9))] == expected


@pytest.mark.slow
def test_the_feed_keeps_the_order_with_workers() -> None:
    expected = [mixture().at(n).index.tolist() for n in range(3, 13)]
    found = feed(mixture(), range(3, 13), workers=2)
    assert [batch.index.tolist() for batch in found] == expected
    early = feed(mixture(), range(1000), workers=2)
    assert len(list(itertools.islice(early, 3))) == 3
    early.close()


class Trouble:
    def __init__(self, exits: bool) -> None:
        self.exits = exits

    def at(self, number: int) -> int:
        if number == 3 and self.exits:
            os._exit(9)
        if number == 3:
            raise MissingFileError("shard 7 is gone: look for it.")
        return number


@pytest.mark.slow
def test_workers_refuse_and_die_in_one_sentence() -> None:
    with pytest.raises(InputError, match="^shard 7 is gone: look for it.$"):
        list(feed(Trouble(False), range(9), workers=1))
    with pytest.raises(InputError, match="^a worker process died, .* use fewer run.workers.$"):
        list(feed(Trouble(True), range(9), workers=1))


def test_what_cannot_be_mixed() -> None:
    with pytest.raises(InputError, match="at least one source"):
        Mixture({}, {}, batch_size=2)
    with pytest.raises(InputError, match="'a' must be positive: 0"):
        Mixture({"a": Numbers(3)}, {"a": 0.0}, batch_size=2)
    with pytest.raises(InputError, match="'b' has less than a thousandth"):
        Mixture({"a": Numbers(3), "b": Numbers(3)}, {"a": 1.0, "b": 1e-5}, batch_size=2)
    with pytest.raises(InputError, match="'a' is empty"):
        Mixture({"a": Numbers(0)}, {"a": 1.0}, batch_size=2)
    with pytest.raises(InputError, match="batch size must be at least 1, not 0"):
        Mixture({"a": Numbers(1)}, {"a": 1.0}, batch_size=0)
    unlike = {"a": Numbers(None), "b": Sized(Numbers(None), 32)}
    mixed = Mixture(unlike, {"a": 1.0, "b": 1.0}, batch_size=20)
    with pytest.raises(InputError, match=r"differ in their image \(\(3, \d+, \d+\) and"):
        mixed.at(0)


def test_sources_seen_otherwise() -> None:
    assert First(Numbers(None), 5).count == 5 and First(Numbers(3), 5).count == 3
    assert Sized(Numbers(3), 32).count == 3
    assert Sized(Numbers(3), 32).take([1]).image.shape == (1, 3, 32, 32)
    remembered = Remembered(First(Numbers(None, 50), 4))
    assert remembered.take([3, 0]).index.tolist() == [53, 50]
    assert remembered.take([1]).image.data_ptr() != remembered.take([1]).image.data_ptr()


# --- another size ---------------------------------------------------------------------------------
def test_a_resized_picture_shows_the_same() -> None:
    batch = plain_people(0, 96).render([0, 1, 2])
    half = resized(batch, 48)
    torch.testing.assert_close(
        half.joints_px, (batch.joints_px + 0.5) / 2 - 0.5, atol=2e-2, rtol=1e-4
    )
    blocks = batch.image.float().unflatten(3, (48, 2)).unflatten(2, (48, 2)).mean((3, 5))
    assert (half.image.float() - blocks).abs().mean() < 3  # the filter reaches a bit farther
    assert torch.equal(half.labels, batch.labels[:, 1::2, 1::2])
    assert torch.equal(resized(batch, 96).labels, batch.labels)
    assert set(half.labels.unique().tolist()) <= set(batch.labels.unique().tolist())
    assert torch.equal(half.box, batch.box) and torch.equal(half.K_full, batch.K_full)


def test_the_camera_of_a_resized_picture_is_that_of_its_box() -> None:
    small = resized(plain_people(0, 96).render([0, 1]), 40)
    torch.testing.assert_close(small.K, camera_of_box(small), atol=2e-3, rtol=1e-4)


def camera_of_box(batch: Batch) -> torch.Tensor:
    """K of the square picture from that of the full one, written out."""
    size = batch.image.shape[-1]
    scale = size / batch.box[:, 2]
    K = batch.K_full.clone()
    for axis in (0, 1):
        first = batch.box[:, axis] - batch.box[:, 2] / 2  # left or upper border in the full picture
        K[:, axis, 2] = (K[:, axis, 2] - first) * scale - 0.5
        K[:, axis, axis] *= scale
    return K
