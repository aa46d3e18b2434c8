"""What all recipes of image regressors share: data, model, losses, loop, file."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from meshreg.body.smpl import Body, load_body
from meshreg.files import check_writable
from meshreg.train.device import launch
from meshreg.train.hmr_data import judged_batches, make_batches
from meshreg.train.judging import overlays, scores
from meshreg.train.loop import Task, train
from meshreg.train.same_run import check_same_run

Net = TypeVar("Net", bound=nn.Module)


def train_regressor(
    config: Any,
    *,
    build: Callable[[Body], Net],
    make_terms: Callable[[Body], nn.Module],
    save: Callable[[Path, Net], None],
) -> bool:
    """Train what a recipe builds by the terms it makes; false if stopped before its end.

    `config` is an `HmrConfig` or one with the same groups data, model, optimiser and run.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    fabric = launch(config.run)
    if fabric.global_rank == 0:
        check_writable(config.out)
        check_same_run(config.out, asdict(config))

    # --- data -------------------------------------------------------------------------------------
    body = load_body(config.model.body)
    with fabric.rank_zero_first():  # one process decodes what all of them read
        batches = make_batches(
            config.data,
            body=body,
            seed=config.run.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
    judged = judged_batches(config.data, body)

    # --- model and losses -------------------------------------------------------------------------
    torch.manual_seed(config.run.seed)
    model = build(body)
    terms = make_terms(body).to(fabric.device)

    # --- loop -------------------------------------------------------------------------------------
    task = Task(
        model=model,
        batches=batches,
        terms=terms,
        evaluate=(lambda net: scores(net, judged, body)) if judged else None,
        picture=(lambda net: overlays(net, judged[0], body)) if judged else None,
    )
    finished = train(fabric, task, optimiser=config.optimiser, run=config.run, out=config.out)
    if finished and fabric.global_rank == 0:
        save(config.out / "model.safetensors", model)
    return finished
