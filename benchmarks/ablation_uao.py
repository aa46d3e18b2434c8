"""Does test-time optimisation by uncertainty help a lifter whose joints come from a detector?

Run: `python benchmarks/ablation_uao.py --motion cmu_motion_train.npz --out runs/ablation_uao`
For each seed the network of configs/lifters/small/uao.yaml learns from the motion of some people;
others (subjects 5, 14 and 86, on bodies of random builds) are lifted with a detector's errors, and
refined with the place of the root joint known in several ways, the truth among them. Give the
command in several terminals to share the seeds; given again after a crash, it goes on. Writes
results.md, .json and .svg, and with --page the marked part of a page.
"""

import argparse
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ablation.arms import ROOT, read_config
from benchmarks.ablation.sharing import claimed, work_off
from benchmarks.ablation.uao_arms import ARMS, errors_off, errors_on, root_rules, told
from benchmarks.ablation.uao_people import Judged, judged_people
from benchmarks.ablation.uao_report import write_report
from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from meshreg.files import written_whole
from meshreg.fit.roots import template_lengths
from meshreg.lifters.checkpoint import load_lifter
from meshreg.train import lifter
from meshreg.train.lifter_config import LifterConfig
from meshreg.train.same_run import check_same_run

INTERRUPTED = 130
CONFIG = ROOT / "configs" / "lifters" / "small" / "uao.yaml"
Values = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """All that decides the runs."""

    motion: Path
    out: Path
    seeds: int = 3
    steps: int = 2500
    pieces: int = 32  # of motion that is judged
    frames: int = 49  # of each

    def folder(self, seed: int) -> Path:
        return self.out / f"seed{seed}"

    def config(self, seed: int) -> LifterConfig:
        """The training of a seed."""
        words = (
            f"data.path={self.motion}",
            f"out={self.folder(seed)}",
            f"run.seed={seed}",
            f"run.steps={self.steps}",
            "run.evaluate_every=0",
            "run.log_every=100",
        )
        config: LifterConfig = read_config(CONFIG, words, LifterConfig)
        return config


def main(plan: Plan, page: Path | None) -> int:
    """Train what is not trained yet, judge it, write it down."""
    for seed in range(plan.seeds):
        if (plan.folder(seed) / "config.json").is_file():
            check_same_run(plan.folder(seed), asdict(plan.config(seed)))
    finished = work_off(
        list(range(plan.seeds)),
        is_done=lambda seed: (plan.folder(seed) / "scores.pt").is_file(),
        is_ready=lambda seed: True,
        lock=lambda seed: plan.folder(seed) / "claimed.lock",
        finish=lambda seed: finish(plan, seed),
    )
    if not finished:
        print("stopped and saved; give the same command again to go on")
        return INTERRUPTED
    with claimed(plan.out / "report.lock", wait=True):
        scores = {
            seed: torch.load(plan.folder(seed) / "scores.pt", weights_only=True)
            for seed in range(plan.seeds)
        }
        print(write_report(plan.out, asdict(plan), scores, page))
    return 0


def finish(plan: Plan, seed: int) -> bool:
    """Train one seed, or go on with it, and judge it; false if it was asked to stop."""
    model = plan.folder(seed) / "model.safetensors"
    if not model.is_file() and not lifter.main(plan.config(seed)):
        return False
    network, _ = load_lifter(model)
    judged = judged_people(plan.motion, count=plan.pieces, frames=plan.frames)
    values = measured(network, judged, f"seed {seed}")
    with written_whole(plan.folder(seed) / "scores.pt") as temporary:
        torch.save(dict(values), temporary)
    return True


def measured(network: torch.nn.Module, judged: Judged, name: str) -> Values:
    """Everything that is told about one network: by measure and arm, one number per piece."""
    first = told(network, judged)
    found = {f"mpjpe_mm/{arm}": v for arm, v in errors_off(first, judged).items()}
    found |= {"told_m": first.scale(), "error_m": first.error(judged)}
    rules = root_rules(template_lengths(load_body(), judged.joints))
    for arm, (rule, steps) in ARMS.items():
        values = errors_on(network, first, judged, rules[rule], steps)
        found[f"mpjpe_mm/{arm}"] = values.pop("mpjpe_mm")
        found |= {f"{measure}/{rule}": v for measure, v in values.items()}
        print(f"{name}, {arm}: {float(found[f'mpjpe_mm/{arm}'].mean()):.2f} mm", flush=True)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True, help="cmu_motion_train.npz")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation_uao"))
    parser.add_argument("--page", type=Path, help="Markdown page whose marked part is replaced")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--pieces", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    args = _arguments()
    torch.set_num_threads(args.threads)
    logging.basicConfig(format="%(message)s")
    try:
        sys.exit(main(Plan(args.motion, args.out, args.seeds, args.steps, args.pieces), args.page))
    except InputError as error:
        sys.exit(f"error: {error}")
