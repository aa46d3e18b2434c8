"""The label taxonomy: the 20 classes of CIHP, on which every other label set is mapped."""

from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Integer, UInt8
from torch import Tensor


class Label(IntEnum):
    """CIHP's classes in Graphonomy's order (Gong et al. 2018, 2019); sides are the person's own.

    Class 10 is called jumpsuits in some lists; in CIHP it is the bare skin of neck and torso.
    """

    BACKGROUND = 0
    HAT = 1
    HAIR = 2
    GLOVE = 3
    SUNGLASSES = 4
    UPPER_CLOTHES = 5
    DRESS = 6
    COAT = 7
    SOCKS = 8
    PANTS = 9
    TORSO_SKIN = 10
    SCARF = 11
    SKIRT = 12
    FACE = 13
    LEFT_ARM = 14
    RIGHT_ARM = 15
    LEFT_LEG = 16
    RIGHT_LEG = 17
    LEFT_SHOE = 18
    RIGHT_SHOE = 19

    @property
    def title(self) -> str:
        """The name in words, such as "left arm"."""
        return self.name.replace("_", " ").lower()

    @property
    def mirrored(self) -> "Label":
        """The same class on the other side of the body; itself where there are no sides."""
        side, _, rest = self.name.partition("_")
        other = {"LEFT": "RIGHT", "RIGHT": "LEFT"}.get(side)
        return Label[f"{other}_{rest}"] if other else self


NUM_LABELS = len(Label)
PERSON_LABEL = 254  # some part of the person, nobody said which
UNKNOWN_LABEL = 255  # something stands in front of the person, or nobody knows
NO_CLASS = (PERSON_LABEL, UNKNOWN_LABEL)  # ids that a label map may hold besides the classes'

# The RGB colours in which Graphonomy draws its label maps, in the order of the ids.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (128, 0, 0),
    (255, 0, 0),
    (0, 85, 0),
    (170, 0, 51),
    (255, 85, 0),
    (0, 0, 85),
    (0, 119, 221),
    (85, 85, 0),
    (0, 85, 85),
    (85, 51, 0),
    (52, 86, 128),
    (0, 128, 0),
    (0, 0, 255),
    (51, 170, 221),
    (0, 255, 255),
    (85, 255, 170),
    (170, 255, 85),
    (255, 255, 0),
    (255, 170, 0),
)
FLIP = tuple(int(label.mirrored) for label in Label)  # `FLIP[label]` is the other side's label


def cihp_palette() -> UInt8[np.ndarray, "256 3"]:
    """The colour of every 8-bit id, for `draw_labels`; ids without a class are grey."""
    palette = np.full((256, 3), 128, np.uint8)
    palette[:NUM_LABELS] = PALETTE
    palette[PERSON_LABEL] = 192
    return palette


def swap_sides(labels: Integer[Tensor, "*shape"]) -> Integer[Tensor, "*shape"]:
    """The labels with left and right exchanged; every other id, 254 and 255 too, stays.

    For arrays: `swap_sides(torch.from_numpy(labels)).numpy()`.
    """
    table = torch.arange(256, device=labels.device)
    table[:NUM_LABELS] = table.new_tensor(FLIP)
    return table[labels.long()].to(labels.dtype)


def flip_labels(labels: Integer[Tensor, "*batch H W"]) -> Integer[Tensor, "*batch H W"]:
    """The label map of the left-right mirrored picture.

    Who is mirrored shows the left arm where the right one was, so the ids swap sides as well.
    """
    return swap_sides(labels).flip(-1)
