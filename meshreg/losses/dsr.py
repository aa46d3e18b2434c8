"""DSR-MC and DSR-C: what the body shows must match the labels of the picture.

The idea is of Dwivedi et al. 2021: bare skin coincides with the body's surface, whereas clothes say
which part is where. Corrected against the released code, which `dsr_paper` keeps: one intersection
over union per picture, a likelihood of probabilities, the background counted as what the body does
not cover, and ignored pixels.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.losses.averages import weighted_mean
from meshreg.losses.dsr_render import SemanticPrediction
from meshreg.losses.dsr_target import SemanticTarget

LABEL_NOISE = 0.2  # chance that a pixel's label is arbitrary; bounds what one pixel can cost


def dsr_mc(
    pred: SemanticPrediction, target: SemanticTarget, weight: Float[Tensor, " B"] | None = None
) -> Float[Tensor, ""]:
    """1 - soft IoU of the bare skin, over samples whose pictures show some."""
    losses = soft_iou_loss(pred.bare, target.bare, target.bare_known)
    return _mean_over(losses, target.shows_bare, weight)


def dsr_c(
    pred: SemanticPrediction,
    target: SemanticTarget,
    weight: Float[Tensor, " B"] | None = None,
    *,
    label_noise: float = LABEL_NOISE,
) -> Float[Tensor, ""]:
    """The class-balanced negative log likelihood of the labels: nats per pixel.

    Where the body is not, the background is expected. With the chance `label_noise` a pixel has any
    label at all, so no pixel costs more than log(G / label_noise).

    Sharply drawn outlines feel the logarithm at the pixels on their two sides rather than between
    them: their gradient is that of the loss times 3 to 5, or 2 to 3 with a `label_noise` of 0.4.
    """
    losses = label_nll(pred, target, label_noise=label_noise)
    return _mean_over(losses, target.shows_classes, weight)


def silhouette(
    pred: SemanticPrediction, target: SemanticTarget, weight: Float[Tensor, " B"] | None = None
) -> Float[Tensor, ""]:
    """The baseline without semantics: 1 - soft IoU of the body and the person."""
    losses = soft_iou_loss(pred.alpha, target.person, target.person_known)
    return _mean_over(losses, target.shows_person, weight)


def soft_iou_loss(
    rendered: Float[Tensor, "B H W"], mask: Bool[Tensor, "B H W"], known: Bool[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """1 - intersection over union of probabilities with a mask, over the known pixels."""
    rendered = torch.where(known, rendered, 0.0)
    wanted = (mask & known).to(rendered)
    both = (rendered * wanted).sum((1, 2))
    either = (rendered + wanted).sum((1, 2)) - both
    there = either > 0  # nothing to be seen and nothing drawn is a perfect match
    return 1 - torch.where(there, both / torch.where(there, either, 1.0), 1.0)


def label_nll(
    pred: SemanticPrediction, target: SemanticTarget, *, label_noise: float = LABEL_NOISE
) -> Float[Tensor, " B"]:
    """The weighted mean over the known pixels of one picture; class 0 is the background."""
    num_classes = pred.classes.shape[-1]
    index = torch.where(target.classes_known, target.classes, 0)
    surface = pred.classes.gather(-1, index[..., None])[..., 0]
    probs = surface + torch.where(index == 0, 1 - pred.alpha, 0.0)
    nll = -torch.log((1 - label_noise) * probs + label_noise / num_classes)
    weight = target.class_weight.gather(1, index.flatten(1)).reshape(index.shape)
    weight = torch.where(target.classes_known, weight, 0.0)
    mass = weight.sum((1, 2))
    return (weight * nll).sum((1, 2)) / torch.where(mass > 0, mass, 1.0)


def _mean_over(
    losses: Float[Tensor, " B"], there: Bool[Tensor, " B"], weight: Float[Tensor, " B"] | None
) -> Float[Tensor, ""]:
    weight = losses.new_ones(len(losses)) if weight is None else weight
    return weighted_mean(losses, torch.where(there, weight, 0.0))
