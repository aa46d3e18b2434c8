"""The sum of a training step's losses: named terms with weights, each logged and each checked."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


class NonFiniteTermError(ArithmeticError):
    """A term of the loss became NaN or infinite; `name` says which, `value` what it became."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__(
            f"the loss term {name!r} is {value}: look at the samples of this step and at what "
            "the term is computed from."
        )
        self.name, self.value = name, value


@dataclass(frozen=True, eq=False)
class Term:
    """One loss with its weight; a function instead of a value is called only if it counts.

    What several terms share, such as a rendered picture, belongs into a `functools.cache` that
    all their functions call: it is then made once, or never.
    """

    weight: float  # 0: not computed and not logged
    value: Tensor | Callable[[], Tensor]  # one number, before the weight


def total(terms: Mapping[str, Term]) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
    """The weighted sum, and every counted term before its weight, detached, for the log.

    Raises:
        NonFiniteTermError: if a term, or its product with the weight, is not finite.
    """
    counted = {name: term for name, term in terms.items() if term.weight != 0}
    values = {name: _value(name, term) for name, term in counted.items()}
    weighted = {name: term.weight * values[name] for name, term in counted.items()}
    loss = torch.stack(list(weighted.values())).sum() if weighted else torch.zeros(())
    # A sum is finite only if all its parts are, and asking once stalls a GPU only once.
    if not math.isfinite(float(loss.detach())):
        for name, value in weighted.items():
            if not math.isfinite(float(value.detach())):
                raise NonFiniteTermError(name, float(value.detach()))
        raise NonFiniteTermError("total", float(loss.detach()))
    return loss, {name: value.detach() for name, value in values.items()}


def _value(name: str, term: Term) -> Float[Tensor, ""]:
    value = term.value if isinstance(term.value, Tensor) else term.value()
    assert value.ndim == 0, f"the term {name} has shape {tuple(value.shape)}, not one number"
    return value


def scheduled(weight: float, step: int, *, start: int = 0, ramp: int = 0) -> float:
    """A weight that is zero before step `start` and then grows for `ramp` steps to its full size.

    Steps may be anything that is counted, such as epochs; without a ramp the weight is switched on.
    """
    assert start >= 0 and ramp >= 0, (start, ramp)
    if step < start:
        return 0.0
    return weight * min(1.0, (step - start + 1) / (ramp + 1))
