"""Scenes as a camera sees them that turned towards the subject: drawn so, not warped.

A ready-cut picture can only be turned as far as it reaches, and the corners of a turned one stay
black. Here the turned camera itself looks at the scene; black is only what the full picture lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.data.sample import HIDDEN_LABEL, Batch
from meshreg.data.synthetic.scene import Generator, PersonPlan, ScenePlan
from meshreg.geometry.turned_crop import TurnedCrop, can_turn, crop_towards


@dataclass(frozen=True, eq=False)
class TurnedGenerator:
    """Another generator's pictures, by cameras that turned towards the middles of their boxes.

    Each picture is a full one: K_full is K, and the box is the whole picture. Boxes that a turned
    camera could not see whole are drawn as they were planned.
    """

    generator: Generator
    body: Body  # about whose pelvis people turn

    def render(self, plans: Sequence[ScenePlan]) -> Batch:
        """Draw all plans as one batch, in their order."""
        crops = [_crop(plan) for plan in plans]
        drawn = [
            plan if crop is None else self._turned(plan, crop)
            for plan, crop in zip(plans, crops, strict=True)
        ]
        shown = [_shown(plan, crop) for plan, crop in zip(plans, crops, strict=True)]
        return _without(self.generator.render(drawn), ~torch.stack(shown))

    def _turned(self, plan: ScenePlan, crop: TurnedCrop) -> ScenePlan:
        """The same people and the same world, before the crop's camera."""
        R, size = crop.R_crop_full.numpy(), plan.size
        K, middle = crop.K.numpy(), (size - 1) / 2
        return replace(
            plan,
            people=tuple(self._seen_by(R, person) for person in plan.people),
            K=K,
            K_full=K,
            full_size=(size, size),
            R_cam_world=R @ plan.R_cam_world,
            box=np.array([middle, middle, size]),
        )

    def _seen_by(self, R: Float[np.ndarray, "3 3"], person: PersonPlan) -> PersonPlan:
        betas = torch.from_numpy(person.betas).to(self.body.v_template)
        pelvis = self.body.rest_joints(betas[None])[0, 0].double().cpu().numpy()
        return replace(
            person,
            root_rotmat=R @ person.root_rotmat,
            transl=R @ (person.transl + pelvis) - pelvis,
        )


def _crop(plan: ScenePlan) -> TurnedCrop | None:
    """The picture of the turned camera; None if it could not see the whole box."""
    centre, half = plan.box[:2], plan.box[2] / 2
    box, K = torch.from_numpy(np.concatenate([centre - half, centre + half])), plan.K_full
    K_full = torch.from_numpy(np.asarray(K, np.float64))
    if not bool(can_turn(box, K_full)):
        return None
    return crop_towards(box, K_full, plan.size, fit="area")


def _shown(plan: ScenePlan, crop: TurnedCrop | None) -> Bool[Tensor, "S S"]:
    """Which pixels of the crop the full picture shows."""
    if crop is None:  # the generator knows itself
        return torch.ones(plan.size, plan.size, dtype=torch.bool)
    steps = torch.arange(plan.size, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    back = torch.cat([grid, torch.ones_like(grid[..., :1])], -1) @ crop.full_from_crop.T
    x, y = (back[..., :2] / back[..., 2:]).unbind(-1)
    height, width = plan.full_size
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    return inside & (back[..., 2] > 0)


def _without(batch: Batch, unseen: Bool[Tensor, "B S S"]) -> Batch:
    """The batch with some pixels black and unknown."""
    unseen = unseen.to(batch.image.device)
    column, row = batch.joints_px.round().long().clamp(0, unseen.shape[-1] - 1).unbind(-1)
    number = torch.arange(len(batch), device=unseen.device)[:, None]
    return replace(
        batch,
        image=batch.image.masked_fill(unseen[:, None], 0),
        labels=batch.labels.masked_fill(unseen, HIDDEN_LABEL),
        joints_visible=batch.joints_visible & ~unseen[number, row, column],
    )
