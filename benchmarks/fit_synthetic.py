"""How accurate is the fit on undressed people with exact keypoints and silhouettes?

Run: `python benchmarks/fit_synthetic.py MOTION.npz [--people 20] [--seed 0] [--noise 0.01]
[--no-mask] [--start 0.1]`. The people take poses of CMU subjects 5, 14 and 86, which the shipped
pose prior has never seen, with random shapes and cameras. With `--start` the fit does not search:
it begins at the truth with noise of so many radians on every axis of every joint, as a regressor
might give it.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import Body, load_body
from meshreg.clothing.labels import PERSON_LABEL
from meshreg.data.keypoints import Keypoints
from meshreg.data.motion import Motion, load_motion
from meshreg.fit.settings import FitSettings
from meshreg.fit.smplify import BodyFitter
from meshreg.fit.variables import BodyVariables, variables_of
from meshreg.geometry.cameras import Camera, camera_from_fov, project
from meshreg.losses.priors import load_pose_prior
from meshreg.metrics import pa_mpjpe, root_aligned_mpjpe
from meshreg.render.rasterizer import Rasterizer, rasterizer
from meshreg.train.pose_prior import usable_frames

SUBJECTS = (5, 14, 86)
SIZE = (512, 512)
JOINTS = 22  # SMPL's body joints; the hands' two are not in mocap


@dataclass(frozen=True, eq=False)
class Person:
    """One rendered person and the truth about it."""

    keypoints: Keypoints
    labels: np.ndarray  # (H, W) plain silhouette
    camera: Camera
    joints_cam: Tensor  # (24, 3) metres
    vertices_cam: Tensor  # (V, 3)
    betas: Tensor  # (1, S)
    pose_rotmat: Tensor  # (1, 24, 3, 3)
    transl: Tensor  # (1, 3) metres


def people(motion: Motion, body: Body, count: int, seed: int) -> Iterator[Person]:
    """Draw people: subjects in turn, any frame, any heading, normal betas, fields of view 30-70."""
    generator = torch.Generator().manual_seed(seed)
    points, draw = BodyKeypoints(body, "coco17"), rasterizer()
    subject = torch.tensor(motion.subject)[motion.clip]
    usable = usable_frames(motion, ())
    for number in range(count):
        frames = (usable & (subject == SUBJECTS[number % len(SUBJECTS)])).nonzero()[:, 0]
        frame = int(frames[torch.randint(len(frames), (), generator=generator)])
        yield _person(motion.poses[frame], body, points, draw, generator)


def _person(
    pose: Tensor,
    body: Body,
    points: BodyKeypoints,
    draw: Rasterizer,
    generator: torch.Generator,
) -> Person:
    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, uniform(0, 2 * math.pi), 0.0]))
    tilt = roma.euler_to_rotmat("XYZ", [uniform(-10, 25), 0.0, 0.0], degrees=True)
    pose_rotmat = roma.rotvec_to_rotmat(pose)[None]
    pose_rotmat[:, 0] = (
        torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ tilt @ turn @ pose_rotmat[:, 0]
    )
    betas = torch.randn(1, body.num_betas, generator=generator)
    camera = camera_from_fov(uniform(30, 70), SIZE)
    # Far enough for the body to fill a share of the picture, and somewhat off its middle.
    vertices, _ = body.skin(betas, pose_rotmat, torch.zeros(1, 3))
    low, high = vertices[0].amin(0), vertices[0].amax(0)
    extent = float((high - low)[:2].max())
    depth = float(camera.K[0, 0]) * extent / (uniform(0.6, 0.85) * SIZE[0])
    offset = torch.tensor([uniform(-0.05, 0.05) * depth, uniform(-0.05, 0.05) * depth, depth])
    transl = (offset - (low + high) / 2)[None]
    vertices, joints = body.skin(betas, pose_rotmat, transl)
    keypoints, _ = points(betas, pose_rotmat, transl)
    seen = draw.fragments(vertices, body.faces, camera.K[None], SIZE).pix_to_face[0, ..., 0] >= 0
    return Person(
        keypoints=Keypoints(
            skeleton="coco17",
            points_px=project(keypoints, camera.K[None])[0].numpy(),
            confidence=np.ones(keypoints.shape[1], np.float32),
        ),
        labels=np.where(seen.numpy(), np.uint8(PERSON_LABEL), np.uint8(0)),
        camera=camera,
        joints_cam=joints[0],
        vertices_cam=vertices[0],
        betas=betas,
        pose_rotmat=pose_rotmat,
        transl=transl,
    )


def start_near(
    person: Person, noise: float, body: Body, generator: torch.Generator
) -> BodyVariables:
    """The truth with errors in every joint, in shape, and in distance."""
    turns = noise * torch.randn(1, 24, 3, generator=generator)
    away = 1 + 0.5 * noise * torch.randn(1, 1, generator=generator)
    shape = 0.5 * torch.randn(person.betas.shape, generator=generator)
    pose = person.pose_rotmat @ roma.rotvec_to_rotmat(turns)
    return variables_of(body, person.betas + shape, pose, person.transl * away)


def errors(joints: Tensor, vertices: Tensor, person: Person) -> dict[str, float]:
    """PA-MPJPE, MPJPE and PVE (both after moving the pelvis) in mm."""
    found, truth = joints[:JOINTS], person.joints_cam[:JOINTS]
    mesh = vertices - found[:1], person.vertices_cam - truth[:1]
    return {
        "PA-MPJPE mm": 1000 * float(pa_mpjpe(found, truth)),
        "MPJPE mm": 1000 * float(root_aligned_mpjpe(found, truth)),
        "PVE mm": 1000 * float((mesh[0] - mesh[1]).norm(dim=-1).mean()),
    }


def start_errors(start: BodyVariables, body: Body, person: Person) -> dict[str, float]:
    """The same of the body that a fit starts from."""
    vertices, joints = body.skin(start.betas, start.pose_rotmat(), start.transl(body))
    found = errors(joints[0], vertices[0], person)
    return {f"start {name}": value for name, value in found.items()}


def with_noise(person: Person, noise: float, generator: torch.Generator) -> Keypoints:
    """The keypoints with Gaussian errors, in shares of the person's size."""
    points = person.keypoints.points_px
    spread = noise * float(np.linalg.norm(np.ptp(points, axis=0)))
    errors_px = spread * torch.randn(points.shape, generator=generator).numpy()
    return replace(person.keypoints, points_px=points + errors_px.astype(np.float32))


def main(
    motion_path: Path,
    count: int,
    seed: int,
    *,
    noise: float = 0.0,
    mask: bool = True,
    start_noise: float | None = None,
    settings: FitSettings | None = None,
) -> dict[str, list[float]]:
    """Fit everybody, print a line each and the medians."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    body = load_body()
    prior, bank = load_pose_prior()
    fitter = BodyFitter(
        body=body, prior=prior, bank=bank, rasterizer=rasterizer(), settings=settings
    )
    rows: dict[str, list[float]] = {}
    for number, person in enumerate(people(load_motion(motion_path), body, count, seed)):
        keypoints = with_noise(person, noise, generator)
        start, row = None, {}
        if start_noise is not None:
            start = start_near(person, start_noise, body, generator)
            row = start_errors(start, body, person)
        begin = time.perf_counter()
        fit = fitter(keypoints, person.camera, person.labels if mask else None, start=start)
        row |= {"s": time.perf_counter() - begin, "IoU": fit.silhouette_iou, "px": fit.error_px}
        row |= errors(fit.joints_cam, fit.vertices_cam, person)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
        print(number, "  ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True)
    for name, values in rows.items():
        worst = min(values) if name == "IoU" else max(values)
        print(f"{name}: median {statistics.median(values):.3f}, worst {worst:.3f}")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("motion", type=Path)
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=0.0, help="keypoint error / person's size")
    parser.add_argument("--no-mask", action="store_true", help="fit to the keypoints alone")
    parser.add_argument("--start", type=float, help="begin near the truth: radians of noise")
    arguments = parser.parse_args()
    main(
        arguments.motion,
        arguments.people,
        arguments.seed,
        noise=arguments.noise,
        mask=not arguments.no_mask,
        start_noise=arguments.start,
    )
