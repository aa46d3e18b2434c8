"""How each person looks: skin, hair, face and the cloth of every layer, as plain numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.clothing.labels import Label
from meshreg.data.synthetic import palettes
from meshreg.data.synthetic.palettes import Rgb

PATTERNS = (
    "plain",
    "rings",  # stripes around the body and the limbs
    "stripes",  # stripes along them
    "gingham",
    "tartan",
    "dots",
    "floral",
    "camouflage",
    "blocks",
    "raglan",
    "print",
    "melange",
    "denim",
    "marble",
)
DETAILS = ("none", "buttons", "zip", "jeans", "trousers", "laces")
SHARED_CLOTH = {Label.UPPER_CLOTHES, Label.COAT}  # several layers of these differ; others match


@dataclass(frozen=True)
class Cloth:
    """One layer's fabric; colours are linear RGB, lengths metres."""

    pattern: int  # index into PATTERNS
    detail: int  # index into DETAILS
    first: Rgb
    second: Rgb
    third: Rgb
    repeat: float  # length of the pattern's period
    duty: float  # share of a period in the second colour
    shift: float  # phase of the pattern, in periods
    roughness: float  # 0 mirror .. 1 chalk
    specular: float  # strength of reflections; 0.04 is plastic
    sheen: float  # fuzz that brightens grazing views
    crease: float  # height of wrinkles
    ribs: float  # height of knitting
    wear: float  # how much brightness varies by washing, dirt and fading
    seed: int


@dataclass(frozen=True)
class Look:
    """One person's appearance; colours are linear RGB."""

    melanin: float  # 0 palest .. 1 darkest
    blood: float  # 0 pale .. 1 ruddy
    shine: float  # of the skin
    freckles: float  # 0 .. 1
    hair: Rgb
    hair_tip: Rgb  # the colour of some strands and of the ends
    iris: Rgb
    lips: Rgb  # lipstick
    lipstick: float  # 0 none .. 1 full
    lash: float  # darkness of the lid line
    brow: float  # thickness of the brows, 1 is ordinary
    beard: float  # 0 none .. 1 full
    beard_shape: int  # 0 stubble or full, 1 moustache, 2 goatee
    eye_open: float  # 1 is ordinary
    seed: int
    cloths: tuple[Cloth, ...]


@dataclass(frozen=True, eq=False)
class Cloths:
    """The fabrics of many layers, one row each; fields as in `Cloth`."""

    pattern: Int[Tensor, " M"]
    detail: Int[Tensor, " M"]
    first: Float[Tensor, "M 3"]
    second: Float[Tensor, "M 3"]
    third: Float[Tensor, "M 3"]
    repeat: Float[Tensor, " M"]
    duty: Float[Tensor, " M"]
    shift: Float[Tensor, " M"]
    roughness: Float[Tensor, " M"]
    specular: Float[Tensor, " M"]
    sheen: Float[Tensor, " M"]
    crease: Float[Tensor, " M"]
    ribs: Float[Tensor, " M"]
    wear: Float[Tensor, " M"]
    seed: Int[Tensor, " M"]

    def at(self, row: Int[Tensor, " N"]) -> "Cloths":
        return Cloths(**{f.name: getattr(self, f.name)[row] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Heads:
    """What is personal about skin, hair and faces, one row per person; fields as in `Look`."""

    melanin: Float[Tensor, " M"]
    blood: Float[Tensor, " M"]
    shine: Float[Tensor, " M"]
    freckles: Float[Tensor, " M"]
    hair: Float[Tensor, "M 3"]
    hair_tip: Float[Tensor, "M 3"]
    iris: Float[Tensor, "M 3"]
    lips: Float[Tensor, "M 3"]
    lipstick: Float[Tensor, " M"]
    lash: Float[Tensor, " M"]
    brow: Float[Tensor, " M"]
    beard: Float[Tensor, " M"]
    beard_shape: Int[Tensor, " M"]
    eye_open: Float[Tensor, " M"]
    seed: Int[Tensor, " M"]

    def at(self, row: Int[Tensor, " N"]) -> "Heads":
        return Heads(**{f.name: getattr(self, f.name)[row] for f in fields(self)})


def _column(values: list, device: torch.device | str) -> Tensor:
    whole = isinstance(values[0], int)
    return torch.tensor(values, dtype=torch.int64 if whole else torch.float32, device=device)


def stack_heads(looks: Sequence[Look], device: torch.device | str = "cpu") -> Heads:
    """Everybody's skin, hair and face as tensors."""
    names = [f.name for f in fields(Heads)]
    return Heads(**{n: _column([getattr(look, n) for look in looks], device) for n in names})


def stack_cloths(looks: Sequence[Look], device: torch.device | str = "cpu") -> Cloths:
    """Everybody's fabrics as tensors: layer l of person p of L layers each is row p L + l."""
    every = [cloth for look in looks for cloth in look.cloths]
    assert len({len(look.cloths) for look in looks}) == 1, "people differ in their layers"
    names = [f.name for f in fields(Cloths)]
    return Cloths(**{n: _column([getattr(cloth, n) for cloth in every], device) for n in names})


def sample_look(rng: np.random.Generator, layer_labels: Sequence[int]) -> Look:
    """Draw one person's appearance; `layer_labels` says what each layer is, 0 where not worn."""
    melanin = float(rng.random())
    hair, tip, lightness = palettes.sample_hair(rng, melanin)
    bearded = rng.random() < 0.27
    numbers = rng.random(8)
    look_seed = int(rng.integers(2**30))
    made: dict[int, Cloth] = {}
    cloths = []
    scheme = palettes.sample_scheme(rng)
    for label in layer_labels:
        cloth = sample_cloth(rng, label, scheme)  # drawn also if unused: same numbers per layer
        if label in made and label not in SHARED_CLOTH:
            cloth = made[label]
        made.setdefault(label, cloth)
        cloths.append(cloth)
    return Look(
        melanin=melanin,
        blood=float(numbers[0]),
        shine=float(0.5 + numbers[1]),
        freckles=float(max(0.0, numbers[2] * 4 - 3)) * (melanin < 0.4),
        hair=hair,
        hair_tip=tip,
        iris=palettes.sample_iris(rng, melanin),
        lips=palettes.sample_lipstick(rng),
        lipstick=float(max(0.0, numbers[3] * 2.2 - 1.4)) * (not bearded),
        lash=float(0.35 + 0.65 * numbers[4]),
        brow=float(0.6 + 0.8 * numbers[5]) * (0.7 if lightness > 0.35 else 1.0),
        beard=float(0.25 + 0.75 * numbers[6]) if bearded else 0.0,
        beard_shape=int(numbers[6] * 97) % 3,
        eye_open=float(0.75 + 0.4 * numbers[7]),
        seed=look_seed,
        cloths=tuple(cloths),
    )


def sample_cloth(rng: np.random.Generator, label: int, scheme: palettes.Scheme) -> Cloth:
    """Draw the fabric of one layer that is to be worn as `label`."""
    fabric = palettes.sample_fabric(rng, label)
    first, second, third = palettes.sample_colors(rng, fabric.name, label, scheme)
    low, high = fabric.repeat
    u = rng.random(8)
    return Cloth(
        pattern=PATTERNS.index(fabric.pattern),
        detail=DETAILS.index(fabric.detail),
        first=first,
        second=second,
        third=third,
        repeat=float(low * (high / low) ** u[0]),
        duty=float(0.12 + 0.5 * u[1]),
        shift=float(u[2]),
        roughness=float(fabric.roughness * (0.85 + 0.3 * u[3])),
        specular=float(fabric.specular),
        sheen=float(fabric.sheen * (0.5 + u[4])),
        crease=float(fabric.crease * (0.5 + u[5])),
        ribs=float(fabric.ribs),
        wear=float(fabric.wear * (0.5 + u[6])),
        seed=int(rng.integers(2**30)),
    )
