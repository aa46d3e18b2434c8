"""How fast which weights move: the optimiser, its groups, and the learning rate over the steps."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from meshreg.errors import InputError
from meshreg.train.ranger import Ranger
from meshreg.train.settings import OptimiserSettings


def lr_factor(step: int, steps: int, settings: OptimiserSettings) -> float:
    """The share of the learning rate at step 0, 1, ...: a linear warm-up, then the schedule."""
    if step < settings.warmup:
        return (step + 1) / (settings.warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup) / max(steps - 1 - settings.warmup, 1)
    if settings.schedule == "exponential":
        return max(settings.last, 1e-12) ** done
    return settings.last + (1 - settings.last) * (1 + math.cos(math.pi * done)) / 2


def make_optimizer(model: nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """AdamW or Ranger over the model's groups of weights.

    Raises:
        InputError: as `parameter_groups`.
    """
    groups = parameter_groups(model, settings)
    if settings.kind == "ranger":
        return Ranger(groups, betas=settings.betas)
    return torch.optim.AdamW(groups, betas=settings.betas)


def parameter_groups(model: nn.Module, settings: OptimiserSettings) -> list[dict[str, Any]]:
    """Groups for an optimiser; `base_lr` remembers what `set_lr` multiplies.

    Raises:
        InputError: if a name of `lr_scale` is no beginning of any parameter's name, or nothing is
            trained.
    """
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not named:
        raise InputError("the model has no weights to train: choose another builder or options.")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for prefix in settings.lr_scale:
        if not any(name.startswith(prefix) for name in named):
            raise InputError(
                f"optimiser.lr_scale names {prefix!r}, but no weight begins so: try "
                f"{', '.join(sorted({name.split('.')[0] for name in named}))}."
            )
    for name, parameter in named.items():
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((_scale_of(name, settings.lr_scale), decay), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": scale * settings.lr,
            "base_lr": scale * settings.lr,
            "weight_decay": decay,
        }
        for (scale, decay), parameters in groups.items()
    ]


def _scale_of(name: str, lr_scale: Mapping[str, float]) -> float:
    """The factor of the longest beginning of the name."""
    fitting = [prefix for prefix in lr_scale if name.startswith(prefix)]
    return lr_scale[max(fitting, key=len)] if fitting else 1.0


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Let every group move at this share of its learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class NormMomentum:
    """Lets running statistics of batch norms settle: they follow later batches less and less."""

    def __init__(self, model: nn.Module, last: float) -> None:
        self.last = last  # share of the momentum at the last step
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and last < 1]
        self.first = {norm: norm.momentum for norm in norms if norm.momentum is not None}

    def set(self, step: int, steps: int) -> None:
        """The momentum of this step; the same whenever a run is taken up there."""
        for norm, momentum in self.first.items():
            norm.momentum = momentum * self.last ** (step / max(steps - 1, 1))
