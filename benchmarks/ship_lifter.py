"""Turn the file of a training into a lifter that comes with meshreg.

Run: `python benchmarks/ship_lifter.py RUN/model.safetensors NAME --motion MOTION.npz [--out
FOLDER]`. The lifter is measured on people it was not trained on. Its matrices are stored in half
precision if that changes the error by less than 0.1 mm; the file says how good it is, which decides
what `meshreg lift` takes by default.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from held_out import held_out_people, measure, seen

from meshreg.data.lifting import LiftingData
from meshreg.lifters.checkpoint import load_lifter, save_lifter
from meshreg.lifters.shipped import WEIGHTS

HALF_COSTS_MM = 0.1  # at most
LARGEST = 8e6  # bytes


def ship(source: Path, target: Path, data: LiftingData) -> tuple[float, float]:
    """Write the file; the error before, and of what was written, millimetres."""
    network, header = load_lifter(source)
    whole = measure(network, data, flip=True).action_mean_mm
    known = replace(header, error_mm=round(whole, 2))
    save_lifter(target, network, known, dtype="float16")
    half = measure(load_lifter(target)[0], data, flip=True).action_mean_mm
    if abs(half - whole) >= HALF_COSTS_MM:
        save_lifter(target, network, known)
        half = whole
    return whole, half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("name")
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    target = args.out / f"{args.name}.safetensors"
    data = seen(held_out_people(args.motion), noisy=False, views=1)
    whole, stored = ship(args.source, target, data)
    size = target.stat().st_size
    print(f"{target}: {size / 1e6:.2f} MB; {whole:.2f} mm trained, {stored:.2f} mm as stored")
    if size > LARGEST:
        sys.exit(f"the file is larger than {LARGEST / 1e6:.0f} MB: train a smaller network")


if __name__ == "__main__":
    main()
