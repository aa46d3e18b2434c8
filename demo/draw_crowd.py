"""Draw a contact sheet of synthetic people, and one of their labels.

Run: `python demo/draw_crowd.py [--count 64] [--seed 0] [--size 224] [--out crowd.png]`.
The labels go to a second picture beside the first.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.assets import load_body_data
from meshreg.clothing.labels import cihp_palette
from meshreg.data.sample import Batch, stack
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.generator import make_generator
from meshreg.data.synthetic.prior_poses import PriorPoses
from meshreg.data.synthetic.scene import Planner
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.errors import InputError
from meshreg.export import IMAGE_SUFFIXES, save_image
from meshreg.files import check_writable

BATCH = 8


def draw(count: int, seed: int, size: int) -> Batch:
    """The first people of a seed."""
    planner = Planner(
        seed,
        poses=PriorPoses(),
        body=load_body_data("builtin"),
        settings=SceneSettings(size=size),
    )
    people = SyntheticPeople(planner, make_generator(), batch_size=BATCH)
    batches = [people.render(range(i, min(i + BATCH, count))) for i in range(0, count, BATCH)]
    return stack([batch[place] for batch in batches for place in range(len(batch))])


def sheet(pictures: np.ndarray) -> np.ndarray:  # (N, H, W, 3) -> (rows H, columns W, 3)
    """Lay pictures out in a square."""
    columns = int(np.ceil(len(pictures) ** 0.5))
    rows = -(-len(pictures) // columns)
    padded = np.full((rows * columns, *pictures.shape[1:]), 255, np.uint8)
    padded[: len(pictures)] = pictures
    grid = padded.reshape(rows, columns, *pictures.shape[1:])
    return np.concatenate(np.concatenate(grid, 1), 1)


def main() -> int:
    """Draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=224, help="side of each picture, pixels")
    parser.add_argument("--out", type=Path, default=Path("crowd.png"))
    options = parser.parse_args()
    try:
        if options.count < 1:
            raise InputError(f"--count must be at least 1, not {options.count}.")
        if options.seed < 0:
            raise InputError(f"--seed must be 0 or more, not {options.seed}.")
        if options.out.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(f"expected --out FILE.png or FILE.jpg, found {options.out.name}.")
        check_writable(options.out.parent)  # before the work rather than after it
        batch = draw(options.count, options.seed, options.size)
        save_image(options.out, sheet(batch.image.permute(0, 2, 3, 1).numpy()))
        labels = options.out.with_stem(options.out.stem + "_labels")
        save_image(labels, sheet(cihp_palette()[batch.labels.numpy()]))
    except InputError as error:
        sys.stderr.write(f"draw_crowd: error: {error}\n")
        return 2
    print(f"wrote {options.out} and {labels}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
