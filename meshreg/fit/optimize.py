"""Staged minimisation: energies and a few steps of Adam, for every candidate at once."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.fit.variables import BodyVariables

Energy = Callable[[BodyVariables], dict[str, Float[Tensor, " B"]]]
# Step sizes in each variable's own unit: radians, units of beta, image coordinates, log metres.
STEP_SIZES = {
    "root_rotvec": 0.03,
    "body_pose": 0.03,
    "betas": 0.06,
    "bearing": 0.004,
    "log_depth": 0.015,
}


@dataclass(frozen=True)
class Stage:
    """One leg of the fit: which variables move, for how many steps."""

    name: str
    steps: int
    free: tuple[str, ...] = tuple(STEP_SIZES)
    speed: float = 1.0  # factor on all step sizes


def minimise(
    start: BodyVariables,
    energy: Energy,
    stage: Stage,
    *,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[BodyVariables, dict[str, Float[Tensor, " B"]]]:
    """Run one stage from `start`; returns the result and its energy terms per candidate.

    Adam is invariant to the scale of each candidate's energy, so the candidates do not disturb each
    other. The step size falls to a twentieth along half a cosine.

    Raises:
        FloatingPointError: if a term stops being finite; names the term.
    """
    moving = {name: getattr(start, name).detach().clone().requires_grad_() for name in stage.free}
    groups = [
        {"params": [value], "lr": stage.speed * STEP_SIZES[name]} for name, value in moving.items()
    ]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.98))
    decay = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / max(stage.steps, 1)))
    )
    variables = replace(start, **moving)
    for _ in range(stage.steps):
        adam.zero_grad()
        total(energy(variables)).sum().backward()
        adam.step()
        decay.step()
        on_step()
    with torch.no_grad():
        terms = energy(variables)
    return variables.rebased(), terms


def total(terms: Mapping[str, Float[Tensor, " B"]]) -> Float[Tensor, " B"]:
    """The sum of all terms, refusing to go on with a number that is not finite."""
    for name, value in terms.items():
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"the energy term {name!r} is not finite")
    return torch.stack(list(terms.values())).sum(0)
