"""Train a PersPose: joints, depths and twists from pictures whose cameras turned towards people.

Run: `meshreg train --config configs/perspose/small.yaml`
"""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError
from meshreg.files import check_writable
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose, build_perspose
from meshreg.models.perspose_files import load_perspose_weights, save_perspose
from meshreg.train.device import launch
from meshreg.train.hmr_config import DataConfig
from meshreg.train.hmr_data import judged_batches, make_batches
from meshreg.train.judging import overlays, scores
from meshreg.train.loop import Task, train
from meshreg.train.perspose_config import PersPoseConfig, PersPoseModelConfig
from meshreg.train.perspose_terms import PersPoseTerms
from meshreg.train.same_run import check_same_run


def main(config: PersPoseConfig) -> bool:
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
    model = build_model(config.model, config.data, body)
    terms = PersPoseTerms(config.losses, body).to(fabric.device)

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
        save_perspose(config.out / "model.safetensors", model)
    return finished


def build_model(config: PersPoseModelConfig, data: DataConfig, body: Body) -> PersPose:
    """The network that the config names, for pictures such as the data's.

    Raises:
        InputError: if there is no such architecture, or weights do not fit.
    """
    known = {name: a for name, a in PERSPOSE_ARCHITECTURES.items() if not a.released}
    if config.architecture not in known:
        raise InputError(
            f"model.architecture {config.architecture!r} is not known: choose from "
            f"{', '.join(known)}."
        )
    architecture = replace(
        known[config.architecture],
        num_betas=body.num_betas,
        image_size=data.size,
        encoding=config.encoding,
        centred=data.centred,
    )
    weights = config.weights
    where = Path(weights) if weights not in (None, "pretrained") else weights
    model = build_perspose(architecture, body=body, weights=where)
    if config.start_from is not None:
        load_perspose_weights(model, config.start_from)
    return model
