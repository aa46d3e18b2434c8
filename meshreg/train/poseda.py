"""Adapt a lifter with PoseDA (Chai et al., ICCV 2023): first the augmentor learns, then the lifter.

Run: `meshreg adapt --config configs/adapt/small.yaml`
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from meshreg.adapt.files import load_augmentor, save_augmentor
from meshreg.adapt.game import Game, Round
from meshreg.adapt.generator import Augmentor
from meshreg.data.lifting import LiftingBatch
from meshreg.data.lifting_motion import MotionWindows
from meshreg.data.lifting_windows import ClipWindows
from meshreg.data.target_noise import UnsteadyTargets
from meshreg.data.target_poses import TargetPoses
from meshreg.errors import InputError
from meshreg.files import check_writable
from meshreg.lifters.builders import build_lifter
from meshreg.lifters.checkpoint import LifterHeader, save_lifter
from meshreg.lifters.lifting import clip_sizes
from meshreg.losses.terms import Term
from meshreg.train.device import launch
from meshreg.train.lifter import begin, judging, spec_of
from meshreg.train.lifter_data import make_lifter_data
from meshreg.train.lifter_terms import LifterTerms
from meshreg.train.loop import Task, train
from meshreg.train.poseda_config import AugmentConfig, PosedaConfig
from meshreg.train.poseda_data import (
    AdaptedWindows,
    Rounds,
    Windows,
    make_bank,
    make_targets,
    resized,
)
from meshreg.train.same_run import check_same_run

AUGMENTOR = Path("augmentor") / "augmentor.safetensors"  # in the folder of the run
_BANK_BATCH = 256
_LOG = logging.getLogger(__name__)


def main(config: PosedaConfig) -> bool:
    """Lifter, data, augmentor, loop, file; false if somebody stopped the run before its end.

    Raises:
        InputError: if anything is missing or contradicts itself, or the loss is no longer finite.
    """
    fabric = launch(config.run)
    if fabric.global_rank == 0:
        check_writable(config.out)
        for folder in (config.out, config.out / AUGMENTOR.parent):
            check_same_run(folder, asdict(config))

    # --- lifter -----------------------------------------------------------------------------------
    torch.manual_seed(config.run.seed)
    spec = spec_of(config.model)
    network = build_lifter(spec)
    begin(network, spec, config.model)

    # --- data -------------------------------------------------------------------------------------
    targets = make_targets(config.target, spec.joints)
    data = make_lifter_data(
        config.data,
        clip_sizes(network),
        config.model.joint_set,
        seed=config.run.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )

    source = _steady(data.batches)

    # --- augmentor --------------------------------------------------------------------------------
    bank = None
    if config.lpa:
        augmentor = trained_augmentor(fabric, config, source, targets)
        if augmentor is None:
            return False
        bank = bank_of(augmentor, config, source)

    # --- loop -------------------------------------------------------------------------------------
    batches = AdaptedWindows(
        source=source,
        joints=spec.joints,
        targets=targets if config.gpa else None,
        bank=bank,
        share=config.augment.share,
        noise=config.noise,
        seed=config.run.seed,
        rank=fabric.global_rank,
    )
    task = Task(
        model=network,
        batches=batches,
        terms=LifterTerms(config.losses, spec.joints).to(fabric.device),
        evaluate=judging(data.judged, config.data),
    )
    _LOG.info("the lifter, %d steps:", config.run.steps)
    finished = train(fabric, task, optimiser=config.optimiser, run=config.run, out=config.out)
    if finished and fabric.global_rank == 0:
        ways = " and ".join(name for name in ("gpa", "lpa") if getattr(config, name))
        header = LifterHeader(
            spec=spec,
            fps=data.fps,
            licence=data.licence,
            recipe=f"{config.run.steps} steps of {config.data.batch_size} windows, "
            f"{config.data.kind}, adapted to {len(targets)} poses by {ways}",
        )
        save_lifter(config.out / "model.safetensors", network, header)
    return finished


def _steady(windows: MotionWindows | ClipWindows | UnsteadyTargets) -> MotionWindows | ClipWindows:
    """Windows whose poses are true: alignment projects them again.

    Raises:
        InputError: if the config wants them a little off.
    """
    if isinstance(windows, UnsteadyTargets):
        raise InputError(
            "data.target_turn and data.target_scale move poses away from what is seen of them, but "
            "adapting projects them again: leave both at 0."
        )
    return windows


def trained_augmentor(
    fabric: Any, config: PosedaConfig, source: Windows, targets: TargetPoses
) -> Augmentor | None:
    """The augmentor after its game, which is gone on with if it was stopped; None if it is again.

    Raises:
        InputError: if the one that a config names has other joints.
    """
    settings, joints = config.augment, spec_of(config.model).joints
    if settings.start_from is not None:
        augmentor = load_augmentor(settings.start_from)
        if augmentor.joints != joints:
            raise InputError(
                f"{settings.start_from} changes poses of {augmentor.joints.name}, but the lifter "
                f"takes {joints.name}: let them agree."
            )
        return augmentor.to(fabric.device)
    _LOG.info("the game of augmentor and judges, %d rounds:", settings.steps)
    torch.manual_seed(config.run.seed)
    game = Game(Augmentor(joints), anchor=settings.anchor)
    task = Task(
        model=game,
        batches=Rounds(
            windows=resized(
                source,
                frames=settings.reach + 1,
                batch_size=settings.batch_size,
                seed=config.run.seed + 1,
            ),
            targets=targets,
            noise=game.augmentor.noise,
            seed=config.run.seed,
        ),
        terms=game_terms(settings),
    )
    run = replace(config.run, steps=settings.steps, evaluate_every=0, picture_every=0)
    path = config.out / AUGMENTOR
    if not train(fabric, task, optimiser=settings.optimiser, run=run, out=path.parent):
        return None
    save_augmentor(path, game.augmentor)
    return game.augmentor.eval()


def game_terms(
    settings: AugmentConfig,
) -> Callable[[Callable[..., Any], Round, int], Mapping[str, Term]]:
    """The losses of both sides in one sum: they share no weights that learn from both."""
    weights = {
        "screen": settings.screen,
        "pose": settings.pose,
        "range": settings.range,
        "screen_judge": 1.0,
        "pose_judge": 1.0,
    }

    def terms(predict: Callable[..., Any], batch: Round, step: int) -> Mapping[str, Term]:
        values = predict(batch, judges_learn=step % settings.judge_every == 0)
        return {name: Term(weights[name], value) for name, value in values.items()}

    return terms


def bank_of(augmentor: Augmentor, config: PosedaConfig, source: Windows) -> LiftingBatch:
    """Augmented windows for the lifter; the same for the same augmentor."""
    windows = resized(
        source, frames=source.frames, batch_size=_BANK_BATCH, seed=config.run.seed + 2
    )
    return make_bank(augmentor, windows, config.augment.bank, seed=config.run.seed)
