"""The semantic terms of a training step: label maps and predicted bodies in, terms out.

Targets and pictures are made once for all terms, and only if one of them counts.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from meshreg.geometry.cameras import project
from meshreg.losses import dsr, dsr_paper
from meshreg.losses.averages import weighted_mean
from meshreg.losses.distance import distance_from_mask, distance_maps, mask_extent
from meshreg.losses.dsr_paper_labels import paper_target
from meshreg.losses.dsr_render import SemanticPrediction, SemanticRenderer
from meshreg.losses.dsr_target import SemanticTarget, semantic_target, thinned
from meshreg.losses.terms import Term
from meshreg.render.rasterizer import Rasterizer


@dataclass(frozen=True)
class SemanticWeights:
    """How much each semantic term counts; 0 is not computed."""

    dsr_mc: float = 0.1
    dsr_c: float = 0.1
    silhouette: float = 0.0
    outside: float = 0.0  # the pull on vertices that project far off the person


@dataclass(frozen=True, eq=False)
class LabelledView:
    """Label maps of a batch and the cameras that see them."""

    labels: Integer[Tensor, "B H W"]  # CIHP ids; 254 a person without a class, 255 unknown
    K: Float[Tensor, "B 3 3"]  # pixels of `labels`
    weight: Float[Tensor, " B"]  # how much each sample counts


def semantic_terms(
    renderer: SemanticRenderer,
    vertices_cam: Float[Tensor, "B V 3"],
    view: LabelledView,
    weights: SemanticWeights,
    *,
    thin: int = 2,
) -> dict[str, Term]:
    """The corrected losses, drawn at every `thin`-th pixel of the label maps."""
    labels, K = thinned(view.labels, view.K, thin)
    size = (labels.shape[1], labels.shape[2])

    @cache
    def target() -> SemanticTarget:
        return semantic_target(labels, bare=renderer.bare, classes=renderer.classes)

    @cache
    def pred() -> SemanticPrediction:
        drawn: SemanticPrediction = renderer(vertices_cam, K, size, target().visible)
        return drawn

    def outside() -> Tensor:
        may_be_person = labels != 0
        maps = distance_maps(may_be_person).to(vertices_cam)
        extent = mask_extent(may_be_person)
        losses = distance_from_mask(project(vertices_cam, K), maps, scale_px=extent)
        there = may_be_person.any(1).any(1)
        return weighted_mean(losses, torch.where(there, view.weight, 0.0))

    return {
        "dsr_mc": Term(weights.dsr_mc, lambda: dsr.dsr_mc(pred(), target(), view.weight)),
        "dsr_c": Term(weights.dsr_c, lambda: dsr.dsr_c(pred(), target(), view.weight)),
        "silhouette": Term(
            weights.silhouette, lambda: dsr.silhouette(pred(), target(), view.weight)
        ),
        "outside": Term(weights.outside, outside),
    }


def paper_terms(
    rasterizer: Rasterizer,
    vertices_cam: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    view: LabelledView,
    face_probs: Float[Tensor, "F 20"],
    weights: SemanticWeights,
) -> dict[str, Term]:
    """The released losses at the labels' full size; they know no weights of samples.

    The silhouette is the released baseline, which compares all of the body with the bare skin.
    """
    size = (view.labels.shape[1], view.labels.shape[2])

    @cache
    def target() -> dsr_paper.PaperTarget:
        return paper_target(view.labels)

    @cache
    def pred() -> SemanticPrediction:
        textures = dsr_paper.face_textures(face_probs, target().visible)
        return dsr_paper.render_labels(rasterizer, vertices_cam, faces, view.K, size, textures)

    assert weights.outside == 0, "the released code has no such term"
    return {
        "dsr_mc": Term(weights.dsr_mc, lambda: dsr_paper.dsr_mc(pred(), target())),
        "dsr_c": Term(weights.dsr_c, lambda: dsr_paper.dsr_c(pred(), target())),
        "silhouette": Term(weights.silhouette, lambda: dsr_paper.silhouette(pred(), target())),
    }
