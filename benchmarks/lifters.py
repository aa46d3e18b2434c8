"""How good and how fast are the lifters that come with meshreg?

Run: `python benchmarks/lifters.py --motion MOTION.npz [--weights FOLDER] [--json FILE] [--write
docs/lifting.md]`. People whom no lifter was trained on (subjects 5, 14 and 86 of CMU's motion) are
seen by random cameras, with their true 2D joints and with those of a detector that errs. Speeds are
in processor time of one thread, so that other programs disturb them less.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from held_out import MEASURES, SUBJECTS, Measured, held_out_people, measure, seen

from benchmarks.pages import write_part
from meshreg.data.lifting import LiftingData
from meshreg.files import written_whole
from meshreg.lifters.checkpoint import load_lifter
from meshreg.lifters.flops import linear_flops
from meshreg.lifters.lifting import clip_sizes, lift
from meshreg.lifters.shipped import WEIGHTS
from meshreg.metrics import Interval

BEGIN, END = "<!-- made by benchmarks/lifters.py -->", "<!-- end of lifters -->"
INPUTS = {"true": False, "detected": True}  # 2D joints, and whether a detector erred
FILM = 243  # frames of the clip whose lifting is timed
REPEATS = 7


@dataclass(frozen=True, eq=False)
class Lifter:
    """One file of weights and what was measured of it."""

    name: str
    network: nn.Module
    errors: dict[tuple[str, bool], Measured]  # by the kind of 2D joints, and if mirrored too
    overlapping: Measured  # true joints, mirrored too, windows as `meshreg lift` takes them
    speeds: dict[bool, float]  # frames a second, without and with the mirrored clip

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def flops(self) -> int:
        """Of one window, in linear layers and convolutions."""
        sizes = clip_sizes(self.network)
        x = torch.zeros(1, sizes.frames, sizes.num_joints, sizes.in_channels)
        return linear_flops(self.network, x)

    @property
    def poses(self) -> int:
        """How many frames of a window get their pose."""
        sizes = clip_sizes(self.network)
        return sizes.frames if sizes.predicts == "sequence" else 1


def examined(path: Path, data: dict[str, LiftingData], *, repeats: int) -> Lifter:
    """Everything about one lifter."""
    network, _ = load_lifter(path)
    errors = {
        (kind, flip): measure(network, clips, flip=flip)
        for kind, clips in data.items()
        for flip in (False, True)
    }
    overlapping = errors["true", True]
    if clip_sizes(network).predicts == "sequence":
        overlapping = measure(network, data["true"], flip=True, overlap=True)
    speeds = {flip: frames_per_second(network, repeats, flip=flip) for flip in (False, True)}
    return Lifter(path.stem, network, errors, overlapping, speeds)


def frames_per_second(network: nn.Module, repeats: int, *, flip: bool) -> float:
    """Of a film of 243 frames, from pixels to poses; the best of the repeats counts."""
    points = 500 + 100 * torch.randn(FILM, 17, 2, generator=torch.Generator().manual_seed(0))
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        lift(network, points, (1000, 1000), flip=flip)
        seconds.append(time.process_time() - start)
    return FILM / min(seconds)


# --- the report -----------------------------------------------------------------------------------
def tables(lifters: list[Lifter]) -> list[str]:
    """Errors, then costs, as Markdown."""
    lines = [
        "| lifter | MPJPE | PA-MPJPE | MPJVE | MPJPE, detected | PA-MPJPE | MPJVE | by action "
        "| overlapping |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for lifter in lifters:
        cells = [
            _cell(lifter.errors[kind, True].interval(name)) for kind in INPUTS for name in MEASURES
        ]
        cells += [
            f"{found.action_mean_mm:.1f}"
            for found in (lifter.errors["true", True], lifter.overlapping)
        ]
        lines.append(f"| {lifter.name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| lifter | MPJPE, not mirrored | detected | parameters | GFLOPs a window | MFLOPs a pose "
        "| frames/s | mirrored too |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for lifter in lifters:
        plain = [_cell(lifter.errors[kind, False].interval("mpjpe_mm")) for kind in INPUTS]
        flops = lifter.flops()
        cells = [
            *plain,
            f"{lifter.parameters / 1e6:.2f} M",
            f"{flops / 1e9:.3f}",
            f"{flops / lifter.poses / 1e6:.1f}",
            *(f"{lifter.speeds[flip]:,.0f}" for flip in (False, True)),
        ]
        lines.append(f"| {lifter.name} | {' | '.join(cells)} |")
    return lines


def _cell(interval: Interval) -> str:
    return f"{interval.mean:.1f} ± {(interval.high - interval.low) / 2:.1f}"


def record(lifters: list[Lifter], data: LiftingData) -> dict[str, Any]:
    """All numbers, with their intervals."""
    return {
        "subjects": SUBJECTS,
        "clips": len(data.clips),
        "frames": sum(len(clip) for clip in data.clips),
        "interval": "95 %, bootstrap over recordings",
        "seconds": "processor time of one thread",
        "lifters": {
            lifter.name: {
                "parameters": lifter.parameters,
                "flops_of_a_window": lifter.flops(),
                "poses_of_a_window": lifter.poses,
                "frames_per_second": {
                    _flipped(flip): round(speed, 1) for flip, speed in lifter.speeds.items()
                },
                "errors": {
                    f"{kind}, {_flipped(flip)}": _numbers(found)
                    for (kind, flip), found in lifter.errors.items()
                }
                | {"true, mirrored too, overlapping": _numbers(lifter.overlapping)},
            }
            for lifter in lifters
        },
    }


def _flipped(flip: bool) -> str:
    return "mirrored too" if flip else "plain"


def _numbers(found: Measured) -> dict[str, Any]:
    intervals = {name: found.interval(name) for name in MEASURES}
    values: dict[str, Any] = {
        name: {"mean": round(i.mean, 3), "low": round(i.low, 3), "high": round(i.high, 3)}
        for name, i in intervals.items()
    }
    return values | {"mpjpe_mm_by_action": round(found.action_mean_mm, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of lifters")
    parser.add_argument("--views", type=int, default=2, help="cameras per recording")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of timings")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    torch.set_num_threads(1)
    people = held_out_people(args.motion)
    data = {kind: seen(people, noisy=noisy, views=args.views) for kind, noisy in INPUTS.items()}
    lifters = []
    for path in sorted(args.weights.glob("*.safetensors")):
        lifters.append(examined(path, data, repeats=args.repeats))
        print(f"measured {path.stem}", file=sys.stderr, flush=True)
    if not lifters:
        sys.exit(f"no lifters in {args.weights}: make them with benchmarks/ship_lifter.py")
    lifters.sort(key=lambda lifter: lifter.errors["true", True].action_mean_mm)
    text = "\n".join(tables(lifters))
    print(text)
    if args.json:
        with written_whole(args.json) as temporary:
            temporary.write_text(json.dumps(record(lifters, data["true"]), indent=1) + "\n")
    if args.write:
        write_part(args.write, text, BEGIN, END)


if __name__ == "__main__":
    main()
