"""Which joints a picture shows: a depth test against maps of who is where and how far."""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from meshreg.body.smpl import NUM_JOINTS
from meshreg.data.sample import OCCLUDER

SUBJECT = 1
# How deep below the subject's surface a joint may lie and still count as seen: the kinematic joints
# lie inside of limbs and clothes, the landmarks on the skin.
LIMB_DEPTH, SURFACE_DEPTH = 0.14, 0.05


def visible_joints(
    joints_px: Float[Tensor, "B 45 2"],
    joints_depth: Float[Tensor, "B 45"],
    depth: Float[Tensor, "B H W"],
    instance: UInt8[Tensor, "B H W"],
    inside: Bool[Tensor, "B H W"],
) -> tuple[Bool[Tensor, "B 45"], Bool[Tensor, "B 45"]]:
    """(visible, hidden by the subject's own body), as `Sample` defines them.

    `inside` marks the pixels that belong to the full picture.
    """
    height, width = depth.shape[1:]
    nearest = (joints_px + 0.5).floor()
    bounds = joints_px.new_tensor([width, height])
    on_square = ((nearest >= 0) & (nearest < bounds)).all(-1) & (joints_depth > 0)
    column, row = torch.minimum(nearest.clamp_min(0), bounds - 1).long().unbind(-1)
    image = torch.arange(len(depth), device=depth.device)[:, None]
    who, surface = instance[image, row, column], depth[image, row, column]

    in_picture = on_square & inside[image, row, column]
    other_person = (who > SUBJECT) & (who != OCCLUDER) & (surface < joints_depth)
    visible = in_picture & ~other_person & (who != OCCLUDER)
    deepest = torch.full_like(joints_depth, SURFACE_DEPTH)
    deepest[:, :NUM_JOINTS] = LIMB_DEPTH
    self_hidden = visible & (who == SUBJECT) & (joints_depth - surface > deepest)
    return visible, self_hidden
