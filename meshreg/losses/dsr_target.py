"""What DSR's losses read from a label map: bare skin, classes, and how much each pixel counts."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from meshreg.clothing.groups import DSR_CLOTHING, Grouping, minimally_clothed
from meshreg.clothing.labels import NUM_LABELS, UNKNOWN_LABEL, Label
from meshreg.geometry.cameras import crop_intrinsics

MIN_SHARE = 60 / 224**2  # of the picture: a label with fewer pixels may be a parser's slip
MAX_RATIO = 30.0  # a pixel of the rarest class counts at most so much more than of the commonest


@dataclass(frozen=True, eq=False)
class SemanticTarget:
    """Label maps of a batch as targets; what a map does not know counts nothing."""

    bare: Bool[Tensor, "B H W"]  # where a visible minimally clothed label is
    bare_known: Bool[Tensor, "B H W"]
    classes: Int[Tensor, "B H W"]  # index of the merged class, 0 the background; 255 unknown
    class_weight: Float[Tensor, "B G"]  # how much a pixel of each class counts
    person: Bool[Tensor, "B H W"]
    person_known: Bool[Tensor, "B H W"]
    visible: Bool[Tensor, "B 20"]  # the minimally clothed labels that the picture shows

    @property
    def classes_known(self) -> Bool[Tensor, "B H W"]:
        return self.classes != UNKNOWN_LABEL

    @property
    def shows_bare(self) -> Bool[Tensor, " B"]:
        return self.visible.any(1)

    @property
    def shows_classes(self) -> Bool[Tensor, " B"]:
        """Whether any pixel names a part of the person; background alone says too little."""
        return (self.classes_known & (self.classes != 0)).any((1, 2))

    @property
    def shows_person(self) -> Bool[Tensor, " B"]:
        return self.person.any((1, 2))


def semantic_target(
    labels: Integer[Tensor, "B H W"],
    *,
    bare: str | Iterable[Label] = "default",
    classes: Grouping = DSR_CLOTHING,
    min_share: float = MIN_SHARE,
    max_ratio: float = MAX_RATIO,
) -> SemanticTarget:
    """Targets of CIHP label maps; 254 is a person without a class, 255 says nothing.

    Maps of mirrored pictures must have their sides exchanged, as `flip_labels` does.
    """
    labels = labels.long()
    is_bare = minimally_clothed(bare).membership[:, 1].to(labels.device) > 0
    has_class = labels < NUM_LABELS
    index = torch.where(has_class, labels, 0)
    counts = label_counts(labels)
    visible = is_bare & (counts > min_share * labels[0].numel())
    seen = visible.gather(1, index.flatten(1)).reshape(labels.shape)
    merged = classes.group(labels)
    return SemanticTarget(
        bare=seen & has_class,
        # Bare labels of too few pixels are neither wanted nor a mistake.
        bare_known=has_class & (seen | ~is_bare[index]),
        classes=merged,
        class_weight=balanced_weights(counts @ classes.membership.to(counts), max_ratio),
        person=(labels != 0) & (labels != UNKNOWN_LABEL),
        person_known=labels != UNKNOWN_LABEL,
        visible=visible,
    )


def balanced_weights(counts: Float[Tensor, "B G"], max_ratio: float) -> Float[Tensor, "B G"]:
    """Inverse to the number of a class' pixels, so that classes count alike, within a ratio.

    The commonest class has weight 1 and none more than `max_ratio`: a few stray pixels of a class
    must not outvote a limb.
    """
    most = counts.amax(1, keepdim=True)
    return torch.where(counts > 0, (most / counts.clamp_min(1)).clamp_max(max_ratio), 0.0)


def label_counts(labels: Integer[Tensor, "B H W"]) -> Float[Tensor, "B 20"]:
    """How many pixels of each label there are; ids without a class are not counted."""
    flat = labels.flatten(1).long()
    counts = torch.zeros(len(flat), 256, device=labels.device)
    return counts.scatter_add_(1, flat, counts.new_ones(()).expand_as(flat))[:, :NUM_LABELS]


def thinned(
    labels: Integer[Tensor, "B H W"], K: Float[Tensor, "B 3 3"], step: int
) -> tuple[Integer[Tensor, "B h w"], Float[Tensor, "B 3 3"]]:
    """Every `step`-th row and column of label maps, and the camera that looks through just those.

    Labels and camera agree exactly, so a perfect body still matches perfectly; a map resized to the
    nearest label may be off by half a pixel.
    """
    first = float(step // 2)
    shrink = K.new_tensor([[1 / step], [1 / step], [1.0]])
    return labels[:, step // 2 :: step, step // 2 :: step], crop_intrinsics(
        K, first, first
    ) * shrink
