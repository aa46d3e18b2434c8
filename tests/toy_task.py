"""A toy for the training loop: a small network learns a function of two numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meshreg.losses.terms import Term
from meshreg.train.device import launch
from meshreg.train.loop import Task, train
from meshreg.train.settings import OptimiserSettings, RunSettings

OPTIMISER = OptimiserSettings(lr=1e-2, warmup=5, weight_decay=1e-3, ema=0.9)
RUN = RunSettings(steps=40, device="cpu", log_every=5, save_every=10, keep=3)


@dataclass(frozen=True, eq=False)
class Points:
    x: Tensor
    y: Tensor
    index: Tensor

    def to(self, device: Any, **options: Any) -> "Points":
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class PointBatches:
    """Points drawn by the number of the batch."""

    def __init__(self, size: int = 16, *, poisoned: int = -1) -> None:
        self.size, self.poisoned = size, poisoned

    def at(self, number: int) -> Points:
        generator = torch.Generator().manual_seed(number)
        x = torch.randn(self.size, 2, generator=generator)
        y = (x[:, :1] * x[:, 1:]).sin()
        if number == self.poisoned:
            y[0] = torch.nan
        return Points(x, y, number * self.size + torch.arange(self.size))


def toy_model(seed: int = 0) -> nn.Module:
    """With chance inside and with running statistics, both of which a resumed run must keep."""
    torch.manual_seed(seed)
    layers = (nn.Linear(2, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1))
    return nn.Sequential(*layers)


def squared(predict: Callable[..., Any], batch: Points, step: int) -> Mapping[str, Term]:
    error = predict(batch.x) - batch.y
    return {
        "fit": Term(1.0, error.square().mean()),
        "late": Term(0.5 if step >= 12 else 0.0, lambda: error.abs().mean()),
    }


def toy_task(**changes: Any) -> Task:
    return replace(Task(model=toy_model(), batches=PointBatches(), terms=squared), **changes)


def run_toy(
    out: Path,
    task: Task | None = None,
    *,
    run: RunSettings = RUN,
    optimiser: OptimiserSettings = OPTIMISER,
) -> bool:
    return train(launch(run), task or toy_task(), optimiser=optimiser, run=run, out=out)
