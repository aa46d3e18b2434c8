"""What describes a MakeHuman person: traits such as age, and how they weigh the targets."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Axis:
    """One trait: the named values that have targets and where they sit on the trait's scale."""

    values: tuple[str, ...]
    anchors: tuple[float, ...]  # increasing; empty where the weights are given directly


AXES = {
    "gender": Axis(("male", "female"), (0.0, 1.0)),
    # Adults only: MakeHuman's scale goes on to children below 2/3.
    "age": Axis(("young", "old"), (2 / 3, 1.0)),
    "muscle": Axis(("minmuscle", "averagemuscle", "maxmuscle"), (0.0, 0.5, 1.0)),
    "weight": Axis(("minweight", "averageweight", "maxweight"), (0.0, 0.5, 1.0)),
    "height": Axis(("minheight", "maxheight"), (0.0, 1.0)),
    "proportions": Axis(("idealproportions", "uncommonproportions"), (0.0, 1.0)),
    "cupsize": Axis(("mincup", "averagecup", "maxcup"), (0.0, 0.5, 1.0)),
    "firmness": Axis(("minfirmness", "averagefirmness", "maxfirmness"), (0.0, 0.5, 1.0)),
    "ancestry": Axis(("african", "asian", "caucasian"), ()),
}


@dataclass(frozen=True)
class LocalPair:
    """A pair of targets that makes one part of the body larger or smaller."""

    name: str  # path below the targets folder, without direction and ending
    spread: float  # standard deviation of its amount among people


BONE_SPREAD, GIRTH_SPREAD = 0.13, 0.20
PREGNANT = "stomach/stomach-pregnant"
LOCAL_PAIRS = tuple(
    LocalPair(name, spread)
    for spread, names in (
        (
            BONE_SPREAD,
            (
                "arms/measure-upperarm-length",
                "arms/measure-lowerarm-length",
                "legs/measure-upperleg-height",
                "legs/measure-lowerleg-height",
                "torso/measure-shoulder-dist",
                "torso/torso-scale-vert",
                "neck/measure-neck-height",
            ),
        ),
        (
            GIRTH_SPREAD,
            (
                "torso/measure-waist-circ",
                "torso/measure-hips-circ",
                "torso/measure-bust-circ",
                "torso/torso-vshape",
                "torso/torso-scale-depth",
                "stomach/stomach-tone",
                "hip/hip-scale-horiz",
                "neck/measure-neck-circ",
                "legs/measure-thigh-circ",
                "legs/measure-calf-circ",
                "arms/measure-upperarm-circ",
                "buttocks/buttocks-volume",
            ),
        ),
        (0.7 * GIRTH_SPREAD, (PREGNANT,)),  # also the only target that rounds a belly
    )
    for name in names
)


@dataclass(frozen=True, eq=False)
class Traits:
    """The traits of N people, each on MakeHuman's scale from 0 to 1."""

    gender: np.ndarray  # (N,) 0 male, 1 female
    age: np.ndarray  # (N,) 2/3 or less is 25 years, 1 is 90 years
    muscle: np.ndarray  # (N,)
    weight: np.ndarray  # (N,)
    height: np.ndarray  # (N,)
    proportions: np.ndarray  # (N,) 0 ideal, 1 uncommon
    cupsize: np.ndarray  # (N,)
    firmness: np.ndarray  # (N,)
    ancestry: np.ndarray  # (N, 3) african, asian, caucasian; rows sum to one
    local: np.ndarray  # (N, L) signed amount of each local pair, 0 for none

    def __len__(self) -> int:
        return len(self.gender)

    def take(self, people: np.ndarray) -> "Traits":
        """The traits of some of the people."""
        return Traits(**{field.name: getattr(self, field.name)[people] for field in fields(self)})


def average_traits(count: int, **changed: np.ndarray) -> Traits:
    """People who are average in everything but the traits given."""
    half = np.full(count, 0.5)
    values: dict[str, np.ndarray] = {name: half for name in AXES}
    values["ancestry"] = np.full((count, 3), 1 / 3)
    values["local"] = np.zeros((count, len(LOCAL_PAIRS)))
    return Traits(**{**values, **changed})


def hat_weights(amounts: np.ndarray, anchors: tuple[float, ...]) -> np.ndarray:
    """Linear interpolation between anchors: the weight of each anchor, two at most above zero."""
    amounts = np.clip(amounts, anchors[0], anchors[-1])
    unit = np.eye(len(anchors))
    return np.stack([np.interp(amounts, anchors, row) for row in unit], axis=1)


def trait_weights(traits: Traits) -> dict[str, np.ndarray]:
    """For each named trait value, how much of it each person has."""
    weights: dict[str, np.ndarray] = {}
    for name, axis in AXES.items():
        amounts = getattr(traits, name)
        table = hat_weights(amounts, axis.anchors) if axis.anchors else amounts
        weights |= dict(zip(axis.values, table.T, strict=True))
    return weights
