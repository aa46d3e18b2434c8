"""The garments of synthetic people: their kinds, their numbers, their order on the body."""

from dataclasses import dataclass, fields

from meshreg.clothing.labels import Label


@dataclass(frozen=True)
class Kind:
    """What all garments of a kind share."""

    name: str
    layer: str  # where in `LAYERS` it is worn, unless the garment says otherwise
    label: Label  # on the person's left, or on both sides
    right_label: Label | None = None

    @property
    def labels(self) -> tuple[Label, Label]:
        return self.label, self.label if self.right_label is None else self.right_label


# From the skin outward. Of two layers that cover a point, the later one is seen.
LAYERS = (
    "socks",
    "shoes",
    "tucked",
    "bottom",
    "skirt",
    "top",
    "boots",
    "jacket",
    "tails",  # what hangs from a jacket below the hips
    "scarf",
    "gloves",
    "hair",
    "glasses",
    "hat",
)
LAYER = {name: index for index, name in enumerate(LAYERS)}

_ALL_KINDS = (
    Kind("socks", "socks", Label.SOCKS),
    Kind("shoes", "shoes", Label.LEFT_SHOE, Label.RIGHT_SHOE),
    Kind("sandals", "shoes", Label.LEFT_SHOE, Label.RIGHT_SHOE),
    Kind("boots", "boots", Label.LEFT_SHOE, Label.RIGHT_SHOE),
    Kind("trousers", "bottom", Label.PANTS),
    Kind("shorts", "bottom", Label.PANTS),
    Kind("leggings", "bottom", Label.PANTS),
    Kind("underwear", "bottom", Label.PANTS),
    Kind("skirt", "skirt", Label.SKIRT),
    Kind("dress_skirt", "skirt", Label.DRESS),
    Kind("tee", "top", Label.UPPER_CLOTHES),
    Kind("long_sleeve", "top", Label.UPPER_CLOTHES),
    Kind("shirt", "top", Label.UPPER_CLOTHES),
    Kind("sweater", "top", Label.UPPER_CLOTHES),
    Kind("hoodie", "top", Label.UPPER_CLOTHES),
    Kind("tank", "top", Label.UPPER_CLOTHES),
    Kind("crop_top", "top", Label.UPPER_CLOTHES),
    Kind("dress_top", "top", Label.DRESS),
    Kind("jacket", "jacket", Label.COAT),
    Kind("coat", "jacket", Label.COAT),
    Kind("coat_tails", "tails", Label.COAT),
    Kind("scarf", "scarf", Label.SCARF),
    Kind("gloves", "gloves", Label.GLOVE),
    Kind("hair", "hair", Label.HAIR),
    Kind("sunglasses", "glasses", Label.SUNGLASSES),
    Kind("beanie", "hat", Label.HAT),
    Kind("cap", "hat", Label.HAT),
    Kind("brimmed_hat", "hat", Label.HAT),
)
KIND = {kind.name: kind for kind in _ALL_KINDS}
KINDS = tuple(KIND)
HAIR_STYLES = ("none", "curtain", "ponytail", "bun")  # what hangs from the hair on the scalp


@dataclass(frozen=True)
class Garment:
    """One garment; numbers that its kind has no use for are left alone."""

    kind: str  # one of `KINDS`
    tucked: bool = False  # tops: under the trousers
    hem: float = 0.0  # tops: lower edge above the hips' joints, metres
    waist: float = 0.1  # trousers, skirts: upper edge above the hips' joints, metres
    sleeve: float = 2.0  # where it ends: 0 shoulder, 1 elbow, 2 wrist
    leg: float = 2.0  # trousers, skirts: where they end, 1 knee, 2 ankle; shoes: where they begin
    neck: float = 0.0  # height of the neckline over the root of the neck, metres
    vee: float = 0.0  # depth of the neckline's point in front, metres
    opening: float = 0.0  # half the width that it is open in front, metres; 0: closed
    thickness: float = 0.006  # of the cloth, metres; hair: of the layer on the scalp
    looseness: float = 0.5  # 0 clings, 1 hangs freely
    flare: float = 0.0  # extra radius at the open ends, metres
    level: float = 0.0  # hair, hats: how far up the edge lies, metres from the usual place
    bald: float = 0.0  # hair: height that is missing from the crown, metres
    style: int = 0  # hair: index into `HAIR_STYLES`
    length: float = 0.0  # hair: how far it hangs below the ears, metres; hats: of the brim
    wrinkles: float = 0.5  # how high folds are, 0..1
    phase: float = 0.0  # which folds there are, 0..1

    @property
    def layer(self) -> int:
        """Index into `LAYERS`."""
        return LAYER["tucked" if self.tucked else KIND[self.kind].layer]


NUMBERS = tuple(field.name for field in fields(Garment) if field.name not in ("kind", "tucked"))


@dataclass(frozen=True)
class Outfit:
    """What one person wears, hair included; at most one garment per layer."""

    garments: tuple[Garment, ...] = ()

    def __post_init__(self) -> None:
        layers = [garment.layer for garment in self.garments]
        assert len(set(layers)) == len(layers), f"two garments in one layer: {self.garments}"
