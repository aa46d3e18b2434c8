"""How fast are the named regressors, picture to mesh, on this machine's CPU?

Run: `python benchmarks/regressors.py [--batch 8] [--size PIXELS] [--repeats 10] [--threads 1 2]`.
The weights are random; the best of the repeats counts. Prints a Markdown table.
"""

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.smpl import load_body
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.builders import build_hmr
from meshreg.models.hmr import HMR


def best_seconds(action: Callable[[], None], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def predict(model: HMR, image: torch.Tensor) -> None:
    with torch.inference_mode():
        model.mesh(model(image))


def learn(model: HMR, image: torch.Tensor) -> None:
    model.mesh(model(image)).vertices.square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, help="pixels; default: what each was made for")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    body = load_body()
    print("| regressor | pixels | parameters | threads | images/s | forward and backward |")
    print("|---|---|---|---|---|---|")
    for name, architecture in ARCHITECTURES.items():
        model = build_hmr(architecture, body=body)
        size = args.size or architecture.image_size
        image = torch.randint(0, 256, (args.batch, 3, size, size), dtype=torch.uint8)
        parameters = sum(p.numel() for p in model.parameters())
        for threads in args.threads:
            torch.set_num_threads(threads)
            speeds = [
                args.batch / best_seconds(partial(action, model.train(mode), image), args.repeats)
                for mode, action in ((False, predict), (True, learn))
            ]
            row = [name, size, f"{parameters:,}", threads, *(f"{speed:.1f}" for speed in speeds)]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
