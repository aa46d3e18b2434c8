"""Dressed people as geometry: one mesh per person, and fields that say where each layer lies."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

# Values of `DressedPeople.piece`.
BODY, SKIRT, TAILS, HANGING_HAIR, BRIM = range(5)


@dataclass(frozen=True, eq=False)
class DressedPeople:
    """Posed people with their clothes; all share one connectivity.

    The first V vertices are the body's surface, pushed outward by what is worn on it; others belong
    to loose pieces (skirt, long hair, ...). What a person does not wear has fields below zero.
    """

    vertices: Float[Tensor, "P N 3"]  # metres, in the frame of the poses' root and translation
    body_vertices: Float[Tensor, "P V 3"]  # the bare body inside
    joints: Float[Tensor, "P 45 3"]  # as BodyOutput's
    faces: Int[Tensor, "F 3"]
    piece: Int[Tensor, " F"]  # 0 on the body's surface, else which loose piece
    rest: Float[Tensor, "P N 3"]  # where each vertex lies on the average body in T-pose, metres
    fields: Float[Tensor, "P N L"]  # how far inside each layer, metres; the layer ends at zero
    layer_label: Int[Tensor, "P L 2"]  # Label on the person's left and right; 0: not worn
    layer_kind: Int[Tensor, "P L"]  # index into garments.KINDS; -1: not worn
    # How far inside bare face, arms and legs, metres; the trunk's skin where all are below zero.
    skin: Float[Tensor, "N 3"]
    weights: Float[Tensor, "N 24"]  # how much each SMPL joint moves a vertex; rows sum to one
