"""What a picture is dressed up with: outfits, looks, light, place, things in front, the camera.

Everything is drawn from the plan's own streams as plain numbers, so that a sample is the same on
every machine and in every batch; nothing is rendered here.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from meshreg.data.synthetic.degrade import Degradation, sample_degradation
from meshreg.data.synthetic.garments import KIND, LAYERS, Outfit
from meshreg.data.synthetic.lights import OUTDOOR, Light, sample_light
from meshreg.data.synthetic.looks import Look, sample_look
from meshreg.data.synthetic.occluders import Occluder, sample_occluder
from meshreg.data.synthetic.outfits import sample_outfit
from meshreg.data.synthetic.scene import ScenePlan
from meshreg.data.synthetic.scenery import Scene, sample_scene

# How often each light is met; a guess.
LIGHT_SHARES = {"sun": 0.24, "overcast": 0.2, "indoor": 0.36, "evening": 0.1, "flash": 0.1}
OCCLUDED = 0.2  # share of the pictures in which something stands in front of the subject
MOST_HIDDEN = 0.5  # of the subject, by that
LARGEST_SHRINK = 4.0  # small people in large pictures were photographed with few pixels
BOKEH_PX = 3.0  # strongest blur of what lies far behind, at 224 pixels


@dataclass(frozen=True)
class Casting:
    """All that is drawn for one picture beyond its plan."""

    outfits: tuple[Outfit, ...]  # one per person, the subject first
    looks: tuple[Look, ...]
    light: Light
    scene: Scene
    bokeh_px: float
    occluder: Occluder | None
    degradation: Degradation

    def numbers(self) -> Iterator[np.ndarray]:
        """Everything drawn, in a fixed order, for digests."""
        yield np.round(np.array(list(_numbers(self)), np.float64), 6)


def cast(plan: ScenePlan) -> Casting:
    """Draw the picture's outfits, looks and surroundings."""
    people = range(len(plan.people))
    outfits = tuple(
        sample_outfit(plan.rng(f"outfit.{k}"), chest_may_be_bare=_looks_male(plan.people[k].betas))
        for k in people
    )
    looks = tuple(
        sample_look(plan.rng(f"look.{k}"), layer_labels(outfit)) for k, outfit in enumerate(outfits)
    )
    rng = plan.rng("surroundings")
    setting = _choose(rng, LIGHT_SHARES)
    occluder = None
    if rng.random() < OCCLUDED:
        occluder = sample_occluder(plan.rng("occluder"), most=MOST_HIDDEN)
    strength, bokeh = rng.random(2)
    return Casting(
        outfits=outfits,
        looks=looks,
        light=sample_light(plan.rng("light"), setting),
        scene=sample_scene(plan.rng("scene"), outdoor=setting in OUTDOOR),
        bokeh_px=float(BOKEH_PX * max(0.0, 1.6 * bokeh - 0.6) * plan.size / 224),
        occluder=occluder,
        degradation=_camera(plan, float(strength)),
    )


def layer_labels(outfit: Outfit) -> list[int]:
    """The label of each layer on the person's left, 0 where nothing is worn."""
    labels = [0] * len(LAYERS)
    for garment in outfit.garments:
        labels[garment.layer] = int(KIND[garment.kind].labels[0])
    return labels


def _looks_male(betas: np.ndarray) -> bool:
    """Whether nobody would take the built-in body of this shape for a woman's: tall, no bust."""
    return bool(betas[0] > 0.5 and betas[2] < 0.3)


def _camera(plan: ScenePlan, strength: float) -> Degradation:
    """A camera with its flaws; a square larger than its box in the picture is blurred as well."""
    camera = sample_degradation(plan.rng("camera flaws"), strength=strength, size=plan.size)
    enlarged = min(plan.size / float(plan.box[2]), LARGEST_SHRINK)
    return replace(camera, shrink=max(camera.shrink, enlarged))


def _choose(rng: np.random.Generator, shares: dict[str, float]) -> str:
    place = rng.random() * sum(shares.values())
    for name, share in shares.items():
        place -= share
        if place < 0:
            return name
    return name


def _numbers(value: Any) -> Iterator[float]:
    """Every number within, texts as checksums."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))
    elif isinstance(value, tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, str):
        yield float(zlib.crc32(value.encode()))
    elif value is None:
        yield -1.0
    else:
        yield float(value)
