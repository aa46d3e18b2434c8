"""Hair that hangs from the head, and the brims of hats."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.data.synthetic.coordinates import BodyCoordinates, named_joints, ramp
from meshreg.data.synthetic.fields import Worn
from meshreg.data.synthetic.garments import HAIR_STYLES
from meshreg.data.synthetic.grids import evened, push_out, tube_faces
from meshreg.data.synthetic.head import HeadCoordinates

HAIR_ROWS, HAIR_COLUMNS = 16, 28
BRIM_ROWS, BRIM_COLUMNS = 4, 32
PULL = 0.75  # of the way from the head's own direction to straight down, hair turns
TURN = 2 * torch.pi
SKULL_RANGE = (0.045, 0.170)  # heights over the head's joint, metres


@dataclass(frozen=True, eq=False)
class HeadFrame:
    """Carries points that are given around the average head's joint to other heads."""

    joint: int
    average: Float[Tensor, "3"]  # of the scalp, around the joint
    spread: Float[Tensor, "V 3"]  # of each scalp vertex, over the sum of squares; 0 off the scalp
    share: Float[Tensor, " V"]  # of each vertex in the scalp's mean

    def place(
        self, points: Float[Tensor, "P N 3"], body_rest: Float[Tensor, "P V 3"]
    ) -> Float[Tensor, "P N 3"]:
        """Points around the average head's joint, moved and scaled to heads in T-pose."""
        mean = torch.einsum("v,pvx->px", self.share, body_rest)
        scale = torch.einsum("pvx,vx->p", body_rest - mean[:, None], self.spread)
        return mean[:, None] + scale[:, None, None] * (points - self.average)


def head_frame(body: Body, head: HeadCoordinates) -> HeadFrame:
    scalp = (head.hair > 0).to(body.v_template)
    share = scalp / scalp.sum()
    at = body.v_template - named_joints(body)["head"]
    average = share @ at
    spread = (at - average) * scalp[:, None]
    (joint,) = skeleton("smpl24").index("head")
    return HeadFrame(joint, average, spread / spread.square().sum(), share)


def grid_coordinates(rows: int, columns: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """For each vertex of a tube: 0 at the first ring to 1 at the last, and 0..1 around."""
    down = torch.linspace(0, 1, rows).repeat_interleave(columns)
    around = (torch.arange(columns) / columns).repeat(rows)
    return down.to(like), around.to(like)


@dataclass(frozen=True, eq=False)
class Skull:
    """How wide the average head is at each height, in each direction from the nape."""

    table: Float[Tensor, "1 1 U A"]

    def radius(self, up: Float[Tensor, "P N"], angle: Float[Tensor, "P N"]) -> Tensor:
        """Metres from the upright axis through the head's joint; below the ears as at the ears."""
        u = (up.clamp(*SKULL_RANGE) - SKULL_RANGE[0]) / (SKULL_RANGE[1] - SKULL_RANGE[0])
        place = torch.stack([2 * angle.abs() / torch.pi - 1, 2 * u - 1], -1)[:, None]
        return grid_sample(self.table.expand(len(up), -1, -1, -1), place, align_corners=True)[
            :, 0, 0
        ]


def measure_skull(body: Body) -> Skull:
    """Tabulate the head's width: soft maxima over its vertices near each height and angle."""
    at = body.v_template - named_joints(body)["head"]
    at = at[(at[:, 1] > -0.01) & (at[:, 0].abs() < 0.1)]
    flat, angle = at[:, [0, 2]].norm(dim=1), torch.atan2(at[:, 0].abs(), -at[:, 2])
    up = torch.linspace(*SKULL_RANGE, 14).to(at)[:, None, None]
    turn = torch.linspace(0, torch.pi, 24).to(at)[:, None]
    away = ((at[:, 1] - up) / 0.010).square() + ((angle - turn) / 0.16).square()
    share = torch.softmax(70 * flat - away, -1)
    return Skull((share * flat).sum(-1)[None, None])


def curtain(worn: Worn, t: Tensor, around: Tensor, skull: Skull) -> Float[Tensor, "P N 3"]:
    """Hair that falls behind and beside the face: a shell with an inner and an outer side."""
    outer = around < 0.5
    across = torch.where(outer, 4 * around - 1, 3 - 4 * around) * HAIR_COLUMNS / (HAIR_COLUMNS - 2)
    across = across.clamp(-1, 1)
    top, tip = 0.155 - 0.075 * across.square(), 0.045 - worn["length"]
    up = top + (tip - top) * t
    reach = 1.75 + 0.45 * worn["looseness"]  # radians from the nape to where the face begins
    reach = reach * (1 - 0.25 * ramp(up, 0.06, 0.12))
    angle = across * reach
    closing = 1 - ramp(across.abs(), 0.8, 1.0)  # the two sides meet at the edges ...
    closing = closing * (1 - ramp(t, 0.85, 1.0))  # ... and at the tips
    locks = torch.sin(9 * angle + TURN * worn["phase"]) + 0.6 * torch.sin(17 * angle + 3)
    volume = worn["thickness"] + 0.010 * ramp(0.09 - up, 0.0, 0.08)
    off = volume + 0.0025 * locks * worn["wrinkles"] * ramp(t, 0.1, 0.5)
    off = off * (1 - 0.8 * ramp(across.abs(), 0.55, 1.0) * ramp(up, 0.05, 0.10))
    off = torch.where(outer, off, off - (0.010 + volume) * closing)
    off = off - (0.008 + volume) * (1 - ramp(t, 0.0, 0.15))  # begins within the hair on the scalp
    narrow = 1 - 0.12 * ramp(-0.03 - up, 0.0, 0.25)
    radius = skull.radius(up, angle) * narrow + off
    return torch.stack([radius * torch.sin(angle), up, -radius * torch.cos(angle)], -1)


def ponytail(worn: Worn, t: Tensor, around: Tensor, skull: Skull) -> Float[Tensor, "P N 3"]:
    """A tail that leaves the back of the head and falls."""
    away = 0.062 * torch.sin((3 * t).clamp(max=1) * torch.pi / 2)
    high = 0.06 + 0.07 * worn["looseness"]
    up = high - (worn["length"] + 0.12) * (t - 0.15).clamp(min=0)
    radius = 0.013 + 0.014 * ramp(t, 0.1, 0.4) - 0.022 * ramp(t, 0.55, 1.0)
    angle = TURN * around
    bumps = 1 + 0.12 * torch.sin(3 * angle + TURN * worn["phase"])
    x = radius * bumps * torch.cos(angle)
    flat = ramp(t, 0.15, 0.4)  # the ring turns from standing to lying as the tail turns down
    side = radius * bumps * torch.sin(angle)
    z = -0.070 - away - flat * side
    return torch.stack([x, up - (1 - flat) * side, z.expand_as(x)], -1)


def bun(worn: Worn, t: Tensor, around: Tensor, skull: Skull) -> Float[Tensor, "P N 3"]:
    """A ball of hair at the back of the head."""
    radius = 0.034 + 0.014 * worn["looseness"]
    polar, angle = torch.pi * t, TURN * around
    twist = 1 + 0.06 * torch.sin(3 * angle + 6 * polar)
    ring = radius * torch.sin(polar) * twist
    high = 0.06 + 0.09 * torch.frac(worn["phase"] * 5.7)
    x, y = ring * torch.cos(angle), ring * torch.sin(angle)
    z = -0.098 + (high - 0.06).clamp(min=0) * 0.45 + 0.85 * radius * torch.cos(polar)
    return torch.stack([x, high + y, z.expand_as(x)], -1)


def hanging_hair(worn: Worn, skull: Skull, like: Tensor) -> Float[Tensor, "P N 3"]:
    """Where hair hangs around the average head's joint, in T-pose."""
    t, around = grid_coordinates(HAIR_ROWS, HAIR_COLUMNS, like)
    points = torch.zeros(len(worn.on), len(t), 3).to(like)
    for name, form in (("curtain", curtain), ("ponytail", ponytail), ("bun", bun)):
        chosen = worn["style"] == HAIR_STYLES.index(name)
        points = torch.where(chosen[..., None], form(worn, t, around, skull), points)
    return points


def falling(
    worn: Worn,
    rest: Float[Tensor, "P N 3"],
    posed: Float[Tensor, "P N 3"],
    down: Float[Tensor, "3"],
) -> Float[Tensor, "P N 3"]:
    """Hair turned downward from where it leaves the head, every strand as long as before."""
    grid = posed.unflatten(1, (HAIR_ROWS, HAIR_COLUMNS))
    low = rest.unflatten(1, (HAIR_ROWS, HAIR_COLUMNS))[..., 1].mean(2)
    free = ramp(0.05 - low, 0.0, 0.05) * (worn["style"] != HAIR_STYLES.index("bun"))
    # Strands: a tail is one; of a curtain each outer column with the inner one behind it.
    is_tail = (worn["style"] == HAIR_STYLES.index("ponytail"))[..., None, None]
    strand = torch.where(is_tail, grid.mean(2, keepdim=True), 0.5 * (grid + grid.flip(2)))
    steps = strand[:, 1:] - strand[:, :-1]
    length = steps.norm(dim=-1, keepdim=True)
    pull = PULL * free[:, 1:, None, None]
    turned = (1 - pull) * steps + pull * length * down
    turned = turned / turned.norm(dim=-1, keepdim=True).clamp(min=1e-9) * length
    moved = torch.cumsum(turned - steps, 1)
    return torch.cat([grid[:, :1], grid[:, 1:] + moved], 1).flatten(1, 2)


def off_shoulders(
    posed: Float[Tensor, "P N 3"],
    obstacle: Float[Tensor, "P O 3"],
    outward: Float[Tensor, "P O 3"],
) -> Float[Tensor, "P N 3"]:
    """Hair pushed out of neck, shoulders, chest and back; its outer side further than its inner."""
    _, around = grid_coordinates(HAIR_ROWS, HAIR_COLUMNS, posed)
    margin = torch.where(around < 0.5, 0.016, 0.004).expand(posed.shape[:2])
    push = push_out(posed, obstacle, outward, margin, 0.12)
    posed = posed + evened(push, HAIR_COLUMNS, 1)
    return posed + push_out(posed, obstacle, outward, margin, 0.06)


def brim(worn: Worn, like: Tensor) -> Float[Tensor, "P N 3"]:
    """The peak of a cap or the brim of a hat, around the average head's joint."""
    t, around = grid_coordinates(BRIM_ROWS, BRIM_COLUMNS, like)
    angle = TURN * around
    is_cap = worn.is_one_of("cap")
    ahead = torch.cos(angle)
    peak = ramp(ahead, 0.35, 0.75)
    width = torch.where(is_cap, worn["length"] * peak, worn["length"])
    width = torch.where(worn.is_one_of("cap", "brimmed_hat"), width, 0.0)
    off = worn["thickness"] * 0.7 + t * width
    x, z = (0.074 + off) * torch.sin(angle), 0.018 + (0.094 + off) * ahead
    droop = torch.where(is_cap, 0.25 * t * width, 0.15 * t * width * (1 - 0.8 * ahead.abs()))
    up = 0.100 + 0.18 * z.clamp(-0.1, 0.12) + worn["level"] - droop
    return torch.stack([x, up, z], -1)


def shoulder_vertices(at: BodyCoordinates) -> Int[Tensor, " O"]:
    """What hanging hair lies on."""
    upper = (at.leg < -0.22) & (at.neck < 0.10) & (at.arm < 0.06) & (at.rest[:, 1] < 0.56)
    return upper.nonzero()[:, 0]


def headwear_faces() -> tuple[Int[Tensor, "F 3"], Int[Tensor, "G 3"]]:
    """Of hanging hair and of brims."""
    return tube_faces(HAIR_ROWS, HAIR_COLUMNS), tube_faces(BRIM_ROWS, BRIM_COLUMNS)
