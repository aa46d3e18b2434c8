"""The sum of terms: what counts, what is computed, what is refused, and how weights grow."""

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from meshreg.losses.terms import NonFiniteTermError, Term, scheduled, total


def fails() -> Tensor:
    raise AssertionError("computed although its weight is zero")


def test_the_weighted_sum_and_its_parts() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    loss, parts = total(
        {"a": Term(2.0, x.square()), "b": Term(0.5, lambda: x), "c": Term(0.0, fails)}
    )
    loss.backward()
    assert loss.item() == 2 * 9 + 0.5 * 3
    assert {name: value.item() for name, value in parts.items()} == {"a": 9.0, "b": 3.0}
    assert not any(value.requires_grad for value in parts.values())
    assert x.grad.item() == 2 * 6 + 0.5


def test_no_terms_are_no_loss() -> None:
    loss, parts = total({"a": Term(0.0, fails)})
    assert loss.item() == 0.0 and parts == {}


def test_what_terms_share_is_made_once_or_never() -> None:
    made = []

    @cache
    def picture() -> Tensor:
        made.append(1)
        return torch.tensor(2.0)

    for weight, times in [(0.0, 0), (1.0, 1)]:
        total({"a": Term(weight, lambda: picture() + 1), "b": Term(weight, lambda: picture() * 2)})
        assert len(made) == times


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_term_that_is_not_finite_is_named(value: float) -> None:
    terms = {"good": Term(1.0, torch.tensor(1.0)), "bad": Term(0.5, torch.tensor(value))}
    with pytest.raises(NonFiniteTermError, match="'bad'") as caught:
        total(terms)
    assert caught.value.name == "bad"
    opposite = {
        "plus": Term(1.0, torch.tensor(math.inf)),
        "minus": Term(-1.0, torch.tensor(math.inf)),
    }
    with pytest.raises(NonFiniteTermError, match="'plus'"):
        total(opposite)


def test_a_sum_that_overflows_is_refused() -> None:
    huge = {name: Term(1.0, torch.tensor(3e38)) for name in ("a", "b")}
    with pytest.raises(NonFiniteTermError, match="'total'"):
        total(huge)


def test_an_array_is_no_term() -> None:
    with pytest.raises(AssertionError, match="the term a has shape"):
        total({"a": Term(1.0, torch.zeros(2))})


def test_weights_start_and_grow() -> None:
    assert [scheduled(2.0, step, start=3) for step in range(5)] == [0, 0, 0, 2, 2]
    found = [scheduled(1.0, step, start=2, ramp=3) for step in range(7)]
    assert found == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1])
    assert scheduled(1.0, 0) == 1.0
