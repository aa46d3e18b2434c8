"""What does the Hourglass Tokenizer save, and what does it cost in accuracy?

Run: `python benchmarks/hot_claim.py [--motion MOTION.npz] [--weights FOLDER] [--device cuda]
[--repeats 5] [--json FILE] [--write docs/lifting.md]`. Arithmetic and time of HoT against MixSTE of
the same size, small as they come along (or with random weights, if they are not there) and at the
paper's size with random weights, for one window at a time. With the motion also their errors on
held-out people. Then how much faster attention is through PyTorch's fused function than written
out. Times on the CPU are processor time of one thread.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from held_out import held_out_people, measure, seen

from benchmarks.pages import write_part
from meshreg.files import written_whole
from meshreg.lifters.checkpoint import load_lifter
from meshreg.lifters.flops import linear_flops, matmul_flops
from meshreg.lifters.hot import hot_mixste
from meshreg.lifters.lifting import clip_sizes
from meshreg.lifters.mixste import mixste
from meshreg.lifters.shipped import WEIGHTS
from meshreg.metrics import bootstrap_interval

BEGIN, END = "<!-- made by benchmarks/hot_claim.py -->", "<!-- end of hot_claim -->"
SMALL = {"frames": 27, "width": 64, "hidden": 128, "num_heads": 4, "depth": 5}
FUSED = F.scaled_dot_product_attention


@dataclass(frozen=True, eq=False)
class Pair:
    """The same network without and with pruning."""

    name: str
    whole: nn.Module
    pruned: nn.Module
    batch: int  # windows at once


def pairs(weights: Path, device: str) -> list[Pair]:
    """Small ones, one window and many at once; and those of the paper."""
    files = [weights / f"{name}.safetensors" for name in ("mixste", "hot")]
    if all(file.is_file() for file in files):
        small = [load_lifter(file)[0] for file in files]
    else:
        small = [mixste(**SMALL), hot_mixste(keep=9, after=2, **SMALL)]
    large = [mixste(), hot_mixste()]
    small, large = ([net.eval().to(device) for net in nets] for nets in (small, large))
    return [
        Pair("small, 1 window", *small, batch=1),
        Pair("small, 32 windows", *small, batch=32),
        Pair("paper, 1 window", *large, batch=1),
    ]


def window(network: nn.Module, batch: int = 1) -> Float[Tensor, "B T J C"]:
    sizes = clip_sizes(network)
    shape = batch, sizes.frames, sizes.num_joints, sizes.in_channels
    device = next(network.parameters()).device
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)


def seconds(actions: list[Callable[[], Any]], repeats: int, device: str) -> list[float]:
    """The best time of each; they take turns, so that all are disturbed alike."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    best = [float("inf")] * len(actions)
    for _ in range(repeats + 1):  # the first time is for warming up, and never the best
        for place, action in enumerate(actions):
            _wait(device)
            start = clock()
            with torch.inference_mode():
                action()
            _wait(device)
            best[place] = min(best[place], clock() - start)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# --- HoT ------------------------------------------------------------------------------------------
def saved(found: list[Pair], repeats: int, device: str) -> list[dict[str, Any]]:
    """Arithmetic and time without and with pruning."""
    rows = []
    for pair in found:
        x = window(pair.whole, pair.batch)
        times = seconds([lambda: pair.whole(x), lambda: pair.pruned(x)], repeats, device)  # noqa: B023
        nets = pair.whole, pair.pruned
        rows.append(
            {
                "size": pair.name,
                "gflops": [linear_flops(net, window(net)) / 1e9 for net in nets],
                "gflops_with_attention": [matmul_flops(net, window(net)) / 1e9 for net in nets],
                "parameters": [sum(p.numel() for p in net.parameters()) for net in nets],
                "milliseconds": [1000 * t for t in times],
            }
        )
    return rows


def costs(motion: Path, weights: Path) -> dict[str, Any] | None:
    """Errors on held-out people, and the interval of their difference frame by frame."""
    files = [weights / f"{name}.safetensors" for name in ("mixste", "hot")]
    if not all(file.is_file() for file in files):
        return None
    data = seen(held_out_people(motion), noisy=False, views=2)
    whole, pruned = (measure(load_lifter(file)[0], data, flip=True) for file in files)
    name = "mpjpe_mm"
    difference = bootstrap_interval(pruned.values[name] - whole.values[name], whole.groups[name])
    return {
        "mpjpe_mm": [whole.interval(name).mean, pruned.interval(name).mean],
        "mpjve_mm": [m.interval("mpjve_mm").mean for m in (whole, pruned)],
        "difference_mm": [difference.mean, difference.low, difference.high],
    }


# --- attention ------------------------------------------------------------------------------------
def written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in three steps, as it was released."""
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.softmax(-1) @ value


@contextmanager
def attending(function: Callable[..., Tensor]) -> Iterator[None]:
    """Let networks attend in this way for a while."""
    F.scaled_dot_product_attention = function  # type: ignore[assignment]
    try:
        yield
    finally:
        F.scaled_dot_product_attention = FUSED


def fused_gain(found: list[Pair], repeats: int, device: str) -> list[dict[str, Any]]:
    """Milliseconds of whole networks, and of their two kinds of attention alone."""

    def attend(network: nn.Module, x: Tensor, function: Callable[..., Tensor]) -> None:
        with attending(function):
            network(x)

    rows = []
    for pair in found:
        x = window(pair.whole, pair.batch)
        frames, width = clip_sizes(pair.whole).frames, pair.whole.width
        heads = pair.whole.trunk.spatial[0].attn.num_heads  # type: ignore[union-attr, index]
        shapes = {
            "among joints": (pair.batch * frames, heads, 17, width // heads),
            "among frames": (pair.batch * 17, heads, frames, width // heads),
        }
        actions = [lambda x=x, net=pair.whole, f=f: attend(net, x, f) for f in (written_out, FUSED)]
        for shape in shapes.values():
            qkv = [torch.randn(shape, device=device) for _ in range(3)]
            actions += [lambda qkv=qkv, f=f: f(*qkv) for f in (written_out, FUSED)]
        times = seconds(actions, repeats, device)
        for place, what in enumerate(["network", *shapes]):
            both = [1000 * t for t in times[2 * place : 2 * place + 2]]
            rows.append({"size": pair.name, "what": what, "milliseconds": both})
    return rows


# --- the report -----------------------------------------------------------------------------------
def text_of(report: dict[str, Any]) -> str:
    """Tables as Markdown."""
    lines = [
        "| MixSTE against HoT | GFLOPs | saved | with attention | saved | ms | faster |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["hot"]:
        cells = [row["size"]]
        for name in ("gflops", "gflops_with_attention"):
            whole, pruned = row[name]
            cells += [f"{whole:.3g}, {pruned:.3g}", f"{1 - pruned / whole:.1%}"]
        slow, fast = row["milliseconds"]
        cells += [f"{slow:.3g}, {fast:.3g}", f"{slow / fast:.2f} times"]
        lines.append(f"| {' | '.join(cells)} |")
    if report["accuracy"]:
        whole, pruned = report["accuracy"]["mpjpe_mm"]
        mean, low, high = report["accuracy"]["difference_mm"]
        lines += [
            "",
            f"On held-out people MixSTE is {whole:.1f} mm wrong, HoT {pruned:.1f} mm: "
            f"{mean:+.1f} mm (95 % interval {low:+.1f} to {high:+.1f}).",
        ]
    lines += [
        "",
        "| attention | of | written out, ms | fused, ms | faster |",
        "|---|---|---|---|---|",
    ]
    for row in report["attention"]:
        slow, fast = row["milliseconds"]
        cells = [row["size"], row["what"], f"{slow:.3g}", f"{fast:.3g}", f"{slow / fast:.2f} times"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"Measured on: {report['device']}."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--motion", type=Path, help="without it errors are not measured")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of lifters")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = pairs(args.weights, args.device)
    is_gpu = args.device == "cuda"
    report = {
        "device": torch.cuda.get_device_name() if is_gpu else "CPU, one thread",
        "hot": saved(found, args.repeats, args.device),
        "accuracy": costs(args.motion, args.weights) if args.motion else None,
        "attention": fused_gain(found, args.repeats, args.device),
    }
    text = text_of(report)
    print(text)
    if args.json:
        with written_whole(args.json) as temporary:
            temporary.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    if args.write:
        write_part(args.write, text, BEGIN, END)


if __name__ == "__main__":
    main()
