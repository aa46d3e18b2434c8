"""Stand-ins for tests: random poses, and a generator that draws bare grey bodies."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from meshreg.body.assets import load_body_data
from meshreg.body.smpl import Body, load_body
from meshreg.clothing.labels import Label
from meshreg.data.sample import Batch, Sample, inside_picture, joint_pixels
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.scene import Planner, ScenePlan
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.data.visibility import visible_joints
from meshreg.render.rasterizer import rasterizer


@dataclass(frozen=True, eq=False)
class Bend:
    root_rotmat: np.ndarray
    body_pose: np.ndarray


class RandomBends:
    """Standing people with every joint bent a little."""

    def sample(self, rng: np.random.Generator) -> Bend:
        return Bend(np.eye(3), rng.uniform(-0.3, 0.3, (23, 3)))


class BareBodies:
    """Bodies as grey as their depth, composed by depth: exact maps without any clothes."""

    def __init__(self, body: Body) -> None:
        self.body, self.rasterizer = body, rasterizer()

    def render(self, plans: Sequence[ScenePlan]) -> Batch:
        return Sample(**_stacked([self._draw(plan) for plan in plans]))

    def _draw(self, plan: ScenePlan) -> dict[str, Tensor]:
        size, people = plan.size, plan.people
        betas = _tensor([p.betas for p in people])
        pose = _tensor([p.pose_rotmat for p in people])
        posed = self.body(betas, pose, _tensor([p.transl for p in people]))
        K = _tensor([plan.K] * len(people))
        shape = (size, size)
        seen = self.rasterizer.fragments(posed.vertices, self.body.faces, K, shape)
        hit, face = seen.pix_to_face[..., 0] >= 0, seen.pix_to_face[..., 0]
        depths = torch.where(hit, seen.zbuf[..., 0], torch.inf)
        depth, front = depths.min(0)
        someone = depth.isfinite()
        instance = torch.where(someone, front + 1, 0).to(torch.uint8)
        depth = torch.where(someone, depth, 0.0)
        subject = instance == 1
        moved_by = self.body.weights.argmax(1)[self.body.faces[:, 0]]
        part = torch.where(subject, moved_by[face[0].long().clamp_min(0)], 255)
        labels = torch.where(subject, int(Label.TORSO_SKIN), 0)
        labels = torch.where(hit[0] & ~subject, 255, labels)
        grey = (255 * torch.exp(-depth / 4) * someone).to(torch.uint8)
        full_size, box = torch.tensor(plan.full_size), _tensor(plan.box)
        inside = inside_picture(full_size[None], box[None], size)
        joints, K_one = posed.joints[:1], K[:1]
        pixels = joint_pixels(joints, K_one)
        visible, self_hidden = visible_joints(
            pixels, joints[..., 2], depth[None], instance[None], inside
        )
        return {
            "image": grey.expand(3, -1, -1),
            "K": K_one[0],
            "K_full": _tensor(plan.K_full),
            "full_size": full_size,
            "box": box,
            "betas": betas[0],
            "pose_rotmat": pose[0],
            "transl": _tensor(people[0].transl),
            "joints_cam": joints[0],
            "joints_px": pixels[0],
            "joints_visible": visible[0],
            "joints_self_hidden": self_hidden[0],
            "vertices_cam": posed.vertices[0],
            "labels": labels.to(torch.uint8),
            "depth": depth,
            "part": part.to(torch.uint8),
            "instance": instance,
            "index": torch.tensor(plan.index),
        }


def _tensor(values: object) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _stacked(samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


@cache
def plain_body() -> Body:
    return load_body()


def plain_planner(seed: int = 0, *, size: int = 48, **settings: object) -> Planner:
    chosen = SceneSettings(size=size, **settings)
    return Planner(seed, poses=RandomBends(), body=load_body_data(), settings=chosen)


def plain_people(seed: int = 0, size: int = 48) -> SyntheticPeople:
    """What worker processes call: it is found by its name."""
    generator = BareBodies(plain_body())
    return SyntheticPeople(plain_planner(seed, size=size), generator, batch_size=4)
