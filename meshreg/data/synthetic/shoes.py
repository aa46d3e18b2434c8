"""The form of a shoe: a foot without toes on a flat sole."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.data.synthetic.coordinates import BodyCoordinates, Form, smooth_form

FOOT_STEPS = 60  # smoothing until the toes are one
SOLE_HEIGHT = 0.022  # metres above the ground where a sole's rim ends


@dataclass(frozen=True, eq=False)
class Shoes:
    """Turns feet into shoes, on the shaped body in T-pose."""

    last: Form
    outward: Float[Tensor, "V 3"]
    on_foot: Float[Tensor, " V"]  # 1 below the ankles

    def shaped(
        self,
        rest: Float[Tensor, "P V 3"],
        betas: Float[Tensor, "P S"],
        share: Float[Tensor, "P V"],
        sole: Float[Tensor, "P 1"],
    ) -> Float[Tensor, "P V 3"]:
        """Rest vertices with feet in shoes where `share` is 1; `sole` metres thick below."""
        last = self.last.at(betas)
        ground = torch.where(self.on_foot > 0, rest[..., 1], torch.inf).amin(1, keepdim=True)
        above = last[..., 1] - ground
        rim = 1 - ((above - 0.004) / SOLE_HEIGHT).clamp(0, 1)
        wide = self.outward * self.outward.new_tensor([1.0, 0.0, 1.0])
        last = last + (0.004 + 0.005 * (rim > 0.25))[..., None] * wide
        # What touches the ground is level, and a sole's thickness lower.
        down = torch.where(above < 0.016, ground - sole, last[..., 1])
        last = torch.stack([last[..., 0], down, last[..., 2]], -1)
        return rest + (share * self.on_foot)[..., None] * (last - rest)


def make_shoes(body: Body, at: BodyCoordinates) -> Shoes:
    """Prepare the last: the smooth foot that shoes are built around."""
    ankle = -float(body.joints_template[7, 1] - body.joints_template[1, 1])
    on_foot = ((at.leg - ankle + 0.04) / 0.05).clamp(0, 1) * (at.arm < 0)
    return Shoes(smooth_form(body, at.outward, FOOT_STEPS), at.outward, on_foot)
