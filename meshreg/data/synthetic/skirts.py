"""Skirts, and the long tails of coats: cloth that hangs free around both legs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.data.synthetic.coordinates import BodyCoordinates, Form, named_joints, ramp
from meshreg.data.synthetic.fields import Worn
from meshreg.data.synthetic.grids import evened, push_out, tube_faces

PIECES_PATH = Path(__file__).with_name("pieces.npz")
COLUMNS = 36
ANCHORS = 4  # body vertices that a point of the skirt is measured from
HUG = 0.10  # metres below the waist over which a skirt leaves the body
MARGIN = 0.007  # metres that cloth keeps off the body when it is pushed out
OBSTACLE_STEP = 2  # of the body's vertices every second one stops the skirt


@dataclass(frozen=True, eq=False)
class Skirt:
    """The full-length skirt; each person's is cut off at its hem by its field."""

    form: Form
    weights: Float[Tensor, "N 24"]  # for saying which joint moves a point
    faces: Int[Tensor, "F 3"]
    leg: Float[Tensor, " N"]  # metres below the hips
    around: Float[Tensor, "N 3"]  # unit, level, away from the middle axis
    anchors: Int[Tensor, "N A"]  # nearest body vertices
    obstacle: Int[Tensor, " O"]  # body vertices that the skirt must stay out of
    skin_share: Float[Tensor, "N 3"]  # of trunk, thighs and shins in moving a point
    gives_way: Float[Tensor, " N"]  # 1 where legs push the skirt aside, less at the waist
    side: Float[Tensor, " N"]  # to the left, metres
    front: Float[Tensor, " N"]  # 1 in front, -1 behind

    def rest(
        self,
        worn: Worn,
        betas: Float[Tensor, "P S"],
        inner: Float[Tensor, "P V 3"],
        straight: float,
    ) -> tuple[Float[Tensor, "P N 3"], Float[Tensor, "P N 3"]]:
        """The skirt in T-pose over the surface inside it, and the points it is measured from.

        With `straight` 1 it is nowhere narrower than above, as the tails of a coat.
        """
        near = inner[:, self.anchors].mean(2)
        points = self.form.at(betas)
        top = torch.maximum(-worn["waist"], self.leg.min())
        points = near + ramp(self.leg - top, 0.0, HUG)[..., None] * (points - near)
        points = points + (straight * self.room_below(points, near))[..., None] * self.around
        # Folds deepen and the skirt widens towards the hem.
        down = (self.leg / 0.5).clamp(0, 1.5)
        angle = torch.atan2(self.side, self.front)
        count = 5 + torch.floor(6 * torch.frac(worn["phase"] * 13.7))
        pleats = torch.sin(angle * count + 6.2832 * worn["phase"])
        pleats = pleats + 0.5 * torch.sin(angle * (count + 3) + 11.0 * worn["phase"])
        wider = worn["flare"] * worn["looseness"] - 0.012 * (1 - worn["looseness"])
        wider = wider + 0.011 * worn["wrinkles"] * (0.3 + worn["looseness"]) * pleats
        return points + (wider * down)[..., None] * self.around, near

    def room_below(
        self, points: Float[Tensor, "P N 3"], near: Float[Tensor, "P N 3"]
    ) -> Float[Tensor, "P N"]:
        """How much to widen so that cloth clears what is inside and never narrows downward."""
        radius, needed = ((p * self.around).sum(-1) for p in (points, near))
        rows = torch.maximum(radius, needed + MARGIN).unflatten(1, (-1, COLUMNS))
        return rows.cummax(1).values.flatten(1) - radius

    def field(self, worn: Worn) -> Float[Tensor, "P N"]:
        """How far inside the hem, below the waist, beside the opening."""
        inside = torch.minimum(self.leg + worn["waist"], worn["leg"] - self.leg)
        opening = self.side.abs() - worn["opening"]
        is_open = (worn["opening"] > 0) & (self.front > 0)
        return worn.mask(torch.where(is_open, torch.minimum(inside, opening), inside))

    def skin_weights(self, joints: Float[Tensor, "P 24 3"]) -> Float[Tensor, "P N 24"]:
        """Cloth follows both legs: in front rather the one that is further forward.

        `joints` are posed, in the frame of the pelvis.
        """
        left, right = skeleton("smpl24").index("left_knee", "right_knee")
        stride = (joints[:, left, 2] - joints[:, right, 2]).clamp(-0.4, 0.4)[:, None]
        left_share = ramp(self.side + 0.25 * stride * self.front, -0.11, 0.11)
        weights = left_share.new_zeros(*left_share.shape, 24)
        trunk, thigh, shin = self.skin_share.unbind(1)
        weights[..., 0] = trunk
        for sign, knee in ((left_share, left), (1 - left_share, right)):
            weights[..., knee - 3] = thigh * sign  # the hip, parent of the knee
            weights[..., knee] = shin * sign
        return weights

    def hung(
        self,
        points: Float[Tensor, "P N 3"],
        near: Float[Tensor, "P N 3"],
        motions: Float[Tensor, "P N 3 4"],
        down: Float[Tensor, "3"],
    ) -> Float[Tensor, "P N 3"]:
        """Rest points after gravity: cloth lies down on what is below it, and hangs elsewhere."""
        off = points - near
        length = off.norm(dim=-1).clamp(min=1e-6)
        down_rest = torch.einsum("pnrc,r->pnc", motions[..., :3], down)
        above = -((off * down_rest).sum(-1) / length)
        return near + off * (1 - 0.9 * ramp(above, 0.15, 0.85))[..., None]

    def kept_out(
        self,
        posed: Float[Tensor, "P N 3"],
        body: Float[Tensor, "P V 3"],
        outward: Float[Tensor, "P V 3"],
        gives_way: Float[Tensor, " N"],
    ) -> Float[Tensor, "P N 3"]:
        """The posed skirt pushed out of the posed legs, as far as it gives way."""
        obstacle, normal = body[:, self.obstacle], outward[:, self.obstacle]
        for steps in (3, 0):
            push = push_out(posed, obstacle, normal, MARGIN, 0.15)
            posed = posed + gives_way[:, None] * evened(push, COLUMNS, steps)
        return posed


def load_skirt(body: Body, at: BodyCoordinates) -> Skirt:
    """The shipped skirt, which belongs to the built-in body.

    Raises:
        InputError: if the body has other vertices than the built-in one.
    """
    with np.load(PIECES_PATH, allow_pickle=False) as arrays:
        check_same_topology(
            str(arrays["topology_hash"]), body.topology_hash, "the skirt of synthetic people"
        )
        template, shapedirs, weights = (
            torch.tensor(arrays[f"skirt.{name}"], dtype=torch.float32).to(body.v_template)
            for name in ("template", "shapedirs", "weights")
        )
    hips = named_joints(body)["left_hip"][1]
    leg = hips - template[:, 1]
    axis = template.unflatten(0, (-1, COLUMNS)).mean(1).repeat_interleave(COLUMNS, 0)
    level = (template - axis) * template.new_tensor([1.0, 0.0, 1.0])
    around = level / level.norm(dim=1, keepdim=True)
    free = at.arm < 0.0
    below = (free & (at.leg > -0.14) & (at.leg < 0.87)).nonzero()[:, 0]
    candidates = (free & (at.leg > -0.2)).nonzero()[:, 0]
    distance = torch.cdist(template, at.rest[candidates])
    shin = ramp(leg, 0.30, 0.46)
    trunk = 1 - ramp(leg, -0.06, 0.14)
    return Skirt(
        form=Form(template, shapedirs[..., : body.num_betas]),
        weights=weights / weights.sum(1, keepdim=True),
        faces=tube_faces(len(template) // COLUMNS, COLUMNS).to(template.device),
        leg=leg,
        around=around,
        anchors=candidates[distance.topk(ANCHORS, largest=False).indices],
        obstacle=below[::OBSTACLE_STEP],
        skin_share=torch.stack([trunk, (1 - trunk) * (1 - shin), (1 - trunk) * shin], 1),
        gives_way=0.2 + 0.8 * ramp(leg, -0.10, 0.06),
        side=template[:, 0],
        front=around[:, 2],
    )
