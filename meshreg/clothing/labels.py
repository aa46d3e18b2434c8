"""The label taxonomy: the 20 classes of CIHP, on which every other label set is mapped."""

from enum import IntEnum


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


NUM_LABELS = len(Label)
