"""Somebody who walks on the spot, as a body, as 2D keypoints of a film, and as a lifter sees it."""

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import roma
import torch
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.geometry.cameras import camera_from_fov, project

SIZE = (480, 640)
CAMERA = camera_from_fov(60.0, SIZE)
SMPL = SKELETONS["smpl24"]


@dataclass(frozen=True)
class Walk:
    """The truth; the person looks at the camera, half turned to the picture's right."""

    pose_rotmat: Tensor  # (T, 24, 3, 3)
    transl: Tensor  # (T, 3)
    betas: Tensor  # (10,)
    h36m: Tensor  # (T, 17, 3) metres
    coco_px: Tensor  # (T, 17, 2)
    h36m_px: Tensor  # (T, 17, 2)


@cache
def walk(frames: int = 8) -> Walk:
    body = load_body()
    phase = torch.linspace(0, 2 * math.pi, frames + 1)[:-1]
    rotvec = torch.zeros(frames, 24, 3)

    def turn(name: str, axis: int, angle: Tensor) -> None:
        rotvec[:, SMPL.index(name)[0], axis] = angle

    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * phase.sin()
        turn(f"{side}_hip", 0, -0.5 * swing)
        turn(f"{side}_knee", 0, 0.6 + 0.4 * swing)
        turn(f"{side}_shoulder", 2, torch.full((frames,), -1.2 * sign))
        turn(f"{side}_elbow", 1, -sign * (0.9 + 0.2 * swing))
    pose = roma.rotvec_to_rotmat(rotvec)
    half_turn = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    pose[:, 0] = half_turn @ roma.rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0]))
    betas = torch.tensor([0.8, -0.5] + [0.0] * 8)
    transl = torch.tensor([0.2, 0.3, 4.0]) + 0.2 * torch.stack([phase.sin()] * 3, 1) * 0.5
    shape = betas.expand(frames, -1)
    with torch.no_grad():
        h36m, _ = BodyKeypoints(body, "h36m17")(shape, pose, transl)
        coco, _ = BodyKeypoints(body, "coco17")(shape, pose, transl)
    K = CAMERA.K.expand(frames, 3, 3)
    return Walk(pose, transl, betas, h36m, project(coco, K), project(h36m, K))


def coco_person(points_px: Tensor, confidence: float = 0.9) -> dict[str, object]:
    return {"keypoints": [n for x, y in points_px.tolist() for n in (x, y, confidence)]}


def coco_file(path: Path, frames: int = 8) -> Path:
    """Results in COCO's layout, a person per frame."""
    people = [coco_person(p) | {"image_id": i} for i, p in enumerate(walk(frames).coco_px)]
    path.write_text(json.dumps(people))
    return path
