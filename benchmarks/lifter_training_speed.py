"""Training steps of the small lifters: in single precision as torch does it, as we do, in bfloat16.

Run: `python benchmarks/lifter_training_speed.py [--only mixste ...] [--write docs/performance.md]`.
A step is forward and backward on a batch of the config's size, on one thread. The three ways take
turns in this process; every number is a ratio of medians of processor times of this one run.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.lifters import attention, linear
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.train.device import Forward, predictor

BEGIN, END = (
    "<!-- made by benchmarks/lifter_training_speed.py -->",
    "<!-- end of lifter_training_speed.py -->",
)
CONFIGS = Path(__file__).parents[1] / "configs" / "lifters" / "small"
NAMES = ("mixste", "ktpformer", "hot", "convformer", "gla_gcn")


def load(name: str) -> tuple[nn.Module, Tensor]:
    """The network of a config with random weights, and a batch for it."""
    config: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    model = config["model"]
    spec = LifterSpec(model["builder"], frames=model["frames"], options=model["options"])
    torch.manual_seed(0)
    clips = torch.randn(config["data"]["batch_size"], spec.frames, len(spec.joints), 2)
    return build_lifter(spec).train(), clips


@contextmanager
def as_torch_does() -> Iterator[None]:
    """Products by torch's own choice, attention by its fused operator."""
    with (
        mock.patch.object(linear, "_HAS_ONEDNN", new=False),
        mock.patch.object(attention, "_on_processor", F.scaled_dot_product_attention),
    ):
        yield


def step(network: nn.Module, clips: Tensor, precision: str) -> float:
    """Processor time of one step, in seconds."""
    network.zero_grad()
    start = time.process_time()
    poses = predictor(Forward(network, precision))(clips)
    poses.square().mean().backward()
    return time.process_time() - start


def measure(name: str, rounds: int) -> str:
    """A row of the table."""
    network, clips = load(name)
    seconds: dict[str, list[float]] = {"torch": [], "ours": [], "bf16": []}
    for _ in range(rounds):
        with as_torch_does():
            seconds["torch"].append(step(network, clips, "fp32"))
        seconds["ours"].append(step(network, clips, "fp32"))
        seconds["bf16"].append(step(network, clips, "bf16"))
    theirs, ours, half = (statistics.median(times) for times in seconds.values())
    return f"| small/{name}.yaml | {theirs / ours:.2f} | {theirs / half:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="page to put the table into")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = ["| training step, times faster than torch's own way | fp32 | bf16 |", "|---|---|---|"]
    for name in args.only:
        rows.append(measure(name, args.rounds))
        sys.stdout.write(rows[-1] + "\n")
        sys.stdout.flush()
    if args.write:
        write_part(args.write, "\n".join(rows), BEGIN, END)


if __name__ == "__main__":
    main()
