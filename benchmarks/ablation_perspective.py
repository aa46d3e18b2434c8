"""Does it help to tell a network about perspective, or to turn cameras towards people?

Run: `python benchmarks/ablation_perspective.py --people data/wide --judge data/wide_judge --out
runs/ablation_perspective`, the people made before with
`meshreg synth --count 6000 --seed 200 --size 128 --fov [30,100] --heights [0.25,0.8] --central 0
--out data/wide` and the same with `--count 800 --seed 201 --out data/wide_judge`. Give the command
in several terminals to share the work; given again after a crash, it goes on. For each seed both
networks, a regressor of parameters and a small PersPose, are trained four times: with perspective
encoding, with perspective rotation, with both (PersPose, ICCV 2025), with neither. All begin with
what the shipped regressor has learnt to see, as far as it fits, for two cores cannot teach 24
networks to see. Writes results.md, .json, .csv and .svg.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablation.perspective_arms import NETWORKS, Plan, Run, config_of
from benchmarks.ablation.perspective_report import KEPT, MEASURES, measured, write_report
from benchmarks.ablation.scores import Judge, check_disjoint, scores_of
from benchmarks.ablation.sharing import claimed, work_off
from meshreg.body.smpl import load_body
from meshreg.data.shards import read_manifest
from meshreg.errors import InputError
from meshreg.predictor.regress import DEFAULT_MODEL
from meshreg.train import hmr, perspose
from meshreg.train.hmr_data import make_source
from meshreg.train.same_run import check_same_run

INTERRUPTED = 130
TRAIN = {"hmr": hmr.main, "perspose": perspose.main}


def main(plan: Plan, judge: Judge, runs: Sequence[Run], page: Path | None = None) -> int:
    """Train what is not trained yet, judge it, write it down."""
    prepare(plan, judge)
    finished = work_off(
        runs,
        is_done=lambda run: (plan.folder(run) / "scores.json").is_file(),
        is_ready=lambda run: True,
        lock=lambda run: plan.folder(run) / "claimed.lock",
        finish=lambda run: finish(plan, judge, run),
    )
    if not finished:
        print("stopped and saved; give the same command again to go on")
        return INTERRUPTED
    with claimed(plan.out / "report.lock", wait=True):
        print(write_report(plan, judge, page))
    return 0


def prepare(plan: Plan, judge: Judge) -> None:
    """People at the size of the runs, in one process at a time; refuses other runs' folders."""
    with claimed(plan.out / "people.lock", wait=True):
        people = read_manifest(plan.people)
        check_disjoint(people, judge, people.settings["scene"]["size"])
        config = config_of(plan, next(plan.runs()))
        for source in config.data.sources.values():
            make_source(source, config.data.size, load_body())
    for run in plan.runs():
        if (plan.folder(run) / "checkpoints").is_dir():
            check_same_run(plan.folder(run), asdict(config_of(plan, run)))


def finish(plan: Plan, judge: Judge, run: Run) -> bool:
    """Train one run, or go on with it, and judge it; false if it was asked to stop."""
    config = config_of(plan, run)
    print(f"seed {run[0]}, {run[1]}, {run[2]}: {config.run.steps} steps", flush=True)
    model = config.out / "model.safetensors"
    if not model.is_file() and not TRAIN[run[1]](config):
        return False
    found = scores_of(model, judge, KEPT, measured)
    means = ", ".join(
        f"{MEASURES[name][0]} {float(v.mean()):.1f}"
        for name, v in found.items()
        if name in MEASURES
    )
    print(f"seed {run[0]}, {run[1]}, {run[2]}: {means}", flush=True)
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=Path, required=True, help="shards to train on")
    parser.add_argument("--judge", type=Path, required=True, help="shards of others")
    parser.add_argument("--judge-count", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation_perspective"))
    parser.add_argument("--begin", type=Path, default=DEFAULT_MODEL, help="model to begin with")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--networks", nargs="+", default=[*NETWORKS], choices=[*NETWORKS])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    parser.add_argument("--settings", nargs="+", default=[], metavar="NAME=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    args = _arguments()
    torch.set_num_threads(args.threads)
    logging.basicConfig(format="%(message)s")
    try:
        the_plan = Plan(
            out=args.out,
            people=args.people,
            begin=args.begin,
            seeds=args.seeds,
            steps=args.steps,
            size=args.size,
            networks=tuple(args.networks),
            settings=tuple(args.settings),
        )
        the_judge = Judge(args.judge, args.judge_count)
        sys.exit(main(the_plan, the_judge, list(the_plan.runs()), args.write))
    except InputError as error:
        sys.exit(f"error: {error}")
