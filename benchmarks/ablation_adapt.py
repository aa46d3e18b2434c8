"""Does adaptation help a lifter with people and cameras that it has only 2D poses of?

Run: `python benchmarks/ablation_adapt.py --motion cmu_motion_train.npz --out runs/ablation_adapt`

A lifter of single frames learns from some people of the CMU motion-capture data under one camera
and is judged on others under another: nearer, with a shorter focal length, from other heights, and
with bodies of other builds. PoseDA (ICCV 2023) shows it the known poses where people of the target
appear (GPA) and poses that a network makes up (LPA); an oracle is told the target's 3D joints.
Give the command in several terminals to share the work; given again after a crash, it goes on.
Writes results.md, .json and .svg.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablation.adapt_arms import (
    ARMS,
    SHIFTS,
    SPLITS,
    Plan,
    Run,
    config_of,
    target_of,
    write_people,
)
from benchmarks.ablation.adapt_report import MEASURES, Judge, errors, write_report
from benchmarks.ablation.scores import scores_of
from benchmarks.ablation.sharing import claimed, work_off
from meshreg.body.skeleton import skeleton
from meshreg.data.chance import chance
from meshreg.data.lifting import LiftingBatch, from_root, root_of
from meshreg.data.lifting_motion import MotionWindows
from meshreg.errors import InputError
from meshreg.geometry.mirror import mirror
from meshreg.geometry.screen import to_screen
from meshreg.lifters.builders import build_lifter
from meshreg.lifters.checkpoint import LifterHeader, save_lifter
from meshreg.lifters.lifting import clip_sizes
from meshreg.train import lifter, poseda
from meshreg.train.device import launch
from meshreg.train.lifter_config import LifterConfig
from meshreg.train.lifter_data import make_lifter_data
from meshreg.train.lifter_terms import LifterTerms
from meshreg.train.loop import Task, train
from meshreg.train.poseda_config import PosedaConfig
from meshreg.train.poseda_data import target_clips
from meshreg.train.same_run import check_same_run

INTERRUPTED = 130


def main(plan: Plan, arms: Sequence[str]) -> int:
    """Train what is not trained yet, judge it, write it down."""
    judge = Judge(plan)
    with claimed(plan.out / "people.lock", wait=True):
        if not plan.people("judged").is_file():
            write_people(plan)
    finished = work_off(
        [run for run in plan.runs() if run[1] in arms],
        is_done=lambda run: (plan.folder(run) / "scores.json").is_file(),
        is_ready=lambda run: _is_ready(plan, run),
        lock=lambda run: plan.folder(run) / "claimed.lock",
        finish=lambda run: finish(plan, judge, run),
    )
    if not finished:
        print("stopped and saved; give the same command again to go on")
        return INTERRUPTED
    with claimed(plan.out / "report.lock", wait=True):
        print(write_report(plan, judge))
    return 0


def _is_ready(plan: Plan, run: Run) -> bool:
    """Augmentation alone takes the augmentor of the run with both."""
    config = config_of(plan, run)
    if not isinstance(config, PosedaConfig) or config.augment.start_from is None:
        return True
    return config.augment.start_from.is_file()


def finish(plan: Plan, judge: Judge, run: Run) -> bool:
    """Train one run, or go on with it, and judge it; false if it was asked to stop."""
    config = config_of(plan, run)
    print(f"seed {run[0]}, {run[1]}: {config.run.steps} steps", flush=True)
    model = config.out / "model.safetensors"
    if not model.is_file() and not _train(plan, run, config):
        return False
    found = scores_of(model, judge, MEASURES, errors)
    means = ", ".join(f"{MEASURES[name][0]} {float(v.mean()):.1f}" for name, v in found.items())
    print(f"seed {run[0]}, {run[1]}: {means}", flush=True)
    return True


def _train(plan: Plan, run: Run, config: LifterConfig | PosedaConfig) -> bool:
    if isinstance(config, PosedaConfig):
        return poseda.main(config)
    return train_oracle(plan, config) if run[1] == "oracle" else lifter.main(config)


# --- the oracle -----------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Told:
    """Half of each batch from the source, half from the target with its 3D joints."""

    source: MotionWindows
    target: LiftingBatch  # single frames
    flip: tuple[int, ...]
    seed: int

    def at(self, number: int) -> LiftingBatch:
        """Batch number 0, 1, ..."""
        batch = self.source.at(number)
        generator = chance(self.seed, number)
        rows = torch.randint(len(self.target), (self.source.batch_size,), generator=generator)
        is_mirrored = torch.rand(len(rows), 1, 1, 1, generator=generator) < 0.5
        x, poses = self.target.x[rows], self.target.poses[rows]
        told = LiftingBatch(
            x=torch.where(is_mirrored, mirror(x, self.flip), x),
            poses=torch.where(is_mirrored, mirror(poses, self.flip), poses),
            root=self.target.root[rows],
            known=self.target.known[rows],
            index=rows,
        )
        parts = ((getattr(batch, name), getattr(told, name)) for name in vars(batch))
        return LiftingBatch(*(torch.cat(pair) for pair in parts))


def train_oracle(plan: Plan, config: LifterConfig) -> bool:
    """As the recipe of lifters, with the labels of the target added; same steps and batch size."""
    fabric = launch(config.run)
    check_same_run(config.out, asdict(config))
    torch.manual_seed(config.run.seed)
    spec = lifter.spec_of(config.model)
    network = build_lifter(spec)
    half = replace(config.data, batch_size=config.data.batch_size // 2)
    source = make_lifter_data(half, clip_sizes(network), spec.joint_set, seed=config.run.seed)
    clips = target_clips(target_of(plan, "target"), skeleton(spec.joint_set))
    cam = torch.cat([clip.joints_cam for clip in clips.clips])[:, None]
    target = LiftingBatch(
        x=torch.cat([to_screen(clip.keypoints_px, clip.size) for clip in clips.clips])[:, None],
        poses=from_root(cam, clips.joints),
        root=cam[:, :, root_of(clips.joints)],
        known=torch.ones(len(cam), 1),
        index=torch.arange(len(cam)),
    )
    task = Task(
        model=network,
        batches=Told(source.batches, target, clips.joints.flip, config.run.seed),
        terms=LifterTerms(config.losses, spec.joints),
    )
    if not train(fabric, task, optimiser=config.optimiser, run=config.run, out=config.out):
        return False
    header = LifterHeader(spec, fps=source.fps, licence=source.licence, recipe="told the target")
    save_lifter(config.out / "model.safetensors", network, header)
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True, help="CMU motion, one .npz")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation_adapt"))
    parser.add_argument("--split", default="test", choices=[*SPLITS])
    parser.add_argument("--shift", default="level", choices=[*SHIFTS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="of the augmentor's game")
    parser.add_argument("--width", type=int, default=Plan.width)
    parser.add_argument("--arms", nargs="+", default=[*ARMS], choices=[*ARMS])
    parser.add_argument("--augment", nargs="+", default=[], metavar="NAME=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    args = _arguments()
    torch.set_num_threads(args.threads)
    logging.basicConfig(format="%(message)s")
    words = [word.partition("=") for word in args.augment]
    the_plan = Plan(
        out=args.out,
        motion=args.motion,
        split=args.split,
        shift=args.shift,
        seeds=args.seeds,
        first_seed=args.first_seed,
        steps=args.steps,
        width=args.width,
        rounds=args.rounds,
        augment={name: yaml.safe_load(value) for name, _, value in words},
    )
    try:
        sys.exit(main(the_plan, args.arms))
    except InputError as error:
        sys.exit(f"error: {error}")
