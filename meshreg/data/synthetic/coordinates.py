"""Where a vertex lies on a body, in the terms that tailors use: along the arm, along the leg, ...

All of it is read off the built-in body's T-pose, so it is the same for every shape and pose.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.geometry.mesh import edges, vertex_normals

SMOOTHING_STEPS = 20  # bridges what cloth bridges: between the breasts, behind the knees
FOOT_STEPS = 40  # until the toes are one


@dataclass(frozen=True, eq=False)
class BodyCoordinates:
    """One value per vertex; lengths in metres."""

    rest: Float[Tensor, "N 3"]  # on the average body in T-pose
    arm: Float[Tensor, " N"]  # 0 shoulder, 1 elbow, 2 wrist; below zero on the trunk
    leg: Float[Tensor, " N"]  # 0 height of the hips, 1 knee, 2 ankle, 3 sole
    neck: Float[Tensor, " N"]  # height above a plane through the neck's root that falls forward
    outward: Float[Tensor, "N 3"]  # unit; out of the body, and smooth
    along_arm: Float[Tensor, "N 3"]  # how a point moves along the skin for one more unit of `arm`
    along_leg: Float[Tensor, "N 3"]  # ... of `leg`
    along_up: Float[Tensor, "N 3"]  # ... for a metre up the trunk
    arm_radius: Float[Tensor, " N"]  # distance from the arm's bones
    leg_radius: Float[Tensor, " N"]  # distance from the leg's bones
    hang: Float[Tensor, " N"]  # how far a vertical drape from the chest hangs off the trunk
    on_hand: Float[Tensor, " N"]  # 0..1
    skin: Float[Tensor, "N 3"]  # above zero on bare face, arms, legs; the trunk is the rest


def coordinates_of(body: Body) -> BodyCoordinates:
    """Read the coordinates off a body in T-pose."""
    rest, joints = body.v_template, body.joints_template
    spot = dict(zip(skeleton("smpl24").joints, joints, strict=True))
    arm, leg, neck = arm_coordinate(rest, spot), leg_coordinate(rest, spot), neck_height(rest, spot)
    outward = vertex_normals(smoothed(body, rest[..., None], SMOOTHING_STEPS)[..., 0], body.faces)
    side = torch.sign(rest[:, :1])
    bone = spot["left_knee"] - spot["left_hip"]
    down = torch.cat([side * bone[0], bone[1:].expand(len(rest), 2)], 1)
    length = (spot["left_elbow"] - spot["left_shoulder"])[0]
    along_x = torch.cat([side * length, torch.zeros_like(rest[:, 1:])], 1)
    up = rest.new_tensor([0.0, 1.0, 0.0]).expand_as(rest)
    return BodyCoordinates(
        rest=rest,
        arm=arm,
        leg=leg,
        neck=neck,
        outward=outward,
        along_arm=within_skin(along_x, outward),
        along_leg=within_skin(down, outward),
        along_up=within_skin(up, outward),
        arm_radius=distance_to_chain(rest, [spot[f"left_{n}"] for n in ("shoulder", "elbow", "wrist")]),
        leg_radius=distance_to_chain(rest, [spot[f"left_{n}"] for n in ("hip", "knee", "ankle")]),
        hang=drape(rest, spot, arm),
        on_hand=((arm - 1.97) / 0.06).clamp(0, 1),
        skin=skin_fields(rest, spot, arm, leg, neck),
    )


def arm_coordinate(rest: Tensor, spot: dict[str, Tensor]) -> Float[Tensor, " N"]:
    """Along the arm; quickly below zero under the armpit, so that no sleeve touches the trunk."""
    x, y = rest[:, 0].abs(), rest[:, 1]
    shoulder, elbow, wrist = (spot[f"left_{n}"] for n in ("shoulder", "elbow", "wrist"))
    upper = (x - shoulder[0]) / (elbow[0] - shoulder[0])
    lower = 1 + (x - elbow[0]) / (wrist[0] - elbow[0])
    below = shoulder[1] - y
    along = torch.where(x < elbow[0], upper, lower)
    return along - 5 * (below - 0.10).clamp(min=0) - 6 * (below - 0.25).clamp(min=0)


def leg_coordinate(rest: Tensor, spot: dict[str, Tensor]) -> Float[Tensor, " N"]:
    """Down the leg, by height."""
    y = rest[:, 1]
    hip, knee, ankle = (spot[f"left_{n}"][1] for n in ("hip", "knee", "ankle"))
    thigh, shin = (hip - y) / (hip - knee), 1 + (knee - y) / (knee - ankle)
    sole = rest[:, 1].min()
    foot = 2 + (ankle - y) / (ankle - sole)
    return torch.where(y > knee, thigh, torch.where(y > ankle, shin, foot))


def neck_height(rest: Tensor, spot: dict[str, Tensor]) -> Float[Tensor, " N"]:
    """Height above the collar's plane, which is lower in front than behind."""
    neck = spot["neck"]
    return rest[:, 1] - neck[1] - 0.02 + 0.55 * (rest[:, 2] - neck[2])


def within_skin(step: Tensor, outward: Tensor) -> Float[Tensor, "N 3"]:
    """The step along the skin whose component along `step` is the same; damped where it is steep."""
    length2 = (step * step).sum(1, keepdim=True)
    tangent = step - (step * outward).sum(1, keepdim=True) * outward
    share = (tangent * step).sum(1, keepdim=True) / length2
    return tangent / share.clamp(min=0.5)


def distance_to_chain(rest: Tensor, chain: list[Tensor]) -> Float[Tensor, " N"]:
    """Distance from the line through the given joints, on either side of the body."""
    points = torch.cat([rest[:, :1].abs(), rest[:, 1:]], 1)
    distances = []
    for start, end in zip(chain, chain[1:], strict=False):
        bone = end - start
        t = ((points - start) @ bone / (bone @ bone)).clamp(0, 1)
        distances.append((points - start - t[:, None] * bone).norm(dim=1))
    return torch.stack(distances).amin(0)


def drape(rest: Tensor, spot: dict[str, Tensor], arm: Tensor) -> Float[Tensor, " N"]:
    """How far cloth that falls straight from chest and seat hangs off the trunk.

    The trunk is cut into sectors; in each, cloth is as wide as the widest place above.
    """
    centre = rest.new_tensor([0.0, 0.0, float(spot["spine1"][2]) + 0.02])
    flat = (rest - centre)[:, [0, 2]]
    radius, angle = flat.norm(dim=1), torch.atan2(flat[:, 0].abs(), flat[:, 1])
    top, bottom = spot["left_shoulder"][1] - 0.07, spot["left_hip"][1] - 0.10
    trunk = (arm < 0.1) & (rest[:, 1] < top) & (rest[:, 1] > bottom)
    near = (angle[:, None] - angle).abs() < 0.16
    above = (rest[:, None, 1] < rest[:, 1] + 0.01) & trunk
    widest = torch.where(near & above, radius, torch.zeros_like(radius)).amax(1)
    gap = (widest - radius).clamp(0, 0.09) * trunk
    fade = ((rest[:, 1] - bottom) / 0.05).clamp(0, 1)
    return gap * fade


def skin_fields(
    rest: Tensor, spot: dict[str, Tensor], arm: Tensor, leg: Tensor, neck: Tensor
) -> Float[Tensor, "N 3"]:
    """How far inside face, arms and legs, metres; where all are below zero, skin is the trunk's."""
    face = rest[:, 1] - spot["head"][1] + 0.045 + 0.9 * (0.06 - (rest[:, 2] - 0.03)).clamp(-0.08, 0.06) * 0.5
    groin = 0.45 * rest[:, 0].abs() - 0.02
    legs = torch.minimum(0.38 * leg - 0.03 + groin, spot["pelvis"][1] - 0.04 - rest[:, 1])
    return torch.stack([torch.minimum(face, neck + 0.02), 0.25 * (arm - 0.02), legs], 1)


def smoothed(body: Body, values: Float[Tensor, "N 3 S"], steps: int) -> Float[Tensor, "N 3 S"]:
    """Values that each step moves halfway to the mean of their neighbours over the mesh."""
    ends = edges(body.faces)
    ends = torch.cat([ends, ends.flip(1)])
    count = torch.bincount(ends[:, 0], minlength=len(values)).to(values)
    share = 1 / count[ends[:, 0]]
    mean = torch.sparse_coo_tensor(ends.T, share, (len(values),) * 2).coalesce()
    flat = values.flatten(1)
    for _ in range(steps):
        flat = 0.5 * (flat + torch.sparse.mm(mean, flat))
    return flat.view_as(values)


@dataclass(frozen=True, eq=False)
class Form:
    """A rest shape of the body's surface, linear in the betas: what cloth makes of a body."""

    template: Float[Tensor, "N 3"]
    shapedirs: Float[Tensor, "N 3 S"]

    def at(self, betas: Float[Tensor, "P S"]) -> Float[Tensor, "P N 3"]:
        flat = betas @ self.shapedirs.flatten(0, 1).T
        return self.template + flat.view(len(betas), -1, 3)


def bare_form(body: Body) -> Form:
    return Form(body.v_template, body.shapedirs)


def smooth_form(body: Body, outward: Float[Tensor, "N 3"], steps: int = SMOOTHING_STEPS) -> Form:
    """A body without dents: smoothed, and where that took away, grown back to what was there."""
    both = torch.cat([body.v_template[..., None], body.shapedirs], -1)
    both = smoothed(body, both, steps)
    template = both[..., 0]
    lost = ((body.v_template - template) * outward).sum(1, keepdim=True).clamp(min=0)
    lost = smoothed(body, lost[..., None].expand(-1, 3, 1), 4)[:, :1, 0]
    return Form(template + 1.1 * lost * outward, both[..., 1:])
