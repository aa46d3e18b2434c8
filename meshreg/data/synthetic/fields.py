"""How far each point of the body lies inside each layer of an outfit."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.data.synthetic.coordinates import BodyCoordinates, LimbScale
from meshreg.data.synthetic.garments import KIND, KINDS, LAYER, LAYERS, NUMBERS, Outfit
from meshreg.data.synthetic.head import HeadCoordinates

NOWHERE = -1.0  # the field of a layer that is not worn
# Vertices this near to a hem slide onto it: about an edge's length on arms, trunk, legs.
ARM_REACH, TRUNK_REACH, LEG_REACH = 0.022, 0.026, 0.034
SNAP_GAP = 0.002  # and stop this far on their side of it
LINING = 0.06  # how far above a skirt's hem the body below stops to count as covered


@dataclass(frozen=True, eq=False)
class Worn:
    """The numbers of one layer's garments, for each person."""

    on: Bool[Tensor, "P 1"]
    kind: Int[Tensor, "P 1"]
    numbers: Float[Tensor, "P M"]

    def __getitem__(self, name: str) -> Float[Tensor, "P 1"]:
        column = NUMBERS.index(name)
        return self.numbers[:, column : column + 1]

    def is_one_of(self, *names: str) -> Bool[Tensor, "P 1"]:
        found = torch.zeros_like(self.on)
        for name in names:
            found |= self.kind == KINDS.index(name)
        return found

    def mask(self, field: Float[Tensor, "P V"]) -> Float[Tensor, "P V"]:
        """The field where the garment is worn, `NOWHERE` elsewhere."""
        return torch.where(self.on, field, NOWHERE)


@dataclass(frozen=True, eq=False)
class PackedOutfits:
    """Outfits as tensors, layer by layer; sleeves and legs in metres along the limb."""

    kind: Int[Tensor, "P L"]  # index into KINDS, -1: not worn
    label: Int[Tensor, "P L 2"]
    numbers: Float[Tensor, "P L M"]

    def __getitem__(self, layer: str) -> Worn:
        index = LAYER[layer]
        kind = self.kind[:, index : index + 1]
        return Worn(kind >= 0, kind, self.numbers[:, index])


def pack(outfits: list[Outfit], arm: LimbScale, leg: LimbScale, like: Tensor) -> PackedOutfits:
    """Put outfits into tensors on the device of `like`."""
    kind = [[-1] * len(LAYERS) for _ in outfits]
    label = [[[0, 0] for _ in LAYERS] for _ in outfits]
    numbers = [[[0.0] * len(NUMBERS) for _ in LAYERS] for _ in outfits]
    for person, outfit in enumerate(outfits):
        for garment in outfit.garments:
            kind[person][garment.layer] = KINDS.index(garment.kind)
            label[person][garment.layer] = [int(side) for side in KIND[garment.kind].labels]
            numbers[person][garment.layer] = [float(getattr(garment, name)) for name in NUMBERS]
    table = torch.tensor(numbers, dtype=like.dtype)
    for name, scale in (("sleeve", arm), ("leg", leg)):
        column = NUMBERS.index(name)
        table[..., column] = scale.metres(table[..., column])
    return PackedOutfits(
        kind=torch.tensor(kind, device=like.device),
        label=torch.tensor(label, device=like.device),
        numbers=table.to(like.device),
    )


@dataclass(frozen=True, eq=False)
class Fitted:
    """The body's surface prepared for an outfit: vertices near hems have slid onto them."""

    arm: Float[Tensor, "P V"]  # as in BodyCoordinates
    leg: Float[Tensor, "P V"]
    slide: Float[Tensor, "P V 3"]  # metres, along the skin


def fit_to_hems(at: BodyCoordinates, outfits: PackedOutfits) -> Fitted:
    """Slide vertices onto hems, where cloth ends in a step that should be straight."""
    count = len(outfits.kind)
    arm, leg = at.arm.expand(count, -1), at.leg.expand(count, -1)
    for layer in ("gloves", "jacket", "top", "tucked"):
        worn = outfits[layer]
        arm = snapped(arm, worn["sleeve"], worn.on & (worn["sleeve"] > 0.02), ARM_REACH)
    for layer in ("bottom", "boots"):
        worn = outfits[layer]
        leg = snapped(leg, worn["leg"], worn.on, LEG_REACH)
    for layer in ("jacket", "top"):
        worn = outfits[layer]
        leg = snapped(leg, -worn["hem"], worn.on & ~worn.is_one_of("dress_top"), TRUNK_REACH)
    arm = torch.where(at.arm > 0, arm, at.arm)
    leg = torch.where((at.arm < 0.05) & at.slides, leg, at.leg)
    slide = (arm - at.arm)[..., None] * at.along_arm + (leg - at.leg)[..., None] * at.along_leg
    return Fitted(arm, leg, slide)


def snapped(
    values: Float[Tensor, "P V"],
    hem: Float[Tensor, "P 1"],
    on: Bool[Tensor, "P 1"],
    reach: float,
) -> Float[Tensor, "P V"]:
    """Coordinates with those near the hem moved to just before or behind it; order is kept."""
    away = values - hem
    near = on & (away.abs() < reach)
    gap = torch.where(away < 0, -SNAP_GAP, SNAP_GAP)
    return torch.where(near, hem + gap, values)


def body_fields(
    at: BodyCoordinates, head: HeadCoordinates, fitted: Fitted, outfits: PackedOutfits
) -> Float[Tensor, "P V L"]:
    """The field of every layer on the body's surface; below zero where it does not lie."""
    fields = {name: torch.full_like(fitted.arm, NOWHERE) for name in LAYERS}
    for layer, coordinate in (("socks", fitted.leg), ("shoes", at.shoe), ("boots", fitted.leg)):
        worn = outfits[layer]
        fields[layer] = worn.mask((coordinate - worn["leg"]).expand_as(fitted.leg))
    for layer in ("tucked", "top", "jacket"):
        fields[layer] = top_field(at, fitted, outfits[layer])
    worn = outfits["bottom"]
    fields["bottom"] = worn.mask(between(fitted.leg, -worn["waist"], worn["leg"], at.arm))
    for layer in ("skirt", "tails"):
        worn = outfits[layer]
        field = between(fitted.leg, -worn["waist"], worn["leg"] - LINING, at.arm)
        opening = front_opening(at, worn)
        fields[layer] = worn.mask(torch.minimum(field, opening))
    worn = outfits["scarf"]
    low = 0.045 - 0.35 * (at.rest[:, 0].abs() - 0.05).clamp(min=0)
    fields["scarf"] = worn.mask((low - (at.neck - 0.01).abs()).expand_as(fitted.arm))
    worn = outfits["gloves"]
    fields["gloves"] = worn.mask(fitted.arm - worn["sleeve"])
    worn = outfits["hair"]
    thinning = torch.where(worn["bald"] > 0, 0.5 * (head.crown - worn["bald"]), 1.0)
    inside = torch.minimum(head.hair - worn["level"], thinning)
    fields["hair"] = worn.mask(torch.where(head.hair > NOWHERE, inside, NOWHERE))
    fields["glasses"] = outfits["glasses"].mask(head.glasses.expand_as(fitted.arm))
    worn = outfits["hat"]
    fields["hat"] = worn.mask(torch.where(head.hat > NOWHERE, head.hat - worn["level"], NOWHERE))
    return torch.stack([fields[name] for name in LAYERS], -1)


def between(leg: Tensor, start: Tensor, end: Tensor, arm: Tensor) -> Float[Tensor, "P V"]:
    """How far inside a range of heights on trunk and legs; arms hang outside of it."""
    return torch.minimum(torch.minimum(leg - start, end - leg), 0.1 - arm)


def front_opening(at: BodyCoordinates, worn: Worn) -> Float[Tensor, "P V"]:
    """Distance from the open strip down the front; large where there is none."""
    side = at.rest[:, 0].abs()
    is_front = at.outward[:, 2] > 0
    return torch.where((worn["opening"] > 0) & is_front, side - worn["opening"], 1.0)


def top_field(at: BodyCoordinates, fitted: Fitted, worn: Worn) -> Float[Tensor, "P V"]:
    """Inside the hem, the sleeves, the neckline and the front opening."""
    side = at.rest[:, 0].abs()
    front = torch.sigmoid(at.outward[:, 2] / 0.15)
    point = worn["vee"] * front * (1 - side / 0.09).clamp(min=0)
    neckline = worn["neck"] + 1.1 * (side - 0.075).clamp(min=0) - at.neck - point
    inside = torch.minimum(-fitted.leg - worn["hem"], worn["sleeve"] - fitted.arm)
    inside = torch.minimum(inside, neckline)
    return worn.mask(torch.minimum(inside, front_opening(at, worn)))
