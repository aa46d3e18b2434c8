"""What a run has reached: weights, their average, the optimiser's state, running means."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.train.checkpoint import Checkpoint, Checkpoints
from meshreg.train.ema import WeightAverage
from meshreg.train.optimiser_state import restore_state, split_state
from meshreg.train.runlog import Means

_LOG = logging.getLogger(__name__)


class Trained:
    """Everything that a checkpoint holds, put there and taken from there."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        decay: float,
        folder: Path,
        *,
        keep: int,
    ) -> None:
        """Start at step 0; without a `decay` there is no average."""
        self.model, self.optimizer = model, optimizer
        self.average = WeightAverage(model, decay) if decay > 0 else None
        self.checkpoints = Checkpoints(folder, keep=keep)
        self.means, self.step, self.saved = Means(), 0, -1
        self.score: float | None = None

    def resume(self) -> int:
        """Take up the newest checkpoint, if there is one; returns how many steps are done.

        Raises:
            InputError: if there are checkpoints, but none fits.
        """
        found = self.checkpoints.newest(_LOG.warning)
        if found is None:
            return 0
        try:
            self.model.load_state_dict(dict(found.tensors["model"]))
            restore_state(self.optimizer, found.tensors["optimiser"], found.facts["groups"])
            if self.average:
                self.average.load(found.tensors["ema"], found.facts["updates"])
            sums = found.facts["means"].items()
            self.means = Means({name: (total, count) for name, (total, count) in sums})
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise InputError(
                f"the checkpoint of step {found.step} in {self.checkpoints.folder} does not fit "
                f"this model ({why}): choose another --out."
            ) from error
        self.step = self.saved = found.step
        _LOG.info("going on from step %d", found.step)
        return found.step

    def after_step(self, step: int, gradient_norm: Tensor) -> None:
        """Note that `step` steps are done, and let the average follow."""
        self.step, self.score = step, None
        if self.average:
            self.average.update(self.model)
        self.means.add({"gradient_norm": gradient_norm})

    def row(self) -> dict[str, float]:
        """The means since the last row, and the learning rate."""
        return {**self.means.take(), "lr": float(self.optimizer.param_groups[0]["lr"])}

    def judged(self, scores: Mapping[str, float]) -> None:
        """The first score decides which checkpoint is the best."""
        self.score = next(iter(scores.values()))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model in evaluation mode, with its averaged weights if there are any."""
        self.model.eval()
        try:
            if self.average:
                with self.average.in_place(self.model):
                    yield
            else:
                yield
        finally:
            self.model.train()

    def adopt_average(self) -> None:
        """Give the model its averaged weights for good."""
        if self.average:
            self.model.load_state_dict(self.average.weights)

    def save(self) -> None:
        """Write a checkpoint of this step, unless it is there."""
        if self.saved == self.step:
            return
        optimiser, groups = split_state(self.optimizer)
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "optimiser": optimiser,
        }
        facts: dict[str, Any] = {"groups": groups, "means": self.means.sums}
        if self.average:
            tensors["ema"] = self.average.weights
            facts["updates"] = self.average.updates
        self.checkpoints.save(
            Checkpoint(step=self.step, tensors=tensors, facts=facts, score=self.score)
        )
        self.saved = self.step
