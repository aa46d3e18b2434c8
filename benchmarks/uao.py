"""How fast is test-time optimisation at the size of the paper, and how near the machine's limit?

Run: `python benchmarks/uao.py [--frames 64] [--repeats 3] [--threads 2] [--released FOLDER]`.
FOLDER is a checkout of the authors' code (github.com/xiu-cs/UAO-Pose3D), which needs einops, timm
and tqdm; its own loop is then run on the same frames and weights, taking turns with ours, and the
results are compared. Without it that line is left out. Weights are random; the best of the repeats
counts. Frames per second of the clock and of the processor are given, for others may use the
machine: the latter are what the threads would reach if they were alone. Prints a Markdown table.
"""

import argparse
import ast
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.fit.uncertainty import optimize_latent
from meshreg.geometry.lens import h36m_lenses
from meshreg.geometry.mirror import mirror
from meshreg.lifters.flops import matmul_flops
from meshreg.lifters.lifting import joint_set_of
from meshreg.lifters.released import load_released
from meshreg.lifters.uao import uao
from meshreg.lifters.uao_fused import fused

H36M_CAMERA = [2.29, 2.29, 0.025, 0.029, -0.207, 0.248, -0.003, -0.0009, -0.0016]
ITERS, LR, W_PROJ, W_UNC = 4, 1e-3, 1.0, 5e-3
# Passes through the network for each side of each frame: first answer and first step are one.
FORWARD, BACKWARD = ITERS + 1, ITERS
LIMIT_SIZE = (1024, 512, 512)  # of the matrices whose product is the machine's limit
Loop = Callable[[], Tensor]


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = uao().eval()
    x = 0.3 * torch.randn(args.frames, 17, 2)
    root = torch.tensor([0.2, 0.1, 4.5]).expand(args.frames, 3)
    numbers = torch.tensor(H36M_CAMERA).expand(args.frames, 9)
    loops: dict[str, Loop] = {}
    if args.released is not None:
        loops["released code"], network = released_loop(args.released, x, root, numbers)
    camera = h36m_lenses(numbers)
    loops["this package"] = lambda: optimize_latent(network, x, camera, root=root).poses
    limit = LimitOfMatrices()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
    answers: dict[str, Tensor] = {}
    for _ in range(args.repeats):  # in turns, so that a busy moment is bad for all
        for name, loop in loops.items():
            answers[name], taken = timed(loop)
            seconds[name].append(taken)
            limit.measure()
    print("| code | frames/s | of processor time | GFLOP a frame | share of the limit |")
    print("|---|---|---|---|---|")
    for name, taken_times in seconds.items():
        clock, processor = (min(part) for part in zip(*taken_times, strict=True))
        gflop = flops(network, name) / 1e9
        share = gflop * args.frames / processor / limit.best
        alone = args.threads * args.frames / processor
        print(
            f"| {name} | {args.frames / clock:.1f} | {alone:.1f} | {gflop:.2f} | {share:.0%} |",
            flush=True,
        )
    size = " x ".join(map(str, LIMIT_SIZE))
    print(f"\nLimit: products of {size} matrices, {limit.best:.0f} GFLOP/s on each of the threads.")
    if len(answers) == 2:
        one, other = answers.values()
        apart = float((one - other).abs().max() / one.abs().max())
        print(f"Largest difference of the poses: {apart:.1e}")


def timed(loop: Loop) -> tuple[Tensor, tuple[float, float]]:
    """What it gives, and the seconds it took: of the clock, and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    answer = loop()
    return answer, (time.perf_counter() - clock, time.process_time() - processor)


class LimitOfMatrices:
    """The most arithmetic per second of processor time that products of large matrices reach."""

    def __init__(self) -> None:
        rows, inner, columns = LIMIT_SIZE
        self.one, self.other = torch.randn(rows, inner), torch.randn(inner, columns)
        self.gflop = 2 * rows * inner * columns / 1e9
        self.best = 0.0

    def measure(self, repeats: int = 20) -> None:
        for _ in range(repeats):
            start = time.process_time()
            self.one @ self.other
            self.best = max(self.best, self.gflop / (time.process_time() - start))


def flops(network: nn.Module, name: str) -> float:
    """Arithmetic of a frame: both sides, forward and backward, as the code at hand needs it."""
    x = torch.zeros(1, 1, 17, 2)
    if name == "this package":
        return 2 * (FORWARD + BACKWARD) * matmul_flops(fused(network), x)
    # Twelve passes forward; eight backward, each also for the gradients of unused weights.
    return (12 + 8 * 2) * matmul_flops(_Whole(network), x)


class _Whole(nn.Module):
    """A network whose uncertainty is counted, too."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        said = self.network(x, whole=True)
        return torch.cat([said.poses, said.log_scale[..., None]], -1)


# --- the released code ----------------------------------------------------------------------------
def released_loop(folder: Path, x: Tensor, root: Tensor, numbers: Tensor) -> tuple[Loop, nn.Module]:
    """The authors' loop on these frames, and our network with the weights of theirs."""
    sys.path.insert(0, str(folder))
    nn.Module.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment]
    # As on a GPU, where it gives a tensor that is no parameter any more.
    Tensor.cuda = lambda self, *_: self.detach()  # type: ignore[method-assign, assignment]
    from common import utils
    from model.model_Gaussian import Model

    sizes = SimpleNamespace(layers=3, channel=512, d_hid=1024, token_dim=256, n_joints=17)
    theirs = Model(sizes).eval()
    network = load_released("uao", theirs.state_dict())
    found: list[Tensor] = []
    names: dict[str, Any] = {
        name: getattr(utils, name)
        for name in ("define_error_list", "gaussian_loss", "mpjpe_cal", "project_to_2d")
    }
    names |= {
        "torch": torch,
        "nn": nn,
        "tqdm": lambda batches, _: batches,
        "get_varialbe": lambda _, values: values,
        "test_calculation": lambda mu, *_: found.append(mu.detach()),
        "print_error": lambda *_: (0.0, 0.0),
        "define_error_list": lambda _: None,
    }
    tree = ast.parse((folder / "main.py").read_text("utf-8"))
    wanted = "test_time_optimization_Gaussian"
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == wanted]
    exec(compile(ast.Module([function], []), wanted, "exec"), names)  # the loop alone, unchanged
    sides = torch.stack([x, mirror(x, joint_set_of(17).flip)], 1)[:, :, None]
    truth = torch.cat([root[:, None], torch.zeros(len(x), 16, 3)], 1)[:, None]
    batch = (numbers, truth, sides, None, "S9", torch.ones(1), torch.ones(1), None)
    settings = SimpleNamespace(
        opt_iter_num=ITERS,
        lr_z=LR,
        weight_gaussian=W_UNC,
        weight_proj=W_PROJ,
        test_time_optimization=True,
        joints_left=[4, 5, 6, 11, 12, 13],
        joints_right=[1, 2, 3, 14, 15, 16],
        root_joint=0,
        dataset="h36m",
        train=False,
    )

    def loop() -> Tensor:
        names[wanted](settings, None, [batch], {"gaussian": theirs})
        return found.pop()[:, 0]

    return loop, network


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--released", type=Path)
    main(parser.parse_args())
