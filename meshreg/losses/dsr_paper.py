"""DSR's losses on rendered labels exactly as released (Dwivedi et al. 2021), faults included.

Only for comparison; `dsr` holds the losses to train with. The faults: the intersection over union
is taken row by row, so rows without target do not count and even a perfect match is no zero;
probabilities serve as logits of the cross-entropy, which can hardly fall; front and back surfaces
blend, because the depth range is far too long.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.clothing.groups import DSR_CLOTHING, MINIMALLY_CLOTHED
from meshreg.losses.dsr_render import SemanticPrediction
from meshreg.render.rasterizer import Rasterizer

BARE = tuple(sorted(MINIMALLY_CLOTHED["dsr_paper"]))
FOCAL_PX = 5000.0  # of its camera, for a crop of 224 pixels
SIGMA, GAMMA, NEAR, FAR = 1e-5, 0.1, 1.0, 100.0


@dataclass(frozen=True, eq=False)
class PaperTarget:
    """What the rendered labels are compared with."""

    bare: Float[Tensor, "B H W"]  # 1 where a valid minimally clothed label is
    classes: Int[Tensor, "B H W"]  # index into DSR_CLOTHING; background where nobody knows
    class_weight: Float[Tensor, "B 8"]
    visible: Bool[Tensor, "B 20"]  # the valid minimally clothed labels

    @property
    def kept(self) -> Bool[Tensor, " B"]:
        """False for samples that are skipped: without a valid label neither loss counts."""
        return self.visible.any(1)


def face_textures(
    face_probs: Float[Tensor, "F 20"], visible: Bool[Tensor, "B 20"]
) -> Float[Tensor, "B F 9"]:
    """For every face the probability of the valid bare labels, then of the eight classes."""
    bare = (face_probs @ visible.to(face_probs).mT).mT[..., None]
    classes = face_probs @ DSR_CLOTHING.membership.to(face_probs)
    return torch.cat([bare, classes.expand(len(bare), -1, -1)], -1)


def render_labels(
    rasterizer: Rasterizer,
    vertices_cam: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "B 3 3"],
    size: tuple[int, int],
    textures: Float[Tensor, "B F 9"],
) -> SemanticPrediction:
    """SoftRas' picture with the released settings, in one pass instead of nine."""
    image = rasterizer.soft_semantic(
        vertices_cam,
        faces,
        K,
        size,
        textures,
        per_face=True,
        sigma=SIGMA,
        gamma=GAMMA,
        z_near=NEAR,
        z_far=FAR,
    )
    return SemanticPrediction(
        bare=image.classes[..., 0], classes=image.classes[..., 1:], alpha=image.alpha
    )


def rowwise_iou_loss(
    rendered: Float[Tensor, "B H W"], mask: Float[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """1 - the mean over the picture's rows of soft intersection over union."""
    both = rendered * mask
    either = rendered + mask - both
    return 1 - (both.sum(-1) / (either.sum(-1) + 1e-6)).mean(-1)


def distance_loss(
    rendered: Float[Tensor, "B H W"], outside_px: Float[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """An alternative in the released code: rendered skin times its distance from the mask."""
    # It sums over three equal colour channels, hence the factors of 3.
    area = 3 * rendered.sum((1, 2))
    return 3 * (rendered * outside_px).sum((1, 2)) / (area.pow(1.5) + 1e-6)


def class_loss(
    rendered: Float[Tensor, "B H W 8"],
    classes: Int[Tensor, "B H W"],
    class_weight: Float[Tensor, "B 8"],
) -> Float[Tensor, " B"]:
    """Weighted cross-entropy with probabilities for logits; NaN where no pixel has a weight."""
    index = classes.long()
    nll = -rendered.log_softmax(-1).gather(-1, index[..., None])[..., 0]
    weight = class_weight.gather(1, index.flatten(1)).reshape(index.shape)
    return (weight * nll).sum((1, 2)) / weight.sum((1, 2))


def dsr_mc(pred: SemanticPrediction, target: PaperTarget) -> Float[Tensor, ""]:
    """DSR-MC over the whole batch; skipped samples count zero and stay in the mean."""
    return _mean_of_kept(rowwise_iou_loss(pred.bare, target.bare), target)


def dsr_c(pred: SemanticPrediction, target: PaperTarget) -> Float[Tensor, ""]:
    """DSR-C over the whole batch; skipped samples count zero and stay in the mean."""
    # A sample without any weight would be NaN, also in its gradient.
    weighted = target.class_weight.any(1)
    weight = torch.where(weighted[:, None], target.class_weight, 1.0)
    losses = class_loss(pred.classes, target.classes, weight)
    return _mean_of_kept(torch.where(weighted, losses, 0.0), target)


def silhouette(pred: SemanticPrediction, target: PaperTarget) -> Float[Tensor, ""]:
    """The released baseline: the coverage instead of the bare skin in DSR-MC."""
    return _mean_of_kept(rowwise_iou_loss(pred.alpha, target.bare), target)


def _mean_of_kept(losses: Float[Tensor, " B"], target: PaperTarget) -> Float[Tensor, ""]:
    return torch.where(target.kept, losses, 0.0).mean()
