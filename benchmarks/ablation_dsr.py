"""Do labels of clothes and skin help a regressor that learns from 2D joints only?

Run: `python benchmarks/ablation_dsr.py --people data/people --out runs/ablation_dsr`, the people
made before with `meshreg synth --count 20000 --seed 100 --size 128 --out data/people`. Give the
command in several terminals to share the work; given again after a crash, it goes on. For each
seed, one run with keypoints and priors only is followed by the arms, which differ in nothing but
their label terms (Dwivedi et al. 2021). `--settings losses.pose_prior.weight=0.005` changes all
runs alike. Writes results.md, results.json and results.csv.
"""

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablation.arms import BASE, WEIGHTS, Plan, config_of
from benchmarks.ablation.branch import gradient_report, step_seconds
from benchmarks.ablation.report import write_report
from benchmarks.ablation.scores import Judge, check_disjoint, scores_of
from benchmarks.ablation.sharing import claimed, work_off
from meshreg.body.smpl import load_body
from meshreg.cli.options import SynthOptions
from meshreg.cli.synth import run_synth
from meshreg.data.shards import read_manifest
from meshreg.errors import InputError
from meshreg.files import written_whole
from meshreg.train.hmr import main as train
from meshreg.train.hmr_data import make_source
from meshreg.train.same_run import check_same_run

JUDGE_SEED = 1_000_001
INTERRUPTED = 130
Run = tuple[int, str]  # seed and arm


def main(plan: Plan, judge: Judge, runs: Sequence[Run], page: Path | None) -> int:
    """Train what is not trained yet, judge it, write it down."""
    prepare(plan, judge)
    finished = work_off(
        runs,
        is_done=lambda run: is_done(plan, *run),
        is_ready=lambda run: run[1] == BASE or is_done(plan, run[0], BASE),
        lock=lambda run: plan.folder(*run) / "claimed.lock",
        finish=lambda run: finish(plan, judge, *run),
    )
    if not finished:
        print("stopped and saved; give the same command again to go on")
        return INTERRUPTED
    with claimed(plan.out / "report.lock", wait=True):
        print(write_report(plan, judge, page))
    return 0


def prepare(plan: Plan, judge: Judge) -> None:
    """People to train on and to judge by, in one process at a time; refuses other runs' folders."""
    config = config_of(plan, 0, BASE)
    with claimed(plan.out / "people.lock", wait=True):
        if judge.folder == own_judge(plan.out):
            count, size = judge.count, config.data.size
            run_synth(SynthOptions(judge.folder, count, seed=JUDGE_SEED, size=size, workers=1))
        check_disjoint(read_manifest(plan.people), judge, config.data.size)
        for source in config.data.sources.values():
            make_source(source, config.data.size, load_body())
    for run in plan.runs():
        if (plan.folder(*run) / "checkpoints").is_dir():
            check_same_run(plan.folder(*run), asdict(config_of(plan, *run)))


def finish(plan: Plan, judge: Judge, seed: int, arm: str) -> bool:
    """Train one run, or go on with it, and judge it; false if it was asked to stop."""
    config = config_of(plan, seed, arm)
    print(f"seed {seed}, {arm}: {config.run.steps} steps in {config.out}", flush=True)
    model = config.out / "model.safetensors"
    if not model.is_file() and not train(config):
        return False
    means = {name: float(values.mean()) for name, values in scores_of(model, judge).items()}
    print("  ".join(f"{name} {value:.4g}" for name, value in means.items()), flush=True)
    if arm == BASE:
        measure_branch(plan, seed)
    with claimed(plan.out / "report.lock", wait=True):
        write_report(plan, judge)
    return True


def is_done(plan: Plan, seed: int, arm: str) -> bool:
    """Whether a run is trained and judged, and for a base run, whether its branch is measured."""
    folder = plan.folder(seed, arm)
    files = ["model.safetensors", "scores.json"]
    if not all((folder / name).is_file() for name in files):
        return False
    return arm != BASE or _noted(plan, seed)


def measure_branch(plan: Plan, seed: int) -> None:
    """Gradients of all terms where the arms part; once also the time of their steps."""
    record = {"made_with": _decides(plan), "gradients": gradient_report(plan, seed)}
    for name, found in record["gradients"].items():
        print(f"{name}: {found['share']:.2f} of the keypoints' gradient", flush=True)
    if seed == 0:
        record["step_seconds"] = seconds = step_seconds(plan, seed)
        for arm, value in seconds.items():
            print(f"a step of {arm}: {value:.3f} s, {value / seconds['A']:.2f} times A", flush=True)
    with written_whole(plan.folder(seed, BASE) / "branch.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _decides(plan: Plan) -> dict[str, object]:
    """What the gradients depend on, besides the base run."""
    return {"weights": plan.weights, "settings": list(plan.settings)}


def _noted(plan: Plan, seed: int) -> bool:
    path = plan.folder(seed, BASE) / "branch.json"
    return path.is_file() and json.loads(path.read_text("utf-8"))["made_with"] == _decides(plan)


def own_judge(out: Path) -> Path:
    """Where people to judge by are drawn, if no folder is given."""
    return out / "judge"


def selected(plan: Plan, words: Sequence[str]) -> list[Run]:
    """The runs that words such as 0 (a seed) or 1:B name, and the base runs that they need.

    Raises:
        InputError: if there is no such seed or arm.
    """
    everything = list(plan.runs())
    if not words:
        return everything
    wanted: set[Run] = set()
    for word in words:
        seed, _, arm = word.partition(":")
        found = {run for run in everything if str(run[0]) == seed and arm in ("", run[1])}
        if not found:
            raise InputError(f"--only {word}: give seeds 0 to {plan.seeds - 1}, or SEED:ARM.")
        wanted |= found | {(int(seed), BASE)}
    return [run for run in everything if run in wanted]


def weights_of(words: Sequence[str]) -> dict[str, dict[str, float]]:
    """The default weights with changes such as dsr_mc=2 (both renderers) or soft.dsr_c=0.2.

    Raises:
        InputError: if there is no such term, or the number is none.
    """
    weights = {renderer: dict(terms) for renderer, terms in WEIGHTS.items()}
    for word in words:
        name, _, value = word.partition("=")
        renderer, _, term = name.rpartition(".")
        try:
            number = float(value)
            for changed in [renderer] if renderer else list(weights):
                if term not in weights[changed] or not number > 0:
                    raise KeyError(term)
                weights[changed][term] = number
        except (KeyError, ValueError) as error:
            raise InputError(f"--weights {word}: give TERM=NUMBER or soft.TERM=NUMBER.") from error
    return weights


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=Path, required=True, help="shards to train on")
    parser.add_argument("--judge", type=Path, help="shards of others; default: drawn into --out")
    parser.add_argument("--judge-count", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation_dsr"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base-steps", type=int, default=3000)
    parser.add_argument("--arm-steps", type=int, default=1500)
    parser.add_argument("--arm-lr", type=float, default=3e-4)
    parser.add_argument("--weights", nargs="+", default=[], metavar="TERM=NUMBER")
    parser.add_argument("--only", nargs="+", default=[], metavar="SEED[:ARM]")
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
            seeds=args.seeds,
            base_steps=args.base_steps,
            arm_steps=args.arm_steps,
            arm_lr=args.arm_lr,
            weights=weights_of(args.weights),
            settings=tuple(args.settings),
        )
        the_judge = Judge(args.judge or own_judge(args.out), args.judge_count)
        sys.exit(main(the_plan, the_judge, selected(the_plan, args.only), args.write))
    except InputError as error:
        sys.exit(f"error: {error}")
