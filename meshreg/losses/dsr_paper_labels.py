"""From a colour crop of labels to DSR's targets, exactly as released (Dwivedi et al. 2021).

The released crops are resampled as colours, so every border between parts holds mixed colours that
match no label and become background: some 3 % of the person. Better: resample ids.
"""

import torch
from jaxtyping import Bool, Float, Int, Integer, UInt8
from torch import Tensor

from meshreg.clothing.groups import DSR_CLOTHING
from meshreg.clothing.labels import NUM_LABELS, PALETTE, UNKNOWN_LABEL
from meshreg.losses.dsr_paper import BARE, PaperTarget
from meshreg.losses.dsr_target import label_counts

MIN_PIXELS = 60  # of a label in a crop of 224 pixels; it must have more
CONFIDENT = 0.3  # keypoints below this do not say where the person is
MARGIN_PX = 30


def exact_labels(crop_rgb: UInt8[Tensor, "*batch H W 3"]) -> Int[Tensor, "*batch H W"]:
    """The label of every pixel whose colour is exactly in the palette; 255 elsewhere."""
    labels = torch.full(crop_rgb.shape[:-1], UNKNOWN_LABEL, device=crop_rgb.device)
    for label, color in enumerate(PALETTE):
        match = (crop_rgb == crop_rgb.new_tensor(color)).all(-1)
        labels = torch.where(match, label, labels)
    return labels


def near_keypoints(
    points_px: Float[Tensor, "B J 2"], confidence: Float[Tensor, "B J"], size: tuple[int, int]
) -> Bool[Tensor, "B H W"]:
    """The box of the confident keypoints and 30 pixels around: what lies outside is background."""
    confident = (confidence > CONFIDENT)[..., None]
    low = torch.where(confident, points_px, torch.inf).amin(1) - MARGIN_PX
    high = torch.where(confident, points_px, -torch.inf).amax(1) + MARGIN_PX
    column, row = (torch.arange(n, device=points_px.device) for n in (size[1], size[0]))
    inside_x = (column >= low[:, :1].trunc()) & (column < high[:, :1].trunc())
    inside_y = (row >= low[:, 1:].trunc()) & (row < high[:, 1:].trunc())
    return inside_y[:, :, None] & inside_x[:, None]


def paper_target(labels: Integer[Tensor, "B H W"]) -> PaperTarget:
    """The targets of label maps; ids without a class become background, but uncounted."""
    labels = labels.long()
    counts = label_counts(labels)
    visible = torch.zeros_like(counts, dtype=torch.bool)
    visible[:, list(BARE)] = counts[:, list(BARE)] > MIN_PIXELS
    known = torch.where(labels < NUM_LABELS, labels, 0)
    bare = visible.gather(1, known.flatten(1)).reshape(labels.shape)
    return PaperTarget(
        bare=bare.float(),
        classes=DSR_CLOTHING.group(known),
        class_weight=class_weights(counts @ DSR_CLOTHING.membership.to(counts)),
        visible=visible,
    )


def class_weights(counts: Float[Tensor, "B G"]) -> Float[Tensor, "B G"]:
    """The rarest class' count over each class' own; 0 for those of 60 pixels or fewer.

    The rarest class is found among those of 60 or more, so one of exactly 60 scales the others.
    """
    rarest = torch.where(counts >= MIN_PIXELS, counts, torch.inf).amin(1, keepdim=True)
    return torch.where(counts > MIN_PIXELS, rarest / counts.clamp_min(1), 0.0)
