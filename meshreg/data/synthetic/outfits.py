"""What people wear, by chance: one table of frequencies, and outfits drawn from it.

The frequencies are a guess, not a survey.
"""

from dataclasses import dataclass, replace

import numpy as np

from meshreg.data.synthetic.dice import Choice, Dice
from meshreg.data.synthetic.garments import HAIR_STYLES, Garment, Outfit


@dataclass(frozen=True)
class Frequencies:
    """How often people wear what. Shares of a choice are divided by their sum."""

    outfit: Choice
    bottom: Choice
    top: Choice
    feet: Choice
    hair: Choice
    hat: Choice
    tucked: float  # of tops with trousers or skirts
    socks: float  # of people in shoes
    jacket: float
    jacket_open: float  # of jackets
    coat: float  # of jackets: long ones
    scarf: float
    gloves: float
    sunglasses: float


FREQUENCIES = Frequencies(
    outfit={"set": 0.84, "dress": 0.11, "bare_chest": 0.03, "swim": 0.02},
    bottom={"trousers": 0.58, "shorts": 0.19, "leggings": 0.09, "skirt": 0.14},
    top={
        "tee": 0.34,
        "long_sleeve": 0.14,
        "shirt": 0.16,
        "sweater": 0.12,
        "hoodie": 0.07,
        "tank": 0.11,
        "crop_top": 0.06,
    },
    feet={"shoes": 0.68, "boots": 0.12, "sandals": 0.06, "socks": 0.04, "bare": 0.10},
    hair={
        "cropped": 0.13,
        "short": 0.29,
        "medium": 0.12,
        "curly": 0.06,
        "afro": 0.04,
        "bob": 0.09,
        "long": 0.13,
        "ponytail": 0.07,
        "bun": 0.04,
        "bald": 0.03,
    },
    hat={"": 0.90, "beanie": 0.03, "cap": 0.05, "brimmed_hat": 0.02},
    tucked=0.28,
    socks=0.7,
    jacket=0.2,
    jacket_open=0.7,
    coat=0.3,
    scarf=0.03,
    gloves=0.02,
    sunglasses=0.05,
)


def sample_outfit(
    rng: np.random.Generator,
    frequencies: Frequencies = FREQUENCIES,
    *,
    chest_may_be_bare: bool = True,
) -> Outfit:
    """An outfit with hair, from head to toe; those whose chest may not be bare wear a bra then."""
    dice = Dice(rng)
    sort = dice.choose(frequencies.outfit)
    worn: list[Garment] = []
    if sort == "set":
        worn += sample_set(dice, frequencies)
    elif sort == "dress":
        worn += sample_dress(dice)
    elif sort == "bare_chest":
        worn.append(sample_bottom(dice, dice.choose({"trousers": 1.0, "shorts": 2.0}), -0.04))
        bra = sample_bra(dice)
        worn += [] if chest_may_be_bare else [bra]
    else:
        worn += sample_swimwear(dice, chest_may_be_bare)
    if sort != "swim":
        worn += sample_outerwear(dice, frequencies)
        worn += sample_feet(dice, frequencies)
    worn += sample_head(dice, frequencies)
    # Every garment has folds of its own.
    return Outfit(tuple(replace(garment, phase=dice.between(0.0, 1.0)) for garment in worn))


def sample_set(dice: Dice, frequencies: Frequencies) -> list[Garment]:
    """A top, and trousers or a skirt."""
    below = dice.choose(frequencies.bottom)
    bottom = sample_skirt(dice) if below == "skirt" else sample_bottom(dice, below)
    top = sample_top(dice, dice.choose(frequencies.top), bottom.waist)
    can_be_tucked = top.kind not in ("crop_top", "hoodie") and below != "leggings"
    if dice.chance(frequencies.tucked * (2 if below == "skirt" else 1)) and can_be_tucked:
        top = replace(top, tucked=True, hem=bottom.waist - 0.12, flare=0.0)
    return [bottom, top]


def sample_bottom(dice: Dice, kind: str, waist_change: float = 0.0) -> Garment:
    """Trousers, shorts or leggings."""
    waist = dice.between(0.07, 0.15) + waist_change
    if kind == "leggings":
        return Garment(
            kind,
            waist=waist + 0.02,
            leg=dice.between(1.45, 1.98),
            thickness=0.002,
            looseness=0.05,
            wrinkles=0.1,
        )
    leg = dice.between(1.86, 2.08) if kind == "trousers" else dice.between(0.35, 1.05)
    looseness = dice.between(0.1, 1.0)
    return Garment(
        kind,
        waist=waist,
        leg=leg,
        thickness=dice.between(0.004, 0.008),
        looseness=looseness,
        flare=dice.between(-0.01, 0.03) * looseness,
        wrinkles=dice.between(0.2, 1.0),
    )


def sample_skirt(dice: Dice) -> Garment:
    return Garment(
        "skirt",
        waist=dice.between(0.08, 0.16),
        leg=dice.between(0.38, 1.75),
        thickness=0.004,
        looseness=dice.between(0.1, 1.0),
        flare=dice.between(-0.02, 0.09),
        wrinkles=dice.between(0.0, 1.0),
    )


# Per kind of top: where sleeves end, thickness, looseness (each from, to).
TOPS = {
    "tee": ((0.3, 0.75), (0.004, 0.006), (0.2, 1.0)),
    "long_sleeve": ((1.75, 2.03), (0.004, 0.007), (0.1, 0.9)),
    "shirt": ((0.5, 2.03), (0.004, 0.006), (0.3, 1.0)),
    "sweater": ((1.8, 2.06), (0.008, 0.014), (0.4, 1.0)),
    "hoodie": ((1.85, 2.06), (0.010, 0.016), (0.6, 1.0)),
    "tank": ((-0.22, -0.04), (0.003, 0.005), (0.1, 0.8)),
    "crop_top": ((-0.15, 0.6), (0.003, 0.005), (0.0, 0.4)),
}


def sample_top(dice: Dice, kind: str, waist: float) -> Garment:
    """What covers the trunk, by the waist of what is worn below."""
    sleeve, thickness, looseness = (dice.between(*limits) for limits in TOPS[kind])
    if kind == "shirt":  # sleeves end above the elbow or at the wrist
        sleeve = dice.between(1.9, 2.04) if dice.chance(0.6) else dice.between(0.5, 0.8)
    hem = waist + dice.between(0.02, 0.1) if kind == "crop_top" else dice.between(-0.06, 0.05)
    return Garment(
        kind,
        hem=hem,
        sleeve=sleeve,
        neck=0.028 if kind in ("shirt", "hoodie") else dice.between(-0.02, 0.03),
        vee=dice.between(0.03, 0.12) if dice.chance(0.35) and kind != "hoodie" else 0.0,
        thickness=thickness,
        looseness=looseness,
        flare=dice.between(0.0, 0.02) * looseness,
        wrinkles=dice.between(0.2, 1.0),
    )


def sample_dress(dice: Dice) -> list[Garment]:
    """A dress: its upper part on the body, its skirt hanging free."""
    sleeve = (
        dice.between(-0.22, -0.02)
        if dice.chance(0.45)
        else dice.between(0.2, 0.8)
        if dice.chance(0.6)
        else dice.between(1.5, 2.02)
    )
    looseness = dice.between(0.0, 0.5)
    waist = dice.between(0.10, 0.14)
    top = Garment(
        "dress_top",
        hem=-0.08,
        sleeve=sleeve,
        neck=dice.between(-0.03, 0.03),
        vee=dice.between(0.03, 0.14) if dice.chance(0.5) else 0.0,
        thickness=0.004,
        looseness=looseness,
        wrinkles=dice.between(0.1, 0.7),
    )
    skirt = Garment(
        "dress_skirt",
        waist=waist,
        leg=dice.between(0.4, 1.8),
        thickness=0.004,
        looseness=dice.between(0.1, 1.0),
        flare=dice.between(-0.01, 0.1),
        wrinkles=dice.between(0.0, 1.0),
    )
    return [top, skirt]


def sample_swimwear(dice: Dice, chest_may_be_bare: bool) -> list[Garment]:
    """Briefs, and mostly a top."""
    briefs = Garment(
        "underwear",
        waist=dice.between(0.02, 0.07),
        leg=dice.between(0.05, 0.3),
        thickness=0.002,
        looseness=0.1,
        wrinkles=0.1,
    )
    bare, bra = dice.chance(0.5), sample_bra(dice)
    return [briefs] if bare and chest_may_be_bare else [briefs, bra]


def sample_bra(dice: Dice) -> Garment:
    """What covers the chest and little else."""
    return Garment(
        "crop_top",
        hem=dice.between(0.28, 0.33),
        sleeve=dice.between(-0.3, -0.15),
        neck=-0.06,
        vee=dice.between(0.0, 0.08),
        thickness=0.002,
        looseness=0.1,
        wrinkles=0.1,
    )


def sample_outerwear(dice: Dice, frequencies: Frequencies) -> list[Garment]:
    """Jacket or coat, scarf, gloves."""
    worn = []
    if dice.chance(frequencies.jacket):
        long = dice.chance(frequencies.coat)
        opening = dice.between(0.02, 0.075) if dice.chance(frequencies.jacket_open) else 0.0
        jacket = Garment(
            "coat" if long else "jacket",
            hem=-0.06 if long else dice.between(-0.07, 0.07),
            sleeve=dice.between(1.88, 2.08),
            neck=dice.between(0.0, 0.035),
            vee=dice.between(0.0, 0.1),
            opening=opening,
            thickness=dice.between(0.007, 0.015),
            looseness=dice.between(0.4, 0.9),
            flare=dice.between(0.0, 0.015),
            wrinkles=dice.between(0.2, 0.8),
        )
        worn.append(jacket)
        if long:
            tails = replace(
                jacket, kind="coat_tails", waist=0.11, leg=dice.between(0.5, 1.5), flare=0.02
            )
            worn.append(tails)
    if dice.chance(frequencies.scarf):
        worn.append(Garment("scarf", thickness=dice.between(0.015, 0.03), wrinkles=1.0))
    if dice.chance(frequencies.gloves):
        worn.append(Garment("gloves", sleeve=dice.between(1.85, 2.0), thickness=0.004))
    return worn


def sample_feet(dice: Dice, frequencies: Frequencies) -> list[Garment]:
    """Shoes, boots, socks, or bare feet."""
    feet = dice.choose(frequencies.feet)
    worn = []
    if feet == "socks" or (feet in ("shoes", "boots") and dice.chance(frequencies.socks)):
        worn.append(Garment("socks", leg=dice.between(1.55, 1.92), thickness=0.002))
    if feet == "shoes":
        worn.append(
            Garment("shoes", leg=dice.between(1.99, 2.2), thickness=dice.between(0.006, 0.012))
        )
    elif feet == "sandals":
        worn.append(Garment("sandals", leg=dice.between(2.3, 2.55), thickness=0.005))
    elif feet == "boots":
        worn.append(
            Garment("boots", leg=dice.between(1.3, 1.85), thickness=dice.between(0.007, 0.012))
        )
    return worn


# Per cut: thickness on the scalp, hanging style, length below the ears (each from, to).
HAIR_CUTS = {
    "cropped": ((0.002, 0.005), "none", (0.0, 0.0)),
    "short": ((0.008, 0.018), "none", (0.0, 0.0)),
    "medium": ((0.018, 0.028), "none", (0.0, 0.0)),
    "curly": ((0.025, 0.042), "none", (0.0, 0.0)),
    "afro": ((0.045, 0.085), "none", (0.0, 0.0)),
    "bob": ((0.010, 0.020), "curtain", (0.03, 0.10)),
    "long": ((0.008, 0.018), "curtain", (0.12, 0.36)),
    "ponytail": ((0.006, 0.010), "ponytail", (0.06, 0.28)),
    "bun": ((0.006, 0.012), "bun", (0.0, 0.0)),
}


def sample_head(dice: Dice, frequencies: Frequencies) -> list[Garment]:
    """Hair, glasses, hat."""
    worn = []
    cut = dice.choose(frequencies.hair)
    if cut != "bald":
        thickness, style, length = HAIR_CUTS[cut]
        thinning = dice.chance(0.1) and style == "none"
        worn.append(
            Garment(
                "hair",
                thickness=dice.between(*thickness),
                style=HAIR_STYLES.index(style),
                length=dice.between(*length),
                level=dice.between(-0.008, 0.012) + 0.01 * thinning,
                bald=dice.between(0.03, 0.07) if thinning else 0.0,
                looseness=dice.between(0.0, 1.0),
                wrinkles=1.0 if cut in ("curly", "afro") else dice.between(0.2, 0.8),
            )
        )
    if dice.chance(frequencies.sunglasses):
        worn.append(Garment("sunglasses", thickness=0.006))
    hat = dice.choose(frequencies.hat)
    if hat:
        worn.append(
            Garment(
                hat,
                level=dice.between(-0.01, 0.02),
                thickness=dice.between(0.008, 0.014),
                length=dice.between(0.05, 0.11),
            )
        )
    return worn
