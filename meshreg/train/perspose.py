"""Train a PersPose: joints, depths and twists from pictures whose cameras turned towards people.

Run: `meshreg train --config configs/perspose/small.yaml`
"""

from dataclasses import replace
from pathlib import Path

from meshreg.body.smpl import Body
from meshreg.errors import InputError
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose, build_perspose
from meshreg.models.perspose_files import load_perspose_weights, save_perspose
from meshreg.models.taken_over import take_over
from meshreg.train.hmr_config import DataConfig
from meshreg.train.perspose_config import PersPoseConfig, PersPoseModelConfig
from meshreg.train.perspose_terms import PersPoseTerms
from meshreg.train.regressor_run import train_regressor


def main(config: PersPoseConfig) -> bool:
    """Train by a config; false if somebody stopped the run before its end.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    return train_regressor(
        config,
        build=lambda body: build_model(config.model, config.data, body),
        make_terms=lambda body: PersPoseTerms(config.losses, body),
        save=save_perspose,
    )


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
    if config.take_over is not None:
        take_over(model, config.take_over)
    if config.start_from is not None:
        load_perspose_weights(model, config.start_from)
    return model
