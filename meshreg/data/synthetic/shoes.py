"""The form of a shoe: a foot without toes on a flat sole.

A shoe is drawn around a line through the foot from heel to ball: in each direction from that line
it lies where a rounded box ends, or at the foot's skin if that is further out.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.data.synthetic.coordinates import BodyCoordinates, named_joints, ramp, smoothed

# The line, and the box around it: metres from the ankle, forward and up from the ground.
HEEL, BALL, CORE_HEIGHT = -0.022, 0.112, 0.026
HEEL_WIDTH, BALL_WIDTH = 0.036, 0.053  # half of it
BEFORE, BEHIND, ABOVE, BELOW = 0.124, 0.046, 0.024, 0.027  # from the line's ends
ROUNDNESS = 2.6  # 2: an ellipsoid; larger: a box
TOE_OUT = 0.004  # the ball lies this much further out than the heel
UPPER = 0.005  # thickness over the foot
FOOT_STEPS = 16  # of smoothing, until the toes are one
TOES = (0.115, 0.140)  # where they begin before the ankle, metres
WELT = 0.005  # how far the sole's rim stands out
RIM_HEIGHT = 0.016


@dataclass(frozen=True, eq=False)
class Shoes:
    """How feet change into shoes, on the average body in T-pose."""

    change: Float[Tensor, "V 3"]  # metres
    sole: Float[Tensor, "V 3"]  # per metre of thickness under the foot
    on_foot: Float[Tensor, " V"]  # 1 where a shoe has a form of its own, 0 above the ankle

    def at(
        self, share: Float[Tensor, "P V"], thickness: Float[Tensor, "P 1"]
    ) -> Float[Tensor, "P V 3"]:
        """Offsets that put shoes on feet where `share` is 1."""
        return share[..., None] * (self.change + thickness[..., None] * self.sole)


def make_shoes(body: Body, at: BodyCoordinates) -> Shoes:
    """Shape the shoe of both feet."""
    ankle = named_joints(body)["left_ankle"]
    flip = torch.where(at.rest[:, :1] < 0, -1.0, 1.0)
    in_toes = ramp(at.rest[:, 2] - ankle[2], *TOES) * (at.leg > 0.8)
    toeless = smoothed(body, at.rest[..., None], FOOT_STEPS, in_toes)[..., 0]
    foot, blob = (torch.cat([p[:, :1] * flip, p[:, 1:]], 1) for p in (at.rest, toeless))
    ground = foot[:, 1].min()
    along = (blob[:, 2] - ankle[2]).clamp(HEEL, BALL)
    share = (along - HEEL) / (BALL - HEEL)
    core = torch.stack(
        [
            ankle[0] + TOE_OUT * share,
            (ground + CORE_HEIGHT).expand_as(along),
            along + ankle[2],
        ],
        1,
    )
    way = blob - core
    length = way.norm(dim=1, keepdim=True).clamp(min=1e-6)
    shoe = core + way / length * torch.maximum(box_radius(way / length, share), length + UPPER)
    above = shoe[:, 1] - ground
    rim = 1 - ramp(above, 0.7 * RIM_HEIGHT, 1.1 * RIM_HEIGHT)
    level = way * way.new_tensor([1.0, 0.0, 1.0])
    shoe = shoe + (WELT * rim)[:, None] * level / level.norm(dim=1, keepdim=True).clamp(min=0.01)
    bottom = 1 - ramp(above, 0.5 * RIM_HEIGHT, 0.6 * RIM_HEIGHT)
    flat = torch.stack([shoe[:, 0], ground.expand_as(above), shoe[:, 2]], 1)
    shoe = shoe + bottom[:, None] * (flat - shoe)
    on_foot = ramp(at.leg, 0.72, 0.80) * (at.arm < 0)
    change = (shoe - foot) * on_foot[:, None]
    change = torch.cat([change[:, :1] * flip, change[:, 1:]], 1)
    sole = (bottom * on_foot)[:, None] * change.new_tensor([0.0, -1.0, 0.0])
    return Shoes(change, sole, on_foot)


def box_radius(direction: Float[Tensor, "V 3"], share: Float[Tensor, " V"]) -> Float[Tensor, "V 1"]:
    """How far the rounded box reaches in each direction; `share` goes from heel to ball."""
    side, up, front = direction.abs().unbind(1)
    width = HEEL_WIDTH + (BALL_WIDTH - HEEL_WIDTH) * share
    height = torch.where(direction[:, 1] > 0, ABOVE, BELOW)
    depth = torch.where(direction[:, 2] > 0, BEFORE, BEHIND)
    terms = [(a / b) ** ROUNDNESS for a, b in ((side, width), (up, height), (front, depth))]
    return (torch.stack(terms).sum(0) ** (-1 / ROUNDNESS))[:, None]
