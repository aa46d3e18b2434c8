"""People near the borders of wide pictures, before and after the camera turned towards them.

Run: `python benchmarks/perspective_pictures.py [--count 4] [--seed 0] [--out perspective.jpg]`.
Draws dressed people whose bodies are known exactly, in pictures of 90 to 100 degrees. Each row is
a picture with the body on it; the plain crop of the person, without and with the body; the crop of
a camera that turned towards the person, without and with the turned body; and the picture once
more, with the body turned back. Prints how far each body overlaps the dressed person.
"""

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.assets import load_body_data
from meshreg.body.smpl import Body, load_body
from meshreg.data.sample import Batch
from meshreg.data.synthetic.cameras import crop_K
from meshreg.data.synthetic.generator import DressedPeopleGenerator, make_generator
from meshreg.data.synthetic.prior_poses import PriorPoses
from meshreg.data.synthetic.scene import Planner, ScenePlan, rounded
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.errors import InputError
from meshreg.export import IMAGE_SUFFIXES, save_image
from meshreg.files import check_writable
from meshreg.geometry.perspective import pixel_rays
from meshreg.geometry.turned_crop import TurnedCrop, crop_towards
from meshreg.render.overlay import draw_overlay
from meshreg.render.rasterizer import rasterizer

SCENES = SceneSettings(
    fov_deg=(90.0, 100.0),
    usual_fov_share=0.0,
    aspects=(4 / 3,),
    portrait_share=0.0,
    cropped_share=0.0,
    usual_pitch_share=1.0,
    usual_roll_share=1.0,
    apparent_height=(0.35, 0.6),
    central_share=0.0,
    people_weights=(1.0,),
    truncated_share=0.0,
    inside_share=0.0,
    box_shift=0.0,
    box_scale=(1.1, 1.1),
)
FULL = 1200  # longer side of the pictures, pixels
SIDE = 180  # of every panel, pixels
OFF_AXIS = math.radians(37)  # at least; the corners are at 50
TRIES = 3_000
TITLES = ("picture", "plain crop", "with body", "turned crop", "with body", "turned back")


@dataclass(frozen=True, eq=False)
class Shot:
    """A full picture of one person, and the body in it."""

    image: np.ndarray  # (H, W, 3)
    mask: np.ndarray  # (H, W) bool: the dressed person
    K: Tensor  # (3, 3), double
    box: Tensor  # (4,) left, top, right, bottom, pixels
    betas: Tensor  # (S,)
    pose_rotmat: Tensor  # (24, 3, 3)
    transl: Tensor  # (3,)
    angle: float  # between the middle of the box and the optical axis, radians


def shots(count: int, seed: int) -> list[Shot]:
    """The first people of a seed who are far from the axis and whole in their picture."""
    poses = PriorPoses(standing=1.0)  # at rest: easy to judge by eye
    planner = Planner(seed, poses=poses, body=load_body_data("builtin"), settings=SCENES)
    draw, found = make_generator(), []
    for index in range(TRIES):
        plan = planner.plan(index)
        if _is_far_and_whole(plan):
            found.append(_shot(plan, draw))
        if len(found) == count:
            return found
    raise InputError(f"only {len(found)} of {TRIES} people are that far off: ask for fewer.")


def _is_far_and_whole(plan: ScenePlan) -> bool:
    low, high = plan.box[:2] - plan.box[2] / 2, plan.box[:2] + plan.box[2] / 2
    whole = (low > 0).all() and (high < np.array(plan.full_size[::-1]) - 1).all()
    return bool(whole) and _angle(plan.box[:2], plan.K_full) > OFF_AXIS


def _angle(pixel: np.ndarray, K: np.ndarray) -> float:
    x, y = pixel_rays(torch.from_numpy(pixel)[None], torch.from_numpy(K))[0, :2].tolist()
    return math.atan(math.hypot(x, y))


def _shot(plan: ScenePlan, draw: DressedPeopleGenerator) -> Shot:
    """The whole picture instead of the square around the person."""
    height, width = plan.full_size
    square = np.array([(width - 1) / 2, (height - 1) / 2, max(width, height)])
    scale = FULL / square[2]
    K = rounded(crop_K(plan.K_full, square, FULL))
    batch: Batch = draw.render([replace(plan, size=FULL, box=square, K=K)])
    rows = slice(*(round(FULL / 2 + side * height * scale / 2) for side in (-1, 1)))
    box = (np.array([*plan.box[:2], plan.box[2]]) - [*(square[:2] - square[2] / 2), 0]) * scale
    box[:2] -= [0.5, 0.5 + rows.start]
    K[1, 2] -= rows.start
    corners = np.concatenate([box[:2] - box[2] / 2, box[:2] + box[2] / 2])
    return Shot(
        image=np.ascontiguousarray(batch.image[0].permute(1, 2, 0).numpy()[rows]),
        mask=(batch.instance[0] == 1).numpy()[rows],
        K=torch.from_numpy(K),
        box=torch.from_numpy(corners),
        betas=batch.betas[0],
        pose_rotmat=batch.pose_rotmat[0],
        transl=batch.transl[0],
        angle=_angle(plan.box[:2], plan.K_full),
    )


def row(shot: Shot, body: Body) -> tuple[list[np.ndarray], list[float]]:
    """The panels of one picture, and the overlap of body and person in those with a body."""
    plain, turned = (
        crop_towards(shot.box, shot.K, SIDE, how=how)  # type: ignore[arg-type]
        for how in ("none", "minimal")
    )
    pelvis = body.rest_joints(shot.betas[None])[0, 0].double()
    there = turned.pose(shot.pose_rotmat.double()), turned.transl(shot.transl.double(), pelvis)
    back = turned.pose_back(there[0]), turned.transl_back(there[1], pelvis)
    panels, overlaps = [], []
    for crop, parameters in ((plain, (shot.pose_rotmat, shot.transl)), (turned, there)):
        picture, mask = _cut(crop, shot.image), _cut(crop, shot.mask[..., None] * 255)[..., 0] > 127
        drawn, overlap = _drawn(picture, mask, body, shot.betas, parameters, crop.K)
        panels += [picture, drawn]
        overlaps.append(overlap)
    wide = []
    for parameters in ((shot.pose_rotmat, shot.transl), back):
        drawn, overlap = _drawn(shot.image, shot.mask, body, shot.betas, parameters, shot.K)
        wide.append(_fitted(drawn))
        overlaps.append(overlap)
    return [wide[0], *panels, wide[1]], overlaps


def _cut(crop: TurnedCrop, image: np.ndarray) -> np.ndarray:  # (SIDE, SIDE, C)
    full = torch.from_numpy(np.ascontiguousarray(image).astype(np.uint8)).permute(2, 0, 1)[None]
    one = replace(
        crop, R_crop_full=crop.R_crop_full[None], K=crop.K[None], K_full=crop.K_full[None]
    )
    return np.ascontiguousarray(one.pictures(full)[0].permute(1, 2, 0).numpy())


def _drawn(  # noqa: PLR0913
    picture: np.ndarray,
    mask: np.ndarray,
    body: Body,
    betas: Tensor,
    parameters: tuple[Tensor, Tensor],
    K: Tensor,
) -> tuple[np.ndarray, float]:
    """The picture with a body of these parameters, and how far it overlaps the person."""
    pose, transl = (values.float()[None] for values in parameters)
    vertices, K = body(betas[None], pose, transl).vertices, K.float()
    size = (picture.shape[0], picture.shape[1])
    seen = rasterizer().fragments(vertices, body.faces, K[None], size).pix_to_face[0, ..., 0] >= 0
    covered = seen.numpy()
    overlap = float((covered & mask).sum() / (covered | mask).sum())
    return draw_overlay(picture, vertices, body.faces, K, alpha=0.75), overlap


def _fitted(picture: np.ndarray) -> np.ndarray:  # (SIDE, columns, 3)
    """A panel of the height of all others."""
    import cv2

    columns = round(picture.shape[1] * SIDE / picture.shape[0])
    return cv2.resize(picture, (columns, SIDE), interpolation=cv2.INTER_AREA)


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Panels side by side and rows below each other, with white between them."""
    gap = 4
    lines = []
    for panels in rows:
        parts = [
            np.pad(panel, ((0, gap), (0, gap), (0, 0)), constant_values=255) for panel in panels
        ]
        lines.append(np.concatenate(parts, 1))
    widest = max(line.shape[1] for line in lines)
    fill = [(0, 0), (0, 0), (0, 0)]
    padded = []
    for line in lines:
        fill[1] = (0, widest - line.shape[1])
        padded.append(np.pad(line, fill, constant_values=255))
    return np.concatenate(padded)[:-gap, :-gap]


def main() -> int:
    """Draw, save, say how well bodies fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("perspective.jpg"))
    options = parser.parse_args()
    try:
        if options.count < 1 or options.seed < 0:
            raise InputError("expected --count of at least 1 and --seed of at least 0.")
        if options.out.suffix.lower() not in IMAGE_SUFFIXES:
            raise InputError(f"expected --out FILE.png or FILE.jpg, found {options.out.name}.")
        check_writable(options.out.parent)
        body, rows = load_body(), []
        for shot in shots(options.count, options.seed):
            panels, overlaps = row(shot, body)
            rows.append(panels)
            words = zip(
                ("plain crop", "turned crop", "picture", "turned back"), overlaps, strict=True
            )
            told = ", ".join(f"{name} {overlap:.3f}" for name, overlap in words)
            print(f"{math.degrees(shot.angle):.0f} degrees off: overlap in {told}")
        save_image(options.out, sheet(rows))
    except InputError as error:
        sys.stderr.write(f"perspective_pictures: error: {error}\n")
        return 2
    print(f"wrote {options.out}: {', '.join(TITLES)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
