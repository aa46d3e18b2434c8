"""Where a vertex lies on a body, in the terms that tailors use: along the arm, along the leg, ...

All of it is read off the built-in body's T-pose, so it is the same for every shape and pose.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.geometry.mesh import edges, vertex_normals

SCALP_CENTRE = (0.0, 0.075, 0.0)  # from the head's joint, metres; hair grows away from it
SMOOTHING_STEPS = 20  # bridges what cloth bridges: between the breasts, behind the knees


@dataclass(frozen=True, eq=False)
class BodyCoordinates:
    """One value per vertex of the body in T-pose, metres."""

    rest: Float[Tensor, "V 3"]  # on the average body
    arm: Float[Tensor, " V"]  # along the arm from the shoulder; well below zero on the trunk
    leg: Float[Tensor, " V"]  # below the height of the hips; also on the trunk, below zero there
    neck: Float[Tensor, " V"]  # height above a plane through the neck's root that falls forward
    outward: Float[Tensor, "V 3"]  # where cloth goes as it widens; about unit, and smooth
    along_arm: Float[Tensor, "V 3"]  # how a point moves along the skin as `arm` grows by a metre
    along_leg: Float[Tensor, "V 3"]  # as `leg` grows by a metre
    slides: Bool[Tensor, " V"]  # not on insteps and in the crotch, where `leg` hardly changes
    arm_radius: Float[Tensor, " V"]  # distance from the arm's bones
    leg_radius: Float[Tensor, " V"]  # distance from the leg's bones
    hang: Float[Tensor, " V"]  # how far a vertical drape from the chest hangs off the trunk
    shoe: Float[Tensor, " V"]  # as `leg`, but the opening of a shoe rises over the instep
    skin: Float[Tensor, "V 3"]  # above zero on bare face, arms, legs; the trunk is the rest


@dataclass(frozen=True)
class LimbScale:
    """Turns tailors' units (0 shoulder, 1 elbow, 2 wrist) into metres along the limb."""

    stations: tuple[float, ...]  # metres at 0, 1, 2, ...

    def metres(self, units: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        last = len(self.stations) - 2
        piece = units.floor().clamp(0, last).long()
        at = units.new_tensor(self.stations)
        return at[piece] + (units - piece) * (at[piece + 1] - at[piece])


def limb_scales(body: Body) -> tuple[LimbScale, LimbScale]:
    """Of the arm (shoulder, elbow, wrist) and the leg (hip, knee, ankle, sole)."""
    spot = named_joints(body)
    arm = [float(spot[f"left_{n}"][0]) for n in ("shoulder", "elbow", "wrist")]
    leg = [-float(spot[f"left_{n}"][1]) for n in ("hip", "knee", "ankle")]
    leg.append(-float(body.v_template[:, 1].min()))
    return LimbScale(tuple(x - arm[0] for x in arm)), LimbScale(tuple(y - leg[0] for y in leg))


def named_joints(body: Body) -> dict[str, Float[Tensor, "3"]]:
    return dict(zip(skeleton("smpl24").joints, body.joints_template, strict=True))


def coordinates_of(body: Body) -> BodyCoordinates:
    """Read the coordinates off a body in T-pose."""
    rest, spot = body.v_template, named_joints(body)
    arm = arm_coordinate(rest, spot)
    leg, neck = spot["left_hip"][1] - rest[:, 1], neck_height(rest, spot)
    chains = [("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")]
    off_bone = [from_chain(rest, [spot[f"left_{n}"] for n in chain]) for chain in chains]
    normals = vertex_normals(smoothed(body, rest[..., None], SMOOTHING_STEPS)[..., 0], body.faces)
    outward = cloth_direction(normals, off_bone, arm, leg)
    scalp = normalize(rest - spot["head"] - rest.new_tensor(SCALP_CENTRE), dim=1)
    on_scalp = ramp(rest[:, 1] - spot["head"][1], 0.02, 0.08)[:, None]
    outward = outward + on_scalp * (scalp - outward)
    sideways = torch.where(rest[:, :1] < 0, -1.0, 1.0) * rest.new_tensor([1.0, 0.0, 0.0])
    down = rest.new_tensor([0.0, -1.0, 0.0]).expand_as(rest)
    return BodyCoordinates(
        rest=rest,
        arm=arm,
        leg=leg,
        neck=neck,
        outward=outward,
        along_arm=within_skin(sideways, normals),
        along_leg=within_skin(down, normals),
        slides=normals[:, 1].abs() < 0.75,
        arm_radius=off_bone[0].norm(dim=1),
        leg_radius=off_bone[1].norm(dim=1),
        hang=drape(rest, spot, arm),
        shoe=leg + 0.6 * (rest[:, 2] - spot["left_ankle"][2]).clamp(-0.03, 0.08),
        skin=skin_fields(rest, spot, arm, leg, neck),
    )


def arm_coordinate(rest: Tensor, spot: dict[str, Tensor]) -> Float[Tensor, " V"]:
    """Along the arm; quickly below zero under the armpit, so that no sleeve touches the trunk."""
    shoulder = spot["left_shoulder"]
    below = shoulder[1] - rest[:, 1]
    steep = 1.3 * (below - 0.10).clamp(min=0) + 1.5 * (below - 0.25).clamp(min=0)
    return rest[:, 0].abs() - shoulder[0] - steep


def neck_height(rest: Tensor, spot: dict[str, Tensor]) -> Float[Tensor, " V"]:
    """Height above the collar's plane, which is lower in front than behind."""
    neck = spot["neck"]
    return rest[:, 1] - neck[1] - 0.02 + 0.55 * (rest[:, 2] - neck[2])


def within_skin(step: Tensor, outward: Tensor) -> Float[Tensor, "V 3"]:
    """A step along the skin that gets as far in the direction of `step`; damped where steep."""
    length2 = (step * step).sum(1, keepdim=True)
    tangent = step - (step * outward).sum(1, keepdim=True) * outward
    share = (tangent * step).sum(1, keepdim=True) / length2
    return tangent / share.clamp(min=0.5)


def from_chain(rest: Tensor, chain: list[Tensor]) -> Float[Tensor, "V 3"]:
    """The way from the nearest point of the line through the joints, for either side."""
    flip = torch.where(rest[:, :1] < 0, -1.0, 1.0)
    points = torch.cat([rest[:, :1] * flip, rest[:, 1:]], 1)
    ways = []
    for start, end in zip(chain, chain[1:], strict=False):
        bone = end - start
        t = ((points - start) @ bone / (bone @ bone)).clamp(0, 1)
        ways.append(points - start - t[:, None] * bone)
    stacked = torch.stack(ways, 1)
    nearest = stacked.norm(dim=2).argmin(1)
    way = stacked[torch.arange(len(rest), device=rest.device), nearest]
    return torch.cat([way[:, :1] * flip, way[:, 1:]], 1)


def cloth_direction(
    normals: Tensor, off_bone: list[Tensor], arm: Tensor, leg: Tensor
) -> Float[Tensor, "V 3"]:
    """Where cloth moves as it widens: away from the bones of limbs, level around the seat."""
    around_arm, around_leg = (normalize(way, dim=1) for way in off_bone)
    level = normals.new_tensor([1.0, 0.25, 1.0])
    at_seat = ramp(leg, -0.22, -0.08) * (1 - ramp(leg, 0.80, 0.86)) * (arm < 0)
    # What faces down between the legs stays where it is.
    direction = normals * (1 - at_seat[:, None] * (1 - level))
    on_leg = ramp(leg, 0.16, 0.3) * (1 - ramp(leg, 0.82, 0.87)) * (arm < 0)
    on_arm = ramp(arm, 0.06, 0.14) * (1 - ramp(arm, 0.48, 0.51))
    level_leg = normalize(around_leg * level.new_tensor([1.0, 0.0, 1.0]), dim=1)
    direction = direction + on_leg[:, None] * (level_leg - direction)
    return direction + on_arm[:, None] * (around_arm - direction)


def ramp(values: Tensor, start: float, end: float) -> Tensor:
    """A soft step from 0 to 1."""
    t = ((values - start) / (end - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def drape(rest: Tensor, spot: dict[str, Tensor], arm: Tensor) -> Float[Tensor, " V"]:
    """How far cloth that falls straight from chest and seat hangs off the trunk.

    The trunk is cut into sectors; in each, cloth is as wide as the widest place above.
    """
    centre = rest.new_tensor([0.0, 0.0, float(spot["spine1"][2]) + 0.02])
    flat = (rest - centre)[:, [0, 2]]
    radius, angle = flat.norm(dim=1), torch.atan2(flat[:, 0].abs(), flat[:, 1])
    top, bottom = spot["left_shoulder"][1] - 0.07, spot["left_hip"][1] - 0.10
    trunk = (arm < 0.1) & (rest[:, 1] < top) & (rest[:, 1] > bottom)
    chosen = trunk.nonzero()[:, 0]  # a table of all pairs would be large
    high, wide, turn = rest[chosen, 1], radius[chosen], angle[chosen]
    counts = ((turn[:, None] - turn).abs() < 0.16) & (high[:, None] < high + 0.01)
    widest = torch.where(counts, wide, torch.zeros_like(wide)).amax(1)
    gap = torch.zeros_like(radius).index_copy(0, chosen, (widest - wide).clamp(0, 0.06))
    fade = ((rest[:, 1] - bottom) / 0.05).clamp(0, 1)
    return gap * fade


def skin_fields(
    rest: Tensor, spot: dict[str, Tensor], arm: Tensor, leg: Tensor, neck: Tensor
) -> Float[Tensor, "V 3"]:
    """How far inside face, arms and legs; where all are below zero, skin is the trunk's."""
    # The jaw's edge rises from the chin to the ears; behind the ears, the neck goes up to the hair.
    behind_chin = spot["head"][2] + 0.10 - rest[:, 2]
    jaw = spot["head"][1] - 0.042 + 0.45 * behind_chin.clamp(-0.02, 0.12)
    face = torch.minimum(rest[:, 1] - jaw, neck + 0.03)
    groin = 0.5 * (rest[:, 0].abs() - 0.1).clamp(max=0)
    legs = torch.minimum(leg + groin, leg - 0.01)
    return torch.stack([face, arm - 0.01, torch.where(arm < 0.1, legs, -arm)], 1)


def smoothed(
    body: Body,
    values: Float[Tensor, "V 3 S"],
    steps: int,
    amount: Float[Tensor, " V"] | None = None,
) -> Float[Tensor, "V 3 S"]:
    """Values that each step moves halfway to the mean of their neighbours over the mesh.

    Where `amount` is below 1, they move less, and not at all where it is 0.
    """
    ends = edges(body.faces)
    ends = torch.cat([ends, ends.flip(1)])
    count = torch.bincount(ends[:, 0], minlength=len(values)).to(values)
    start, end = ends.T
    share = (1 / count)[start, None]
    flat = values.flatten(1)
    half = 0.5 if amount is None else 0.5 * amount[:, None]
    for _ in range(steps):
        mean = torch.zeros_like(flat).index_add(0, start, share * flat[end])
        flat = flat + half * (mean - flat)
    return flat.view_as(values)


@dataclass(frozen=True, eq=False)
class Form:
    """A rest shape of the body's surface, linear in the betas: what cloth makes of a body."""

    template: Float[Tensor, "V 3"]
    shapedirs: Float[Tensor, "V 3 S"]

    def at(self, betas: Float[Tensor, "P S"]) -> Float[Tensor, "P V 3"]:
        flat = betas @ self.shapedirs.flatten(0, 1).T
        return self.template + flat.view(len(betas), -1, 3)


def bare_form(body: Body) -> Form:
    return Form(body.v_template, body.shapedirs)


def smooth_form(body: Body, outward: Float[Tensor, "V 3"], steps: int = SMOOTHING_STEPS) -> Form:
    """A body without dents: smoothed, and where that took away, grown back to what was there."""
    both = torch.cat([body.v_template[..., None], body.shapedirs], -1)
    both = smoothed(body, both, steps)
    template = both[..., 0]
    lost = ((body.v_template - template) * outward).sum(1, keepdim=True).clamp(min=0)
    lost = smoothed(body, lost[..., None].expand(-1, 3, 1), 4)[:, :1, 0]
    return Form(template + 1.1 * lost * outward, both[..., 1:])
