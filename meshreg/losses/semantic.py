"""Losses on rendered masks and body parts, which trust skin more than clothing.

The idea of DSR (Dwivedi et al. 2021): bare skin must coincide with the body's surface, whereas
cloth and hair only contain it. Rendered images come in as tensors; nothing is rendered here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.clothing.labels import UNKNOWN_LABEL, Label
from meshreg.losses.distance import distance_from_mask

# Body parts that a bare-skin label of CIHP names, in the order of the rendered channels.
PARTS = ("head", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
PART_OF_LABEL = {
    Label.FACE: "head",
    Label.TORSO_SKIN: "torso",
    Label.LEFT_ARM: "left_arm",
    Label.RIGHT_ARM: "right_arm",
    Label.LEFT_LEG: "left_leg",
    Label.RIGHT_LEG: "right_leg",
}
# What stands off the body; and what does so even more.
CLOTH = (Label.UPPER_CLOTHES, Label.DRESS, Label.COAT, Label.PANTS, Label.SKIRT)
HAIR_LIKE = (Label.HAT, Label.HAIR, Label.SUNGLASSES, Label.SCARF)


@dataclass(frozen=True, eq=False)
class LabelTarget:
    """A label map turned into what the losses compare with."""

    person: Float[Tensor, "H W"]  # share of the pixel that the person covers
    weight: Float[Tensor, "H W"]  # how much a wrong pixel counts; 0 where nobody knows
    part: Int[Tensor, "H W"]  # index into PARTS where bare skin names a part, else -1
    outside_px: Float[Tensor, "H W"]  # distance to the nearest pixel that may be the person


def label_target(
    labels: Int[Tensor, "H W"],
    person: Float[Tensor, "H W"],
    outside_px: Float[Tensor, "H W"],
    *,
    cloth_weight: float = 0.15,
    hair_weight: float = 0.1,
) -> LabelTarget:
    """Weights and parts of a CIHP label map; 255 marks pixels that say nothing.

    `person` is the share of each pixel that the person covers, which a label cannot say.

    A body pixel on the background always counts fully, and so does an uncovered pixel of skin, of
    shoes and gloves, or of a silhouette without labels; one of loose clothing counts
    `cloth_weight` and one of hair or a hat `hair_weight`, because they stand off the body.
    """
    weight = torch.ones_like(person)
    weight[torch.isin(labels, labels.new_tensor(CLOTH))] = cloth_weight
    weight[torch.isin(labels, labels.new_tensor(HAIR_LIKE))] = hair_weight
    weight[labels == UNKNOWN_LABEL] = 0.0
    part = torch.full_like(labels, -1)
    for label, name in PART_OF_LABEL.items():
        part[labels == label] = PARTS.index(name)
    return LabelTarget(person=person, weight=weight, part=part, outside_px=outside_px)


def mask_mismatch(alpha: Float[Tensor, "B H W"], target: LabelTarget) -> Float[Tensor, " B"]:
    """Weighted area on which the rendered mask is wrong, as a share of the person's area."""
    wrong = target.weight * (alpha - target.person).square()
    return wrong.sum((-1, -2)) / target.person.sum().clamp_min(1.0)


def part_mismatch(parts: Float[Tensor, "B H W P"], target: LabelTarget) -> Float[Tensor, " B"]:
    """Area of bare skin under a wrong part of the body or none, as a share of the person's area."""
    named = target.part >= 0
    index = target.part.clamp_min(0).expand(parts.shape[:-1])
    right = parts.gather(-1, index[..., None])[..., 0]
    wrong = torch.where(named, (1 - right).square(), torch.zeros_like(right))
    return wrong.sum((-1, -2)) / target.person.sum().clamp_min(1.0)


def outside_distance(
    points_px: Float[Tensor, "B V 2"], target: LabelTarget, *, scale_px: float
) -> Float[Tensor, " B"]:
    """Mean squared distance of projected vertices from the mask, in units of the person's size."""
    return distance_from_mask(points_px, target.outside_px[None], scale_px=scale_px)


def soft_parts(
    weights: Float[Tensor, "V 24"], joint_names: tuple[str, ...]
) -> Float[Tensor, "V P"]:
    """How much each vertex belongs to each of PARTS, from its skinning weights."""
    member = weights.new_zeros(len(joint_names), len(PARTS))
    for joint, name in enumerate(joint_names):
        member[joint, PARTS.index(_part_of_joint(name))] = 1.0
    return weights @ member


def _part_of_joint(name: str) -> str:
    side, _, rest = name.partition("_")
    if name == "head":
        return "head"
    if rest in ("shoulder", "elbow", "wrist", "hand"):
        return f"{side}_arm"
    if rest in ("hip", "knee", "ankle", "foot"):
        return f"{side}_leg"
    return "torso"
