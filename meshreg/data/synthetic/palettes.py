"""What colours and fabrics there are, and how often people have them."""

from dataclasses import dataclass

import numpy as np

from meshreg.clothing.labels import Label

Rgb = tuple[float, float, float]


def linear(code: str) -> Rgb:
    """The linear light of a colour written as six hexadecimal sRGB digits."""
    values = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return r, g, b


def table(text: str) -> tuple[Rgb, ...]:
    """The linear light of several sRGB colours, parted by blanks."""
    return tuple(linear(code) for code in text.split())


NEUTRAL = table("0d0d0f 161618 222428 3a3c40 5d5f63 8b8d90 b5b5b3 dcdad4 f2f1ec f7f5f0")
DENIM = table("1b2233 232d45 2b3a5a 3f567e 5b769f 8299b8 20232b 4d4f55 a9b8c9")
NAVY = table("141a2e 1a2340 0f1a2a 22335c 2d3f66")
EARTH = table("4a3626 6b4e33 8a6b47 b08d5f c8ad85 d9c7a5 55532f 6f6a3d 3d4a30 7d4a2e 5c3d2e 99805f")
SATURATED = table(
    "b3202a 7a1626 d9472b e0752a e8b023 f0d34a 2f7d3d 1c5a3c 3aa39a 1f6fb2 2b4bc0 5a3aa0 8a2d7c "
    "d0477f 18808f"
)
PASTEL = table("e6b8c0 f0cfc0 f3e2b8 c4dcc0 b8d8e0 b9c6e6 cfc0e4 e8dcd0")
LEATHER = table("12100f 1d1714 33211a 4f3122 6e4429 8f5f38 2a2422")
FACES = table("0d0d0f 5d5f63 f2f1ec b3202a 1f6fb2")
GROUPS = {
    "neutral": NEUTRAL,
    "denim": DENIM,
    "navy": NAVY,
    "earth": EARTH,
    "saturated": SATURATED,
    "pastel": PASTEL,
    "leather": LEATHER,
}
# Hair: colour of most strands, and how often; dark hair is common, and the rule for dark skin.
HAIR = (
    ("0b0908", 0.30),
    ("17100c", 0.22),
    ("2a1a11", 0.16),
    ("43291a", 0.10),
    ("6a4527", 0.06),
    ("96703f", 0.05),
    ("c2a066", 0.04),
    ("7a3517", 0.03),
    ("55504c", 0.03),
    ("a5a19b", 0.03),
    ("d6d3ce", 0.02),
)
DYED = table("a02848 2b55a8 6a3fa0 2f8f6a d58fb5 e6dfc8")
IRIS = table("1d0f08 2b170b 3d2412 54371c 5d5a2c 4d6b52 5a7f9a 7f98a8")
LIPSTICK = table("a8252f 7d1a2c c2495b b5564d d0607f 5a1524")


@dataclass(frozen=True)
class Fabric:
    """A kind of cloth: how it is patterned, made up and how it takes light."""

    name: str
    pattern: str
    weight: float
    groups: str  # palettes to draw from
    repeat: tuple[float, float] = (0.05, 0.1)  # metres, least and most
    detail: str = "none"
    roughness: float = 0.85
    specular: float = 0.025
    sheen: float = 0.05
    crease: float = 0.0028
    ribs: float = 0.0
    wear: float = 0.08


_TOPS = (
    Fabric("tee", "plain", 0.23, "neutral neutral saturated navy earth pastel"),
    Fabric("melange", "melange", 0.09, "neutral navy earth", (0.002, 0.006)),
    Fabric("breton", "rings", 0.10, "neutral navy saturated", (0.022, 0.12)),
    Fabric("shirt", "plain", 0.08, "neutral pastel navy denim", detail="buttons", crease=0.004),
    Fabric("pinstripe", "stripes", 0.05, "neutral pastel navy", (0.008, 0.03), "buttons"),
    Fabric("gingham", "gingham", 0.05, "saturated navy neutral", (0.012, 0.05), "buttons"),
    Fabric("tartan", "tartan", 0.06, "saturated earth navy", (0.06, 0.15), "buttons"),
    Fabric("dots", "dots", 0.03, "neutral saturated navy", (0.02, 0.06)),
    Fabric("floral", "floral", 0.05, "saturated pastel neutral", (0.035, 0.11)),
    Fabric("camouflage", "camouflage", 0.02, "earth", (0.09, 0.18)),
    Fabric("blocks", "blocks", 0.05, "saturated neutral navy", (0.15, 0.3)),
    Fabric("raglan", "raglan", 0.04, "neutral saturated navy"),
    Fabric("print", "print", 0.13, "neutral saturated navy earth", (0.14, 0.26)),
    Fabric("marble", "marble", 0.02, "saturated pastel", (0.08, 0.2)),
    Fabric(
        "knit", "plain", 0.07, "earth neutral pastel saturated", (0.01, 0.02), ribs=8e-4, sheen=0.12
    ),
    Fabric(
        "sport", "blocks", 0.04, "saturated neutral", (0.2, 0.3), specular=0.035, roughness=0.65
    ),
)
_PANTS = (
    Fabric("jeans", "denim", 0.40, "denim", (0.002, 0.003), "jeans", wear=0.30, crease=0.0035),
    Fabric("chinos", "plain", 0.20, "earth neutral navy", detail="trousers", crease=0.0035),
    Fabric("suit", "melange", 0.12, "neutral navy", (0.002, 0.004), "trousers", crease=0.002),
    Fabric("sweat", "melange", 0.10, "neutral navy", (0.002, 0.006), crease=0.004, sheen=0.1),
    Fabric(
        "sport", "plain", 0.08, "neutral neutral navy saturated", specular=0.035, roughness=0.65
    ),
    Fabric("check", "tartan", 0.03, "neutral earth", (0.05, 0.1), "trousers"),
    Fabric("camouflage", "camouflage", 0.03, "earth", (0.1, 0.2), "jeans"),
    Fabric("floral", "floral", 0.02, "saturated neutral", (0.04, 0.1)),
    Fabric("leather", "plain", 0.02, "leather", roughness=0.5, specular=0.03, sheen=0.0),
)
_DRESSES = (
    Fabric("plain", "plain", 0.35, "saturated neutral pastel navy earth", crease=0.003),
    Fabric("floral", "floral", 0.25, "saturated pastel neutral navy", (0.04, 0.13)),
    Fabric("dots", "dots", 0.10, "neutral saturated navy", (0.02, 0.07)),
    Fabric("rings", "rings", 0.08, "neutral navy saturated", (0.03, 0.15)),
    Fabric("stripes", "stripes", 0.05, "neutral pastel saturated", (0.02, 0.06)),
    Fabric("tartan", "tartan", 0.07, "saturated earth navy", (0.06, 0.15)),
    Fabric("denim", "denim", 0.06, "denim", (0.002, 0.003), wear=0.25),
    Fabric("satin", "plain", 0.04, "saturated pastel", roughness=0.35, specular=0.06, sheen=0.0),
)
_COATS = (
    Fabric("wool", "melange", 0.35, "neutral earth navy", (0.002, 0.006), "buttons", sheen=0.12),
    Fabric("jacket", "plain", 0.27, "neutral earth navy saturated", detail="zip", crease=0.004),
    Fabric("denim", "denim", 0.12, "denim", (0.002, 0.003), "buttons", wear=0.25),
    Fabric("leather", "plain", 0.10, "leather", detail="zip", roughness=0.5, specular=0.03),
    Fabric("shell", "blocks", 0.10, "saturated neutral", (0.2, 0.3), "zip", specular=0.05),
    Fabric("tartan", "tartan", 0.06, "earth neutral", (0.08, 0.16), "buttons"),
)
_SHOES = (
    Fabric("trainers", "blocks", 0.45, "neutral neutral saturated", (0.03, 0.06), "laces"),
    Fabric("leather", "plain", 0.40, "leather", roughness=0.45, specular=0.04, detail="laces"),
    Fabric("canvas", "plain", 0.15, "neutral saturated navy", detail="laces"),
)
_SMALL = (
    Fabric("plain", "plain", 0.6, "neutral neutral saturated navy", ribs=3e-4, crease=0.001),
    Fabric("rings", "rings", 0.25, "neutral saturated", (0.02, 0.06), crease=0.001),
    Fabric("tartan", "tartan", 0.15, "saturated earth", (0.04, 0.1), crease=0.002),
)
_HARD = (Fabric("frame", "plain", 1.0, "leather", roughness=0.2, specular=0.06, crease=0.0),)
FABRICS = {
    Label.UPPER_CLOTHES: _TOPS,
    Label.PANTS: _PANTS,
    Label.SKIRT: _DRESSES,
    Label.DRESS: _DRESSES,
    Label.COAT: _COATS,
    Label.LEFT_SHOE: _SHOES,
    Label.RIGHT_SHOE: _SHOES,
    Label.SUNGLASSES: _HARD,
}


@dataclass(frozen=True)
class Scheme:
    """One person's taste: colours that return in several layers."""

    accent: Rgb
    sober: float  # 0 colourful .. 1 black, white and grey


def choose(rng: np.random.Generator, weights: list[float]) -> int:
    """An index drawn by weight."""
    total = np.cumsum(np.asarray(weights, np.float64))
    return int(np.searchsorted(total, rng.random() * total[-1], side="right"))


def pick(rng: np.random.Generator, colors: tuple[Rgb, ...]) -> Rgb:
    """One of the colours, a little lighter or darker and off its hue."""
    base = colors[int(rng.integers(len(colors)))]
    lightness = float(np.exp(0.16 * (2 * rng.random() - 1)))
    tints = 1 + 0.10 * (2 * rng.random(3) - 1)
    r, g, b = (float(min(0.70, c * lightness * t)) for c, t in zip(base, tints, strict=True))
    return r, g, b


def sample_scheme(rng: np.random.Generator) -> Scheme:
    return Scheme(accent=pick(rng, SATURATED), sober=float(rng.random()))


def sample_fabric(rng: np.random.Generator, label: int) -> Fabric:
    """A kind of cloth that is worn as this label."""
    choices = FABRICS.get(Label(label), _SMALL)
    return choices[choose(rng, [fabric.weight for fabric in choices])]


def sample_colors(
    rng: np.random.Generator, name: str, label: int, scheme: Scheme
) -> tuple[Rgb, Rgb, Rgb]:
    """Three colours that go with each other: the ground's and two of the pattern."""
    fabric = next(f for f in FABRICS.get(Label(label), _SMALL) if f.name == name)
    groups = fabric.groups.split()
    group = groups[int(rng.integers(len(groups)))]
    if rng.random() < 0.35 * scheme.sober and len(groups) > 1:
        group = "neutral"
    first = pick(rng, GROUPS[group])
    light = sum(first) / 3 > 0.25
    contrast = NEUTRAL[:4] + NAVY if light else NEUTRAL[6:] + PASTEL
    second = pick(rng, contrast if rng.random() < 0.6 else SATURATED + EARTH)
    third = pick(rng, SATURATED + NEUTRAL)
    if rng.random() < 0.25:
        third = scheme.accent
    if name == "camouflage":
        second, third = pick(rng, EARTH), pick(rng, EARTH[6:9] + NEUTRAL[:3])
    if name == "trainers" and rng.random() < 0.7:
        second = pick(rng, NEUTRAL[7:])  # pale soles
    return first, second, third


def sample_hair(rng: np.random.Generator, melanin: float) -> tuple[Rgb, Rgb, float]:
    """Colour of most strands, colour of others, and how light the hair is."""
    dark_only = melanin > 0.45 and rng.random() < 0.92
    choice = choose(
        rng, [w if not dark_only or i < 3 else w * 0.1 for i, (_, w) in enumerate(HAIR)]
    )
    base = pick(rng, (linear(HAIR[choice][0]),))
    tip = pick(rng, (linear(HAIR[min(choice + 1, 6) if choice < 7 else choice][0]),))
    dyed, streaked = rng.random(2) < (0.04, 0.08)
    color = pick(rng, DYED)
    if dyed:
        base, tip = color, color
    elif streaked:
        tip = color
    return base, tip, sum(base) / 3


def sample_iris(rng: np.random.Generator, melanin: float) -> Rgb:
    """Brown eyes mostly; other colours with pale skin."""
    return pick(rng, IRIS[:4] if melanin > 0.45 or rng.random() < 0.45 else IRIS[3:])


def sample_lipstick(rng: np.random.Generator) -> Rgb:
    return pick(rng, LIPSTICK)
