"""Puts outfits on bodies: shape, cloth, pose, gravity."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import Body, carried
from meshreg.data.synthetic import headwear, people
from meshreg.data.synthetic.cloth import Standoff, standoff
from meshreg.data.synthetic.coordinates import (
    bare_form,
    coordinates_of,
    limb_scales,
    ramp,
    smooth_form,
)
from meshreg.data.synthetic.fields import (
    NOWHERE,
    Fitted,
    PackedOutfits,
    body_fields,
    fit_to_hems,
    pack,
)
from meshreg.data.synthetic.garments import HAIR_STYLES, LAYER, LAYERS, Outfit
from meshreg.data.synthetic.head import above_hat_edge, head_coordinates
from meshreg.data.synthetic.people import DressedPeople
from meshreg.data.synthetic.shoes import make_shoes
from meshreg.data.synthetic.skirts import load_skirt

SAG = 0.85  # how much of its hang cloth gives up above a limb and takes up below
INSIDE = 0.01  # the field of pieces that are not cut
HINGES = ((18, 16), (19, 17), (4, 1), (5, 2))  # elbows and knees with the joints above them
STRAIGHT, BENT = 0.2, 1.4  # radians


@dataclass(frozen=True, eq=False)
class _Pose:
    """What all pieces of a batch are posed by."""

    betas: Float[Tensor, "P S"]
    motions: Float[Tensor, "P 24 3 4"]  # from rest to the pose, without `transl`
    down: Float[Tensor, "3"]  # unit, in the frame of the pose
    joints: Float[Tensor, "P 24 3"]
    bend: Float[Tensor, "P 4"]  # 0 straight, 1 bent, by `HINGES`


@dataclass(frozen=True, eq=False)
class _Piece:
    """One part of the mesh, for all people."""

    vertices: Float[Tensor, "P N 3"]
    rest: Float[Tensor, "P N 3"]
    fields: Float[Tensor, "P N L"]


class Wardrobe:
    """Dresses people with the built-in body; works on the device that the body is on."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.at = coordinates_of(body)
        self.head = head_coordinates(body)
        self.scales = limb_scales(body)
        self.bare = bare_form(body)
        self.smooth = smooth_form(body, self.at.outward)
        self.shoes = make_shoes(body, self.at)
        self.skirt = load_skirt(body, self.at)
        self.frame = headwear.head_frame(body, self.head)
        self.skull = headwear.measure_skull(body)
        self.shoulders = headwear.shoulder_vertices(self.at)
        self.bending = bending_vertices(self.at.arm, self.at.leg, self.at.rest[:, 0])
        self.faces, self.piece = self._connectivity()
        self.weights, self.skin = self._per_vertex()

    def dress(
        self,
        outfits: Sequence[Outfit],
        betas: Float[Tensor, "P S"],
        pose_rotmat: Float[Tensor, "P 24 3 3"],
        transl: Float[Tensor, "P 3"],
        *,
        down: tuple[float, float, float] = (0.0, 1.0, 0.0),
    ) -> DressedPeople:
        """Dress and pose people; `down` is gravity's direction in the frame of the pose."""
        packed = pack(list(outfits), *self.scales, betas)
        pose = self._pose(betas, pose_rotmat, down)
        fitted = fit_to_hems(self.at, packed)
        fields = body_fields(self.at, self.head, fitted, packed)
        off = standoff(self.at, self.head, fitted, packed, fields, self.shoes.on_foot)
        correctives = self.body.pose_correctives(pose_rotmat)
        bare = self.bare.at(betas)
        rest = self._surface(bare, fitted, off, packed, pose)

        per_vertex = torch.einsum("vj,pjrc->pvrc", self.body.weights, pose.motions)
        nude = carried(bare + correctives, per_vertex)
        down_rest = torch.einsum("pvrc,r->pvc", per_vertex[..., :3], pose.down)
        sag = (down_rest * self.at.outward).sum(-1).clamp(-1, 1)
        rest = rest + (SAG * sag * off.loose)[..., None] * self.at.outward
        cover = torch.maximum(off.smooth, off.shoe)[..., None]  # cloth does not follow every bulge
        surface = carried(rest + (1 - 0.5 * cover) * correctives, per_vertex)
        outward = torch.einsum("pvrc,vc->pvr", per_vertex[..., :3], self.at.outward)

        shaped_rest = self.at.rest + fitted.slide
        pieces = [_Piece(surface, shaped_rest, fields)]
        for layer in ("skirt", "tails"):
            pieces.append(self._skirt(layer, packed, pose, (bare, off, surface, outward)))
        pieces.append(self._hair(packed, bare, pose, surface, outward))
        pieces.append(self._brim(packed, bare, pose))
        vertices = torch.cat([piece.vertices for piece in pieces], 1)
        joints = torch.cat([pose.joints, nude[:, self.body.landmarks]], 1)
        return DressedPeople(
            vertices=vertices + transl[:, None],
            body_vertices=nude + transl[:, None],
            joints=joints + transl[:, None],
            faces=self.faces,
            piece=self.piece,
            rest=torch.cat([piece.rest for piece in pieces], 1),
            fields=torch.cat([piece.fields for piece in pieces], 1),
            layer_label=packed.label,
            layer_kind=packed.kind,
            skin=self.skin,
            weights=self.weights,
        )

    def _pose(self, betas: Tensor, pose_rotmat: Tensor, down: tuple[float, float, float]) -> _Pose:
        motions, joints = self.body.joint_motions(betas, pose_rotmat)
        hinges = pose_rotmat[:, [child for child, _ in HINGES]]
        cosine = (hinges.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
        bend = ramp(torch.acos(cosine.clamp(-1, 1)), STRAIGHT, BENT)
        direction = torch.nn.functional.normalize(betas.new_tensor(down), dim=0)
        return _Pose(betas, motions, direction, joints, bend)

    def _surface(
        self, bare: Tensor, fitted: Fitted, off: Standoff, packed: PackedOutfits, pose: _Pose
    ) -> Float[Tensor, "P V 3"]:
        """The body's surface in T-pose, pushed outward; gravity comes later."""
        smooth = self.smooth.at(pose.betas)
        rest = bare + off.smooth[..., None] * (smooth - bare)
        sole = 0.012 + 0.012 * torch.frac(
            3.3 * (packed["shoes"]["phase"] + packed["boots"]["phase"])
        )
        rest = rest + self.shoes.at(off.shoe, sole)
        creases = (pose.bend @ self.bending) * off.bends
        height = off.solid + off.loose + torch.maximum(off.folds + creases, -0.5 * off.solid)
        return rest + fitted.slide + height[..., None] * self.at.outward

    def _skirt(
        self,
        layer: str,
        packed: PackedOutfits,
        pose: _Pose,
        body: tuple[Tensor, Standoff, Tensor, Tensor],
    ) -> _Piece:
        worn, skirt = packed[layer], self.skirt
        template = skirt.form.template.expand(len(worn.on), -1, -1)
        nothing = self._unlaid(template)
        if not bool(worn.on.any()):
            return _Piece(self._collapsed(template, pose), template, nothing)
        bare, off, surface, outward = body
        of_dress = packed["top"].is_one_of("dress_top") if layer == "skirt" else worn.on
        height = torch.where(of_dress, off.solid + off.loose, off.solid.clamp(max=0.008))
        inner = bare + off.smooth[..., None] * (self.smooth.at(pose.betas) - bare)
        inner = inner + (height + 0.002)[..., None] * self.at.outward
        rest, near = skirt.rest(worn, pose.betas, inner, float(layer == "tails"))
        upright = torch.einsum(
            "pij,pkj->pki", pose.motions[:, 0, :, :3].mT, pose.joints - pose.joints[:, :1]
        )
        motions = torch.einsum("pnj,pjrc->pnrc", skirt.skin_weights(upright), pose.motions)
        posed = carried(skirt.hung(rest, near, motions, pose.down), motions)
        # A skirt's waist holds; a coat gives way all over.
        gives_way = skirt.gives_way if layer == "skirt" else torch.ones_like(skirt.gives_way)
        posed = skirt.kept_out(posed, surface, outward, gives_way)
        fields = nothing.clone()
        fields[..., LAYER[layer]] = skirt.field(worn)
        posed = torch.where(worn.on[..., None], posed, self._collapsed(posed, pose))
        return _Piece(posed, template, fields)

    def _hair(
        self, packed: PackedOutfits, bare: Tensor, pose: _Pose, surface: Tensor, outward: Tensor
    ) -> _Piece:
        worn, hat = packed["hair"], packed["hat"]
        around_head = headwear.hanging_hair(worn, self.skull, bare)
        rest = around_head + self.body.joints_template[self.frame.joint]
        is_curtain = worn["style"] == HAIR_STYLES.index("curtain")
        hangs = worn.on & (worn["style"] != HAIR_STYLES.index("none"))
        fields = self._unlaid(rest)
        if not bool(hangs.any()):
            return _Piece(self._collapsed(rest, pose), rest, fields)
        posed = self._on_head(around_head, bare, pose)
        posed = headwear.falling(worn, around_head, posed, pose.down)
        lying = headwear.off_shoulders(
            posed, surface[:, self.shoulders], outward[:, self.shoulders]
        )
        posed = torch.where((worn["style"] == HAIR_STYLES.index("bun"))[..., None], posed, lying)
        # No curtain of hair comes through a hat; tails do, as at the back of a cap.
        below_hat = -above_hat_edge(around_head[..., 1], around_head[..., 2]) - hat["level"]
        inside = torch.where(hat.on & is_curtain, below_hat, INSIDE)
        fields[..., LAYER["hair"]] = torch.where(hangs, inside, NOWHERE)
        posed = torch.where(hangs[..., None], posed, self._collapsed(posed, pose))
        return _Piece(posed, rest, fields)

    def _brim(self, packed: PackedOutfits, bare: Tensor, pose: _Pose) -> _Piece:
        worn = packed["hat"]
        around_head = headwear.brim(worn, bare)
        rest = around_head + self.body.joints_template[self.frame.joint]
        has_brim = worn.is_one_of("cap", "brimmed_hat")
        posed = self._on_head(around_head, bare, pose)
        fields = self._unlaid(rest)
        fields[..., LAYER["hat"]] = torch.where(has_brim, INSIDE, NOWHERE)
        posed = torch.where(has_brim[..., None], posed, self._collapsed(posed, pose))
        return _Piece(posed, rest, fields)

    def _on_head(self, around_head: Tensor, bare: Tensor, pose: _Pose) -> Float[Tensor, "P N 3"]:
        placed = self.frame.place(around_head, bare)
        motion = pose.motions[:, self.frame.joint]
        return placed @ motion[..., :3].mT + motion[:, None, :, 3]

    def _collapsed(self, like: Tensor, pose: _Pose) -> Float[Tensor, "P N 3"]:
        """All in one point within the body: faces without area, which nobody sees."""
        return pose.joints[:, :1].expand_as(like)

    def _unlaid(self, points: Tensor) -> Float[Tensor, "P N L"]:
        return points.new_full((*points.shape[:2], len(LAYERS)), NOWHERE)

    def _connectivity(self) -> tuple[Tensor, Tensor]:
        hair, brim = (faces.to(self.body.faces) for faces in headwear.headwear_faces())
        parts = [self.body.faces, self.skirt.faces, self.skirt.faces, hair, brim]
        kinds = [people.BODY, people.SKIRT, people.TAILS, people.HANGING_HAIR, people.BRIM]
        start, faces, piece = 0, [], []
        for part, kind in zip(parts, kinds, strict=True):
            faces.append(part + start)
            piece.append(torch.full_like(part[:, 0], kind))
            start += int(part.max()) + 1 if kind else len(self.bare.template)
        return torch.cat(faces), torch.cat(piece)

    def _per_vertex(self) -> tuple[Float[Tensor, "N 24"], Float[Tensor, "N 3"]]:
        """Skin weights and skin fields of all vertices; pieces have no skin."""
        on_head = headwear.HAIR_ROWS * headwear.HAIR_COLUMNS
        on_head += headwear.BRIM_ROWS * headwear.BRIM_COLUMNS
        head = torch.zeros(24).to(self.body.weights)
        head[self.frame.joint] = 1
        weights = [self.body.weights, self.skirt.weights, self.skirt.weights]
        all_weights = torch.cat([*weights, head.expand(on_head, 24)])
        skin = self.at.skin.new_full((len(all_weights), 3), NOWHERE)
        skin[: len(self.at.skin)] = self.at.skin
        return all_weights, skin


def bending_vertices(arm: Tensor, leg: Tensor, left: Tensor) -> Float[Tensor, "4 V"]:
    """Which of `HINGES` each vertex belongs to."""
    on_arm = arm > 0
    rows = [on_arm & (left > 0), on_arm & (left < 0), ~on_arm & (left > 0), ~on_arm & (left < 0)]
    return torch.stack(rows).to(arm)
