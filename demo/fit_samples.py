"""Fit every sample picture with `meshreg fit`, and print how well that went.

Run `make demo`, or `python demo/fit_samples.py`. Every number of the table is read from the files
that the command wrote; the synthetic people are also compared with their exact truth.
"""

import argparse
import io
import math
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from meshreg.body.assets import check_same_topology
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.cli import main as meshreg
from meshreg.data.images import read_image
from meshreg.export import FitRecord, load_npz, save_image
from meshreg.metrics import pa_mpjpe
from meshreg.render.overlay import contact_sheet, draw_keypoints, draw_overlay, draw_view

DEMO_FOLDER = Path(__file__).parent
SAMPLES = ("astronaut", "camera", "synthetic_1", "synthetic_2")
PANEL_PX = 480  # height of the pictures in the sheet


@dataclass(frozen=True, eq=False)
class Row:
    """What the table says about one sample."""

    sample: str
    error_px: float  # mean distance of the fitted joints to the given ones, weighted by confidence
    silhouette_iou: float  # overlap with the given person mask; NaN without one
    pa_mpjpe_mm: float  # to the true joints after the best similarity transform; NaN without truth
    seconds: float  # of the whole command


@dataclass(frozen=True)
class Sample:
    """The files of one sample."""

    folder: Path
    name: str

    @property
    def image(self) -> Path:
        return self.folder / f"{self.name}.jpg"

    @property
    def truth(self) -> Path:
        """Only synthetic people have this file."""
        return self.folder / f"{self.name}_truth.npz"

    def arguments(self, out: Path) -> list[str]:
        """The command line that fits this sample."""
        words = ["fit", str(self.image)]
        words += ["--keypoints", str(self.folder / f"{self.name}_keypoints.json")]
        words += ["--semantics", str(self.folder / f"{self.name}_mask.png")]
        if self.truth.is_file():  # a photograph leaves the camera to the usual guess
            with np.load(self.truth) as truth:
                words += ["--fov", f"{float(truth['fov_deg']):g}"]
        return [*words, "--out", str(out)]


def fit_sample(sample: Sample, out: Path) -> float:
    """Run `meshreg fit` on one sample and return the seconds it took; stops if it fails."""
    started = time.perf_counter()
    with redirect_stdout(io.StringIO()):  # what it reports is in the table
        code = meshreg(sample.arguments(out))
    if code != 0:
        sys.exit(code)
    return time.perf_counter() - started


def row_of(sample: Sample, record: FitRecord, seconds: float) -> Row:
    """Read the errors of one fit off its result."""
    distance = np.linalg.norm(record.reprojection_px - record.keypoints_px, axis=-1)
    weight = record.keypoints_confidence
    return Row(
        sample=sample.name,
        error_px=float((weight * distance).sum() / weight.sum()),
        silhouette_iou=record.silhouette_iou,
        pa_mpjpe_mm=joint_error_mm(record, sample.truth),
        seconds=seconds,
    )


def joint_error_mm(record: FitRecord, truth_file: Path) -> float:
    """PA-MPJPE over the 24 joints; NaN if nobody knows the truth."""
    if not truth_file.is_file():
        return math.nan
    with np.load(truth_file) as truth:
        check_same_topology(str(truth["topology_hash"]), record.topology_hash, "this result")
        true_joints = torch.from_numpy(truth["joints_cam"])
    return 1000 * float(pa_mpjpe(torch.from_numpy(record.joints_cam), true_joints))


def table_of(rows: Sequence[Row]) -> Table:
    """Lay out the results; a dash stands for what cannot be known."""
    table = Table(title="meshreg fit on the sample pictures")
    table.add_column("sample")
    headings = ("reprojection error, px", "silhouette IoU", "PA-MPJPE, mm", "seconds")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        values = (row.error_px, row.silhouette_iou, row.pa_mpjpe_mm, row.seconds)
        table.add_row(row.sample, *map(_cell, values, (1, 3, 1, 1)))
    return table


def _cell(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def panels(sample: Sample, record: FitRecord) -> list[np.ndarray]:
    """The photo with its keypoints, the photo with the fitted body, the body from the side."""
    photo = read_image(sample.image)
    vertices = torch.from_numpy(record.vertices_cam)
    faces = load_body(record.body).faces
    bones = SKELETONS[{17: "coco17", 25: "openpose25"}[len(record.keypoint_names)]].bones
    size = PANEL_PX, PANEL_PX * 3 // 4
    return [
        draw_keypoints(photo, record.keypoints_px, record.keypoints_confidence, bones),
        draw_overlay(photo, vertices, faces, torch.from_numpy(record.K)),
        draw_view(vertices, faces, size, azimuth_deg=90.0),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--samples", type=Path, default=DEMO_FOLDER / "samples", help="their folder"
    )
    parser.add_argument(
        "--out", type=Path, default=DEMO_FOLDER / "out", help="folder to write into"
    )
    parser.add_argument(
        "--only", nargs="+", choices=SAMPLES, default=SAMPLES, help="fit just these"
    )
    arguments = parser.parse_args()
    console = Console(highlight=False)
    rows: list[Row] = []
    pictures: list[np.ndarray] = []
    titles: list[str] = []
    for name in arguments.only:
        console.print(f"fitting {name} ...")
        sample, out = Sample(arguments.samples, name), arguments.out / name
        seconds = fit_sample(sample, out)
        record = load_npz(out / "result.npz")
        rows.append(row_of(sample, record, seconds))
        pictures += panels(sample, record)
        titles += [f"{name} and keypoints", "fitted body", "from the side"]
    sheet = arguments.out / "samples.png"
    save_image(sheet, contact_sheet(pictures, columns=3, titles=titles, height=PANEL_PX))
    console.print(table_of(rows))
    console.print("PA-MPJPE compares with the exact truth, which only synthetic people have.")
    console.print(f"overlay.png, person.glb and result.npz of each: {arguments.out}/SAMPLE")
    console.print(f"all of them in one picture: {sheet}", soft_wrap=True)


if __name__ == "__main__":
    main()
