"""How good and how fast is the regressor that comes with meshreg?

Run: `python benchmarks/default_model.py --bench BENCH [--write docs/default_model.md]`, the folder
made before with `meshreg synth --bench synth-bench-v1 --out BENCH`. Measures the shipped model by
the benchmark's protocol, beside the body that it starts from, and draws 16 of the people.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import meshreg
from benchmarks.pages import write_part
from meshreg.data.sample import Batch, Sample, stack
from meshreg.data.shard_reader import ShardReader
from meshreg.evaluate.run import Evaluation, evaluate_model
from meshreg.geometry.rotations import rot6d_to_rotmat
from meshreg.metrics import bootstrap_interval
from meshreg.models.outputs import BodyPrediction
from meshreg.models.start import upright_start
from meshreg.predictor.regress import Predictor
from meshreg.render.overlay import draw_overlay

BEGIN, END = "<!-- made by benchmarks/default_model.py -->", "<!-- end -->"
PROTOCOL = "synth-bench-v1"
MEASURES = {
    "pa_mpjpe_mm": "PA-MPJPE, mm",
    "mpjpe_mm": "MPJPE, mm",
    "pve_mm": "PVE, mm",
    "shape_mm": "shape, mm",
    "silhouette_iou": "overlap",
}
SHEET = 16
BATCH = 8


class Recorded(ShardReader):
    """The samples of a folder, noting which of them are in their picture as a whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_whole: list[bool] = []

    def __iter__(self) -> Iterator[Sample]:
        for sample in super().__iter__():
            side, joints = sample.image.shape[-1], sample.joints_px[:24]
            self.is_whole.append(bool(((joints > -0.5) & (joints < side - 0.5)).all()))
            yield sample


@dataclass(frozen=True)
class Guess:
    """Says of everybody that they are the body that the network starts from."""

    predictor: Predictor

    def __call__(self, batch: Batch) -> BodyPrediction:
        start = upright_start().expand(len(batch))
        pose = rot6d_to_rotmat(start.pose_rot6d.unflatten(1, (24, 6)))
        return BodyPrediction(
            betas=start.betas, pose_rotmat=pose, cam=start.cam, transl=batch.transl
        )


def tables(found: Evaluation, guess: Evaluation, is_whole: Tensor) -> list[str]:
    """The shipped model and the body it starts from, for everybody and for whole people."""
    lines = ["| people | who says | " + " | ".join(MEASURES.values()) + " |"]
    lines.append("|---|---|" + "---|" * len(MEASURES))
    for title, rows in (("all", torch.ones_like(is_whole)), ("whole in the picture", is_whole)):
        for who, evaluation in (("`meshreg predict`", found), ("the body it starts from", guess)):
            cells = [_cell(evaluation.values[name][rows], name) for name in MEASURES]
            lines.append(f"| {title} ({int(rows.sum())}) | {who} | {' | '.join(cells)} |")
    return lines


def _cell(values: Float[Tensor, " N"], name: str) -> str:
    known = values[values.isfinite()]
    interval = bootstrap_interval(known)
    digits = 3 if name.endswith("iou") else 1
    half = (interval.high - interval.low) / 2
    return f"{interval.mean:.{digits}f} ± {half:.{digits}f}"


def images_per_second(predictor: Predictor, threads: int, repeats: int = 12) -> float:
    """Pictures of 640 x 480 with one box each, from pixels to meshes, the best of the repeats."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(BATCH)]
    boxes = [np.array([[200.0, 40.0, 420.0, 460.0]])] * BATCH
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        predictor.predict(pictures, boxes)
        seconds.append(time.perf_counter() - start)
    return BATCH / min(seconds)


def sheet(predictor: Predictor, folder: Path) -> Image.Image:
    """Sixteen people, each with the predicted body beside."""
    people = []
    for sample in ShardReader(folder):
        people.append(sample)
        if len(people) == SHEET:
            break
    batch, model = stack(people), predictor.model
    small = torch.nn.functional.interpolate(
        batch.image.float(), (model.image_size,) * 2, mode="bilinear", antialias=True
    )
    with torch.inference_mode():
        found = model(small.round().to(torch.uint8), K_full=batch.K_full, box=batch.box)
        vertices = model.mesh(found).vertices
    tiles = []
    for place in range(SHEET):
        image = np.ascontiguousarray(batch.image[place].permute(1, 2, 0).numpy())
        drawn = draw_overlay(image, [vertices[place]], model.body.faces, batch.K[place])
        tiles.append(np.concatenate([image, drawn], 1))
    rows = [np.concatenate(tiles[start : start + 4], 1) for start in range(0, SHEET, 4)]
    return Image.fromarray(np.concatenate(rows, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=Path, required=True, help="folder of synth-bench-v1")
    parser.add_argument("--model", type=Path, help="another model file")
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    args = parser.parse_args()
    predictor = meshreg.load_model(args.model)
    people = Recorded(args.bench)
    found = evaluate_model(predictor.model, people, PROTOCOL)
    is_whole = torch.tensor(people.is_whole)
    guess = evaluate_model(Guess(predictor), ShardReader(args.bench), PROTOCOL, body=predictor.body)
    speeds = {threads: images_per_second(predictor, threads) for threads in (1, 2)}
    lines = tables(found, guess, is_whole)
    speed = " and ".join(f"{value:.0f} on {threads}" for threads, value in speeds.items())
    lines += ["", f"Pictures a second in batches of {BATCH}, by number of threads: {speed}."]
    text = "\n".join(lines)
    print(text)
    if args.write:
        write_part(args.write, text, BEGIN, END)
        picture = args.write.parent / "images" / "predicted.jpg"
        sheet(predictor, args.bench).save(picture, quality=88)


if __name__ == "__main__":
    main()
