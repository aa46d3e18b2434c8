"""Train a regressor on people whose bodies, joints or labels are known.

Run: `meshreg train --config configs/hmr/small.yaml`
"""

from dataclasses import asdict
from pathlib import Path

import torch

from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError
from meshreg.files import check_writable
from meshreg.geometry.turned_crop import How
from meshreg.models import builders
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.checkpoint import load_weights, save_model
from meshreg.models.hmr import HMR, made_for
from meshreg.train.device import launch
from meshreg.train.hmr_config import HmrConfig, ModelConfig
from meshreg.train.hmr_data import judged_batches, make_batches
from meshreg.train.hmr_terms import HmrTerms
from meshreg.train.judging import overlays, scores
from meshreg.train.loop import Task, train
from meshreg.train.same_run import check_same_run


def main(config: HmrConfig) -> bool:
    """Data, model, losses, loop, file; false if somebody stopped the run before its end.

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
    model = build_model(
        config.model, body, image_size=config.data.size, centred=config.data.centred
    )
    terms = HmrTerms(config.losses, body).to(fabric.device)

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
        save_model(config.out / "model.safetensors", model)
    return finished


def build_model(
    config: ModelConfig, body: Body, *, image_size: int | None = None, centred: How = "none"
) -> HMR:
    """The network that the config names, with the weights it names.

    It will be shown pictures of `image_size`, by default those that its builder has in mind, of
    cameras that turn towards people the way `centred` says.

    Raises:
        InputError: if there is no such builder, or it does not take the options.
    """
    if config.builder not in ARCHITECTURES:
        raise InputError(
            f"model.builder {config.builder!r} is not known: choose from "
            f"{', '.join(ARCHITECTURES)}."
        )
    weights = config.weights
    where = Path(weights) if weights not in (None, "pretrained") else weights
    try:
        model = getattr(builders, config.builder)(body=body, weights=where, **config.options)
    except TypeError as error:
        raise InputError(f"model.options do not suit {config.builder} ({error}).") from error
    if image_size is not None:
        made_for(model, image_size, centred)
    if config.start_from is not None:
        load_weights(model, config.start_from)
    return model
