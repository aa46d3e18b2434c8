"""The training loop: data -> model -> terms -> backward -> clip -> step, for any model.

All chance within a step comes from (seed, number of the batch, process), and so does the batch: a
run that was stopped, or killed, goes on from its last checkpoint as if nothing had happened.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from lightning.fabric import Fabric
from torch import Tensor, nn

from meshreg.data.feed import feed
from meshreg.errors import InputError
from meshreg.losses.terms import NonFiniteTermError, Term, total
from meshreg.train.device import Forward, predictor, seed_step
from meshreg.train.interruption import asked_to_stop
from meshreg.train.runlog import RunLog
from meshreg.train.saving import Trained
from meshreg.train.schedule import NormMomentum, lr_factor, make_optimizer, set_lr
from meshreg.train.settings import OptimiserSettings, RunSettings


@runtime_checkable
class Batches(Protocol):
    """Where batches come from: the same one for the same number, whenever it is asked for."""

    def at(self, number: int) -> Any:
        """Batch number 0, 1, ...: anything with a method `to(device)`."""
        ...


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained, on what, and how it is judged; the loop knows nothing else about it."""

    model: nn.Module
    batches: Batches  # of this process
    # Calls its first argument as it would the model, once; then the batch and the step
    terms: Callable[[Callable[..., Any], Any, int], Mapping[str, Term]]
    # Scores of the averaged weights, the most important one first; lower is better
    evaluate: Callable[[nn.Module], Mapping[str, float]] | None = None
    picture: Callable[[nn.Module], UInt8[Tensor, "3 H W"]] | None = None


def train(
    fabric: Fabric,
    task: Task,
    *,
    optimiser: OptimiserSettings,
    run: RunSettings,
    out: Path,
) -> bool:
    """Train, or go on training, what `out` holds; false if somebody asked to stop before the end.

    At the end the model has its averaged weights, if an average was kept.

    Raises:
        InputError: if the loss is no longer finite, or a file cannot be read or written.
    """
    optimizer = make_optimizer(task.model, optimiser)
    norms = NormMomentum(task.model, optimiser.norm_momentum)
    wrapped, fabric_optimizer = fabric.setup(Forward(task.model, run.precision), optimizer)
    predict, clip = predictor(wrapped), optimiser.clip or math.inf
    trained = Trained(task.model, optimizer, optimiser.ema, out / "checkpoints", keep=run.keep)
    start = trained.resume()
    numbers = range(start * optimiser.accumulate, run.steps * optimiser.accumulate)
    task.model.train()
    with (
        _log_of(fabric, out, start, run) as log,
        closing(feed(task.batches, numbers, workers=run.workers)) as batches,
        asked_to_stop() as stop,
    ):
        for step in range(start, run.steps):
            set_lr(optimizer, lr_factor(step, run.steps, optimiser))
            norms.set(step, run.steps)
            fabric_optimizer.zero_grad()
            for part in range(optimiser.accumulate):
                batch = fabric.to_device(next(batches))
                # Only now, for whoever prepares batches may draw numbers as well.
                seed_step(run.seed, step * optimiser.accumulate + part, fabric.global_rank)
                is_last = part == optimiser.accumulate - 1
                with fabric.no_backward_sync(wrapped, enabled=not is_last):
                    loss, values = _loss(task, predict, batch, step)
                    fabric.backward(loss / optimiser.accumulate)
                trained.means.add({"loss": loss.detach(), **values})
            norm = nn.utils.clip_grad_norm_(task.model.parameters(), clip)
            _check_gradients(norm, step, batch)
            fabric_optimizer.step()
            trained.after_step(step + 1, norm)
            _report(fabric, task, run, trained, log)
            if _should_stop(fabric, stop, step):
                break
    _save(fabric, trained)
    if trained.step < run.steps:
        return False
    trained.adopt_average()
    return True


def _loss(
    task: Task, predict: Callable[..., Any], batch: Any, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of the terms, and each of them.

    Raises:
        InputError: naming the term that is not finite, the step and the samples.
    """
    try:
        return total(task.terms(predict, batch, step))
    except NonFiniteTermError as error:
        raise InputError(
            _diverged(f"the loss term {error.name!r} is {error.value}", step, batch)
        ) from error


def _check_gradients(norm: Tensor, step: int, batch: Any) -> None:
    if not math.isfinite(float(norm)):
        raise InputError(_diverged(f"the gradients' length is {float(norm)}", step, batch))


def _diverged(what: str, step: int, batch: Any) -> str:
    index = getattr(batch, "index", None)
    samples = f" on samples {index.tolist()}" if isinstance(index, Tensor) else ""
    return (
        f"{what} at step {step}{samples}: lower optimiser.lr or look at these samples; the last "
        "checkpoint is kept."
    )


def _report(fabric: Fabric, task: Task, run: RunSettings, trained: Trained, log: Any) -> None:
    """Write down what is due after this step, and save when it is time."""
    done, is_end = trained.step, trained.step == run.steps
    is_first = fabric.global_rank == 0
    if log is not None:
        log.step_done(done)
        if done % run.log_every == 0 or is_end:
            log.write(done, trained.row())
    is_judged = task.evaluate is not None and _is_due(done, run.evaluate_every, is_end)
    if task.evaluate and is_judged:
        with trained.averaged():
            scores = task.evaluate(task.model)
        trained.judged(scores)
        if log is not None:
            log.judged(done, scores)
    if task.picture and is_first and _is_due(done, run.picture_every, is_end=False):
        with trained.averaged():
            log.picture(done, task.picture(task.model))
    if done % run.save_every == 0 or is_judged or is_end:
        _save(fabric, trained)


def _save(fabric: Fabric, trained: Trained) -> None:
    """The first process writes, the others wait for it."""
    if fabric.global_rank == 0:
        trained.save()
    fabric.barrier()


def _is_due(done: int, every: int, is_end: bool) -> bool:
    return every > 0 and (done % every == 0 or is_end)


def _should_stop(fabric: Fabric, stop: Callable[[], bool], step: int) -> bool:
    """Whether all processes leave now; several of them agree every ten steps."""
    if fabric.world_size == 1:
        return stop()
    if step % 10:
        return False
    asked = torch.tensor(float(stop()), device=fabric.device)
    heard: Any = fabric.all_reduce(asked, reduce_op="sum")
    return bool(heard > 0)


def _log_of(fabric: Fabric, out: Path, start: int, run: RunSettings) -> Any:
    """The run log in the first process, nothing in the others."""
    return RunLog(out, start=start, steps=run.steps) if fabric.global_rank == 0 else nullcontext()
