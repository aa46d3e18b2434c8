"""Where hair, glasses and hats lie on the head of the built-in body in T-pose."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.data.synthetic.coordinates import SCALP_CENTRE, named_joints

# Heights over the head's joint and distances in front of it, metres.
EYE_HEIGHT, EYE_SIDE = 0.068, 0.031
FOREHEAD_EDGE = 0.132  # where hair begins in the middle of the forehead
NAPE_EDGE = -0.022  # where it ends behind
BALL_RADIUS = 0.103  # from the scalp's centre
TEMPLE = 0.052  # how far before the joint the temples' edge lies at the eyes' height


@dataclass(frozen=True, eq=False)
class HeadCoordinates:
    """One value per vertex, metres; far below zero off the head."""

    hair: Float[Tensor, " V"]  # inside the usual hairline
    crown: Float[Tensor, " V"]  # below the top of the head
    glasses: Float[Tensor, " V"]  # inside the lenses, bridge and temples of sunglasses
    hat: Float[Tensor, " V"]  # above the edge of a hat
    ball: Float[Tensor, " V"]  # how much hair a ball around the head adds to an even layer


def head_coordinates(body: Body) -> HeadCoordinates:
    """Read them off the body in T-pose."""
    at = body.v_template - named_joints(body)["head"]
    side, up, front = at[:, 0].abs(), at[:, 1], at[:, 2]
    off_head = torch.minimum(up + 0.08, 0.14 - side)

    def on_head(field: Tensor) -> Float[Tensor, " V"]:
        return torch.where(off_head > 0, field, field.new_tensor(-1.0))

    return HeadCoordinates(
        hair=on_head(hairline(side, up, front)),
        crown=torch.where(off_head > 0, up[off_head > 0].max() - up, up.new_tensor(1.0)),
        glasses=on_head(sunglasses(side, up, front)),
        ball=(BALL_RADIUS - (at - at.new_tensor(SCALP_CENTRE)).norm(dim=1)).clamp(-0.03, 0.05),
        hat=on_head(above_hat_edge(up, front)),
    )


def above_hat_edge(up: Tensor, front: Tensor) -> Tensor:
    """Height over the edge of a hat, which lies higher in front than behind."""
    return up - 0.098 - 0.18 * front


def hairline(side: Tensor, up: Tensor, front: Tensor) -> Float[Tensor, " V"]:
    """How far inside the hair: behind the temples or above the forehead, above the nape."""
    forehead = up - FOREHEAD_EDGE + 1.2 * (side - 0.045).clamp(min=0)
    behind_temples = TEMPLE + 0.25 * (up - EYE_HEIGHT).clamp(min=0) - front
    inside = smooth_maximum(forehead, behind_temples)
    lower = NAPE_EDGE + 0.95 * (front + 0.03).clamp(0, 0.075)
    inside = torch.minimum(inside, up - lower)
    # Ears stick out of the hair.
    ear = torch.minimum(side - 0.0705, 0.075 - up)
    return torch.minimum(inside, -ear)


def smooth_maximum(a: Tensor, b: Tensor, softness: float = 0.012) -> Tensor:
    return softness * torch.logaddexp(a / softness, b / softness)


def sunglasses(side: Tensor, up: Tensor, front: Tensor) -> Float[Tensor, " V"]:
    """Two lenses, a bridge, and temples back to the ears."""
    across, along = (side - EYE_SIDE - 0.002) / 0.029, (up - EYE_HEIGHT + 0.004) / 0.022
    lens = 0.022 * (1 - (across**4 + along**4) ** 0.25)
    lens = torch.minimum(lens, front - 0.05)
    bar = 0.0045 - (up - EYE_HEIGHT - 0.007).abs()
    bridge = torch.minimum(bar, 0.03 - side)
    bridge = torch.minimum(bridge, front - 0.05)
    temple = torch.minimum(torch.minimum(bar, side - 0.05), front - 0.005)
    return torch.maximum(lens, torch.maximum(bridge, temple))
