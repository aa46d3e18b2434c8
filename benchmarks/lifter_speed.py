"""Our lifters against the released code that they follow, at the sizes of the papers.

Run: `python benchmarks/lifter_speed.py --ktpformer KTPFormer --hot HoT --gla-gcn GLA-GCN
[--only mixste ...] [--write docs/performance.md]`. The folders are copies of the released
repositories, whose networks need einops, timm and matplotlib; what is absent is left out. Both
networks have the same weights and take turns in this process, on one thread. Every number is a
ratio of medians of this one run.
"""

import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.body.skeleton import skeleton
from meshreg.lifters.flops import matmul_flops
from meshreg.lifters.hot import KeptPoses, PrunedLifter
from meshreg.lifters.ktpformer import tree_graph
from meshreg.lifters.linear import linear
from meshreg.lifters.released import load_released

BEGIN, END = "<!-- made by benchmarks/lifter_speed.py -->", "<!-- end of lifter_speed.py -->"
JOINTS = 17
SIDE = 2048  # of the matrices that tell the machine's limit
UNTRAINED = 1e-3  # parameters below start as almost nothing and would hide what they act on
ROOTS = ("common", "model")  # packages of the released repositories, all of the same names

Job = Callable[[], Any]
# Code that moves tensors to the GPU whatever happens leaves them where they are.
NO_CUDA = mock.patch.object(Tensor, "cuda", lambda self, *_: self)


# --- released networks ----------------------------------------------------------------------------
def ktpformer() -> nn.Module:
    module = importlib.import_module("common.model_ktpformer")
    bones = tree_graph(skeleton("h36m17").parents)
    chain = tree_graph(tuple(range(-1, 242)))
    return module.KTPFormer(bones, chain, num_frame=243, embed_dim_ratio=512, depth=7)


def gla_gcn() -> nn.Module:
    module = importlib.import_module("common.s_agcn")
    return module.S_AGCN(JOINTS, 2, JOINTS, [3] * 5, channels=96)


def of_hot(name: str, **sizes: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        joints = {"n_joints": JOINTS, "out_joints": JOINTS}
        return importlib.import_module(name).Model(SimpleNamespace(**joints, **sizes))

    return build


@dataclass(frozen=True)
class Case:
    """One network in both codes."""

    title: str
    release: str  # what `load_released` calls it
    repository: str  # the option that tells its folder
    build: Callable[[], nn.Module]  # the released network
    frames: int = 243
    channels: int = 2
    options: dict[str, Any] = field(default_factory=dict)  # that the weights do not tell


WIDE = {"frames": 243, "channel": 512, "d_hid": 1024}
LONG = {"frames": 351, "channel": 512, "d_hid": 1024}
CASES = (
    Case("KTPFormer 243", "ktpformer", "ktpformer", ktpformer),
    Case("MixSTE 243", "mixste", "hot", of_hot("model.mixste.mixste", **WIDE)),
    Case(
        "HoT + MixSTE 243",
        "hot_mixste",
        "hot",
        of_hot("model.mixste.hot_mixste", **WIDE, token_num=81, layer_index=3),
    ),
    Case("MotionBERT 243", "motionbert", "hot", of_hot("model.motionbert.motionbert"), channels=3),
    Case(
        "HoT + MotionBERT 243",
        "hot_motionbert",
        "hot",
        of_hot("model.motionbert.hot_motionbert", maxlen=243, token_num=81, layer_index=1),
        channels=3,
    ),
    Case("MHFormer 351", "mhformer", "hot", of_hot("model.mhformer.mhformer", **LONG), frames=351),
    Case(
        "TPC + MHFormer 351",
        "tpc_mhformer",
        "hot",
        of_hot("model.mhformer.tpc_mhformer", **LONG, token_num=117, layer_index=1),
        frames=351,
    ),
    Case("GLA-GCN 243", "gla_gcn", "gla_gcn", gla_gcn),
)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Imports find a released repository, and forget it afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] in ROOTS]:
            del sys.modules[name]


def awake(network: nn.Module) -> nn.Module:
    """The network with numbers where training has not begun yet."""
    for parameter in network.parameters():
        if parameter.abs().max() < UNTRAINED:
            nn.init.normal_(parameter, std=0.02)
    return network.eval()


# --- measuring ------------------------------------------------------------------------------------
@dataclass
class Clocked:
    """A job's times, in seconds."""

    job: Job
    processor: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    def once(self) -> None:
        wall, busy = time.perf_counter(), time.process_time()
        self.job()
        self.processor.append(time.process_time() - busy)
        self.clock.append(time.perf_counter() - wall)

    @property
    def seconds(self) -> float:
        return statistics.median(self.processor)


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    title: str
    faster: float  # times, of processor time
    faster_by_clock: float
    share_released: float  # of the machine's limit
    share_ours: float
    difference: float  # of the outputs, relative to their largest number
    faster_bf16: float  # than ours in single precision
    change_bf16: float  # mean distance between joints, relative to their mean distance from 0
    faster_batch: float  # per clip of a batch, than a clip alone

    def row(self) -> str:
        return (
            f"| {self.title} | {self.faster:.2f} ({self.faster_by_clock:.2f}) "
            f"| {self.share_released:.0%} | {self.share_ours:.0%} | {self.difference:.0e} "
            f"| {self.faster_bf16:.2f} | {self.change_bf16:.1%} | {self.faster_batch:.2f} |"
        )


def measure(case: Case, folder: Path, *, rounds: int, batch: int) -> Result:
    """Build both, let them take turns, compare."""
    torch.manual_seed(0)
    with importing_from(folder):
        released = awake(case.build())
    ours = load_released(case.release, released.state_dict(), **case.options)
    x = torch.rand(1, case.frames, JOINTS, case.channels) * 2 - 1
    noise = torch.rand(1, case.frames)
    clips = x.expand(batch, -1, -1, -1).contiguous()
    square = torch.rand(SIDE, SIDE)
    jobs = {
        "released": Clocked(lambda: with_noise(released, x, noise)),
        "ours": Clocked(lambda: run(ours, x, noise)),
        "bf16": Clocked(lambda: in_bf16(ours, x, noise)),
        "limit": Clocked(lambda: linear(square, square, None)),
    }
    many = Clocked(lambda: run(ours, clips, noise))
    with torch.inference_mode(), NO_CUDA:
        for _ in range(rounds):
            for job in jobs.values():
                job.once()
        many.once()
        theirs, frames = with_its_frames(released, x, noise)
        single = run(ours, x, noise, frames=frames)
        half = in_bf16(ours, x, noise, frames=frames)
    times = {name: job.seconds for name, job in jobs.items()}
    flops = matmul_flops(ours, x)
    at_limit = flops / (2 * SIDE**3 / times["limit"])  # seconds that the products need at least
    clocks = [statistics.median(jobs[name].clock) for name in ("released", "ours")]
    return Result(
        title=case.title,
        faster=times["released"] / times["ours"],
        faster_by_clock=clocks[0] / clocks[1],
        share_released=at_limit / times["released"],
        share_ours=at_limit / times["ours"],
        difference=float((theirs - single).abs().max() / theirs.abs().max()),
        faster_bf16=times["ours"] / times["bf16"],
        change_bf16=float((half - single).norm(dim=-1).mean() / single.norm(dim=-1).mean()),
        faster_batch=times["ours"] * batch / many.seconds,
    )


def run(network: nn.Module, x: Tensor, noise: Tensor, *, frames: Tensor | None = None) -> Tensor:
    """Ours; networks that leave out frames choose them by the noise, unless they are told."""
    is_pruned = isinstance(network, PrunedLifter)
    chance = {"noise": noise.expand(len(x), -1), "frames": frames} if is_pruned else {}
    output = network(x, **chance)
    return output.poses if isinstance(output, KeptPoses) else output


def in_bf16(
    network: nn.Module, x: Tensor, noise: Tensor, *, frames: Tensor | None = None
) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return run(network, x, noise, frames=frames).float()


def with_noise(network: nn.Module, x: Tensor, noise: Tensor) -> Any:
    """The released network, which draws numbers itself: these."""
    with mock.patch.object(torch, "rand", lambda *_, **__: noise):
        return network(x)


def with_its_frames(network: nn.Module, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor | None]:
    """What the released network says, and which frames it kept if it left out some.

    Rounding decides between frames that nearly tie, so only on the same frames are outputs alike.
    """
    names = type(network).forward.__globals__
    kept = []

    def recorded(*args: Any) -> Any:
        found = choose(*args)
        kept.append(found[0].sort(1).values)
        return found

    if (choose := names.get("cluster_dpc_knn")) is None:
        output = with_noise(network, x, noise)
        return output if isinstance(output, tuple) else (output, None)
    with mock.patch.dict(names, cluster_dpc_knn=recorded):
        return with_noise(network, x, noise), kept[0]


# --- report ---------------------------------------------------------------------------------------
def plain_share() -> str:
    """What torch's own product reaches of the limit."""
    square = torch.rand(SIDE, SIDE)
    plain, best = Clocked(lambda: square @ square), Clocked(lambda: linear(square, square, None))
    with torch.inference_mode():
        for _ in range(5):
            plain.once()
            best.once()
    return (
        f"torch's own product of matrices reaches {best.seconds / plain.seconds:.0%} of the limit"
    )


def report(results: list[Result], *, batch: int) -> str:
    lines = [
        "| lifter, one clip | times faster (by the clock) | released: share of the limit "
        "| ours: share | difference | bf16: times faster again | bf16: change "
        f"| batch of {batch}: times faster per clip |",
        "|---" * 8 + "|",
        *[result.row() for result in results],
        "",
        f"In this run {plain_share()}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("ktpformer", "hot", "gla-gcn"):
        parser.add_argument(f"--{name}", type=Path, help="folder of the released repository")
    parser.add_argument("--only", nargs="+", choices=[case.release for case in CASES])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--write", type=Path, help="page to put the table into")
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = []
    for case in CASES:
        folder = getattr(args, case.repository)
        if args.only and case.release not in args.only:
            continue
        if folder is None:
            sys.stdout.write(f"{case.title}: left out, --{case.repository} is not given\n")
            continue
        results.append(measure(case, folder, rounds=args.rounds, batch=args.batch))
        sys.stdout.write(results[-1].row() + "\n")
        sys.stdout.flush()
    table = report(results, batch=args.batch)
    sys.stdout.write(table + "\n")
    if args.write:
        write_part(args.write, table, BEGIN, END)


if __name__ == "__main__":
    main()
