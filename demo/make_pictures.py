"""Make the picture of docs/pictures.md: every way of drawing a body, with the sample people.

Run `python demo/make_pictures.py`. Nothing is fitted: the synthetic people's truth is drawn.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.data.images import read_image
from meshreg.data.labels import read_labels
from meshreg.export import save_image
from meshreg.render.annotate import label_palette
from meshreg.render.overlay import (
    contact_sheet,
    draw_labels,
    draw_normals,
    draw_overlay,
    draw_wireframe,
    turntable,
)

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "demo" / "samples"
PANEL_PX = 340  # height of each picture in the sheet
WIRE = (255, 255, 255)


def person(name: str, body: Body) -> tuple[Tensor, Tensor]:
    """A synthetic person's vertices in the camera, (V, 3) metres, and the camera's K."""
    with np.load(SAMPLES / f"{name}_truth.npz") as arrays:
        truth = {key: torch.from_numpy(arrays[key]) for key in arrays if key != "topology_hash"}
    posed = body(truth["betas"][None], truth["pose_rotmat"][None], truth["transl"][None])
    return posed.vertices[0], truth["K"]


def over_the_photo(body: Body) -> dict[str, np.ndarray]:
    """One person in the photo's camera, by the name of the function that draws it."""
    photo = read_image(SAMPLES / "synthetic_1.jpg")
    size = photo.shape[0], photo.shape[1]
    labels = read_labels(SAMPLES / "synthetic_1_mask.png", size)
    vertices, K = person("synthetic_1", body)
    return {
        "draw_overlay": draw_overlay(photo, vertices, body.faces, K),
        "draw_wireframe": draw_wireframe(photo, vertices, body.faces, K, color=WIRE),
        "draw_normals": draw_normals(vertices, body.faces, K, size),
        "draw_labels": draw_labels(photo, labels, label_palette()),
    }


def all_around(body: Body) -> dict[str, np.ndarray]:
    """Two people who stand close together, at quarters of a turn."""
    walker, reacher = (person(f"synthetic_{i}", body)[0] for i in (1, 2))
    walker, reacher = (v - (v.amin(0) + v.amax(0)) / 2 for v in (walker, reacher))
    people = [walker, reacher + torch.tensor([0.5, 0.0, 0.45])]
    frames = turntable(people, body.faces, (PANEL_PX, PANEL_PX * 4 // 5), frames=4)
    return {f"turntable, {90 * i} degrees": frame for i, frame in enumerate(frames)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = ROOT / "docs" / "images" / "pictures.jpg"
    parser.add_argument("--out", type=Path, default=default, help="the file to write")
    out = parser.parse_args().out
    body = load_body()
    panels = over_the_photo(body) | all_around(body)
    sheet = contact_sheet(list(panels.values()), columns=4, titles=list(panels), height=PANEL_PX)
    save_image(out, sheet)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
