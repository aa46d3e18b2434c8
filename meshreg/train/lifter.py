"""Train a lifter on clips whose 3D joints are known.

Run: `meshreg train --config configs/lifters/small/ktpformer.yaml`
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

import torch
from torch import nn

from meshreg.data.lifting import LiftingData
from meshreg.errors import InputError
from meshreg.evaluate.lifting import evaluate_lifter, find_lifting_protocol
from meshreg.files import check_writable
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, save_lifter
from meshreg.lifters.lifting import clip_sizes
from meshreg.lifters.shipped import find_lifter
from meshreg.lifters.taken_over import take_over
from meshreg.train.device import launch
from meshreg.train.lifter_config import LifterConfig, LifterDataConfig, LifterModelConfig
from meshreg.train.lifter_data import make_lifter_data
from meshreg.train.lifter_terms import LifterTerms
from meshreg.train.loop import Task, train
from meshreg.train.same_run import check_same_run

_LOG = logging.getLogger(__name__)
_RULES = {"motion": "lift-motion", "h36m": "lift-h36m", "humaneva": "lift-humaneva"}


def main(config: LifterConfig) -> bool:
    """Data, model, losses, loop, file; false if somebody stopped the run before its end.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    fabric = launch(config.run)
    if fabric.global_rank == 0:
        check_writable(config.out)
        check_same_run(config.out, asdict(config))

    # --- model ------------------------------------------------------------------------------------
    torch.manual_seed(config.run.seed)
    spec = spec_of(config.model)
    network = build_lifter(spec)
    begin(network, spec, config.model)

    # --- data -------------------------------------------------------------------------------------
    data = make_lifter_data(
        config.data,
        clip_sizes(network),
        config.model.joint_set,
        seed=config.run.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    terms = LifterTerms(config.losses, spec.joints).to(fabric.device)

    # --- loop -------------------------------------------------------------------------------------
    task = Task(
        model=network,
        batches=data.batches,
        terms=terms,
        evaluate=judging(data.judged, config.data),
    )
    finished = train(fabric, task, optimiser=config.optimiser, run=config.run, out=config.out)
    if finished and fabric.global_rank == 0:
        header = LifterHeader(
            spec=spec,
            fps=data.fps,
            licence=data.licence,
            recipe=f"{config.run.steps} steps of {config.data.batch_size} windows, "
            f"{config.data.kind}",
        )
        save_lifter(config.out / "model.safetensors", network, header)
    return finished


def spec_of(config: LifterModelConfig) -> LifterSpec:
    """The network that a config names."""
    return LifterSpec(
        builder=config.builder,
        frames=config.frames,
        joint_set=config.joint_set,
        options=dict(config.options),
    )


def begin(network: nn.Module, spec: LifterSpec, config: LifterModelConfig) -> None:
    """Put weights of earlier trainings into a network, if the config names any.

    Raises:
        InputError: if `start_from` holds another network, or `take_over` one that shares nothing.
    """
    if config.take_over is not None:
        share = take_over(network, find_lifter(str(config.take_over)))
        _LOG.info("%.0f %% of the weights are those of %s", 100 * share, config.take_over)
    if config.start_from is None:
        return
    earlier, header = load_lifter(find_lifter(str(config.start_from)))
    if header.spec != spec:
        raise InputError(
            f"{config.start_from} holds {_in_words(header.spec)}, but the config is of "
            f"{_in_words(spec)}: let model.builder, .frames and .options agree, or use "
            "model.take_over."
        )
    network.load_state_dict(earlier.state_dict())


def _in_words(spec: LifterSpec) -> str:
    """A network as settings name it."""
    options = ", ".join(f"{name}: {value}" for name, value in spec.options.items())
    return f"{spec.builder} of {spec.frames} frames {{{options}}}"


def judging(
    judged: LiftingData | None, config: LifterDataConfig
) -> Callable[[nn.Module], Mapping[str, float]] | None:
    """How a lifter is judged by these clips; None if there are none."""
    if judged is None:
        return None
    rules = _RULES.get(config.kind, "lift-3dhp")
    return lambda network: scores(network, judged, rules)


def scores(network: nn.Module, judged: LiftingData, rules: str) -> Mapping[str, float]:
    """Errors of the judged clips, the mean first; millimetres. Without the mirrored pass."""
    protocol = find_lifting_protocol(rules)
    measures = ("mpjpe_mm", "mpjve_mm")  # Procrustes would take most of the time
    quick = replace(protocol, measures=measures)
    return evaluate_lifter(network, judged, quick, flip=False).means
