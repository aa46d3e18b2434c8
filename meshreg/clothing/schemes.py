"""Other label sets in terms of CIHP's: what each of their classes is called here.

Three things cannot be translated, and are said rather than guessed: a class without a side, such as
a shoe, becomes `PERSON_LABEL`, some part of the person; so does a class that may be any part, such
as a pocket. What hides the person without being worn, such as a bag, becomes `UNKNOWN_LABEL`.
"""

from dataclasses import dataclass
from difflib import get_close_matches

import torch
from jaxtyping import Integer
from torch import Tensor

from meshreg.clothing.labels import PERSON_LABEL, UNKNOWN_LABEL, Label
from meshreg.errors import InputError


@dataclass(frozen=True)
class Scheme:
    """An ordered set of classes and the CIHP id of each."""

    name: str  # key in `SCHEMES`
    classes: tuple[str, ...]  # the set's own names, in the order of its ids
    cihp: tuple[int, ...]  # for each of them a `Label`, PERSON_LABEL or UNKNOWN_LABEL
    remark: str = ""  # what the set cannot say, in words for the user

    def __len__(self) -> int:
        return len(self.classes)


_WORDS = {label.title: int(label) for label in Label} | {
    "person": PERSON_LABEL,
    "unknown": UNKNOWN_LABEL,
}


def _scheme(name: str, text: str, remark: str = "") -> Scheme:
    """Build a set from lines `its name = ours`, in the order of the ids; a name alone is ours."""
    pairs = [line.strip().partition(" =") for line in text.strip().splitlines()]
    classes = tuple(theirs for theirs, _, _ in pairs)
    cihp = tuple(_WORDS[ours.strip() or theirs] for theirs, _, ours in pairs)
    assert len(set(classes)) == len(classes), f"{name}: a class is named twice"
    return Scheme(name=name, classes=classes, cihp=cihp, remark=remark)


_CIHP = _scheme("cihp", "\n".join(label.title for label in Label))

# The ids of LIP (Gong et al. 2017) are CIHP's but for one. A garment in one piece is nearest to a
# dress, which also covers torso and thighs. Bare necks are part of the face there.
_LIP = _scheme(
    "lip",
    "\n".join("jumpsuits = dress" if label is Label.TORSO_SKIN else label.title for label in Label),
    "LIP has no class for bare torsos",
)

# ATR (Liang et al. 2015), also what `segformer_b2_clothes` answers with. Belts are worn on trousers
# more often than on anything else.
_ATR = _scheme(
    "atr",
    """
    background
    hat
    hair
    sunglasses
    upper-clothes = upper clothes
    skirt
    pants
    dress
    belt = pants
    left-shoe = left shoe
    right-shoe = right shoe
    face
    left-leg = left leg
    right-leg = right leg
    left-arm = left arm
    right-arm = right arm
    bag = unknown
    scarf
    """,
    "ATR has no classes for bare torsos, gloves and socks, and counts coats as upper clothes",
)

# Fashionpedia (Jia et al. 2020) with 0 put in front, as `segformer-b3-fashion` answers. It labels
# garments only: 0 is skin and hair as well as the room, so it says nothing.
_FASHIONPEDIA = _scheme(
    "fashionpedia",
    """
    unlabelled = unknown
    shirt, blouse = upper clothes
    top, t-shirt, sweatshirt = upper clothes
    sweater = upper clothes
    cardigan = upper clothes
    jacket = coat
    vest = upper clothes
    pants
    shorts = pants
    skirt
    coat
    dress
    jumpsuit = dress
    cape = coat
    glasses = sunglasses
    hat
    headband, head covering, hair accessory = hat
    tie = upper clothes
    glove
    watch = person
    belt = pants
    leg warmer = socks
    tights, stockings = socks
    sock = socks
    shoe = person
    bag, wallet = unknown
    scarf
    umbrella = unknown
    hood = upper clothes
    collar = upper clothes
    lapel = upper clothes
    epaulette = upper clothes
    sleeve = upper clothes
    pocket = person
    neckline = person
    buckle = person
    zipper = person
    applique = person
    bead = person
    bow = person
    flower = person
    fringe = person
    ribbon = person
    rivet = person
    ruffle = person
    sequin = person
    tassel = person
    """,
    "Fashionpedia labels garments only, so skin and hair stay unknown, and its shoes have no side",
)

# Sapiens (Khirodkar et al. 2024): hands count as arms and bare feet as legs, as they do in CIHP.
# Face and neck are one class; "lower clothing" also holds skirts, "upper clothing" also coats.
_SAPIENS_TEXT = """
    background
    apparel = person
    face_neck = face
    hair
    left_foot = left leg
    left_hand = left arm
    left_lower_arm = left arm
    left_lower_leg = left leg
    left_shoe = left shoe
    left_sock = socks
    left_upper_arm = left arm
    left_upper_leg = left leg
    lower_clothing = pants
    right_foot = right leg
    right_hand = right arm
    right_lower_arm = right arm
    right_lower_leg = right leg
    right_shoe = right shoe
    right_sock = socks
    right_upper_arm = right arm
    right_upper_leg = right leg
    torso = torso skin
    upper_clothing = upper clothes
    lower_lip = face
    upper_lip = face
    lower_teeth = face
    upper_teeth = face
    tongue = face
"""
_SAPIENS_REMARK = (
    "Sapiens tells upper from lower clothing only, so skirts count as pants and coats and dresses "
    "as upper clothes, and it counts necks as faces"
)
_SAPIENS = _scheme("sapiens", _SAPIENS_TEXT, _SAPIENS_REMARK)
# The second Sapiens has one class more, in third place.
_SAPIENS2 = _scheme(
    "sapiens2",
    _SAPIENS_TEXT.replace("face_neck =", "eyeglass = sunglasses\n    face_neck ="),
    _SAPIENS_REMARK,
)

SCHEMES = {
    scheme.name: scheme for scheme in (_CIHP, _LIP, _ATR, _FASHIONPEDIA, _SAPIENS, _SAPIENS2)
}


def find_scheme(name: str) -> Scheme:
    """A label set by name.

    Raises:
        InputError: if there is no such set.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    close = get_close_matches(name, SCHEMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise InputError(f"{name!r} is not a label scheme{hint}: choose from {', '.join(SCHEMES)}.")


def to_cihp(labels: Integer[Tensor, "*shape"], scheme: str) -> Integer[Tensor, "*shape"]:
    """Translate ids of another label set to CIHP's; 255, unknown, stays.

    The result may hold `PERSON_LABEL` and `UNKNOWN_LABEL` where the set has no CIHP class.

    Raises:
        InputError: if there is no such scheme, or an id is not in it.
    """
    known = find_scheme(scheme)
    ids = labels.long()
    beyond = ((ids < 0) | (ids >= len(known))) & (ids != UNKNOWN_LABEL)
    if bool(beyond.any()):
        raise InputError(
            f"expected label ids 0..{len(known) - 1} of {scheme}, or 255 for unknown, found "
            f"{ids[beyond].unique()[:5].tolist()}: name the scheme that the labels were made with "
            f"({', '.join(SCHEMES)})."
        )
    table = torch.full((256,), UNKNOWN_LABEL, device=labels.device)
    table[: len(known)] = table.new_tensor(known.cihp)
    kind = torch.uint8 if labels.dtype == torch.int8 else labels.dtype  # int8 ends at 127
    return table[ids].to(kind)
