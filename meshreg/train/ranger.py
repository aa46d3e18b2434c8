"""Ranger: rectified Adam that looks ahead, with which GLA-GCN was trained.

Rectified Adam (Liu et al. 2020) steps without the second moment while that is hardly known. Every
few steps, slow weights go half of the way to where it led, and it goes on from there: Lookahead
(Zhang et al. 2019), whose slow weights start where the training starts.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import RAdam

_EPS = 1e-5
_EVERY = 6  # steps between looks at the slow weights
_SHARE = 0.5  # of the way that the slow weights go


class Ranger(RAdam):
    """Rectified Adam with slow weights, which are part of its state."""

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.95, 0.999),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=_EPS,
            weight_decay=weight_decay,
            decoupled_weight_decay=True,
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step by the gradients that are there."""
        assert closure is None, "closures are not called"
        moving = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        # Only afterwards may they be noted: rectified Adam takes a state for its own.
        starts = {p: p.detach().clone() for p in moving if "slow" not in self.state[p]}
        super().step()
        for parameter in moving:
            state = self.state[parameter]
            slow = state.setdefault("slow", starts.get(parameter))
            if int(state["step"]) % _EVERY == 0:
                slow.lerp_(parameter, _SHARE)
                parameter.copy_(slow)
