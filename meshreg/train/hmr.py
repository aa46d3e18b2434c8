"""Train a regressor on people whose bodies, joints or labels are known.

Run: `meshreg train --config configs/hmr/small.yaml`
"""

from pathlib import Path

from meshreg.body.smpl import Body
from meshreg.errors import InputError
from meshreg.geometry.turned_crop import How
from meshreg.models import builders
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.checkpoint import load_weights, save_model
from meshreg.models.hmr import HMR, made_for
from meshreg.models.taken_over import take_over
from meshreg.train.hmr_config import HmrConfig, ModelConfig
from meshreg.train.hmr_terms import HmrTerms
from meshreg.train.regressor_run import train_regressor


def main(config: HmrConfig) -> bool:
    """Train by a config; false if somebody stopped the run before its end.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    data = config.data
    return train_regressor(
        config,
        build=lambda body: build_model(
            config.model, body, image_size=data.size, centred=data.centred
        ),
        make_terms=lambda body: HmrTerms(config.losses, body),
        save=save_model,
    )


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
    if config.take_over is not None:
        take_over(model, config.take_over)
    if config.start_from is not None:
        load_weights(model, config.start_from)
    return model
