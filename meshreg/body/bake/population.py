"""Draws a population of adults: sexes, ages, heights and weights as they are found among people."""

from dataclasses import replace

import numpy as np

from meshreg.body.bake.makehuman import MakeHuman
from meshreg.body.bake.topology import Topology
from meshreg.body.bake.traits import LOCAL_PAIRS, Traits

BODY_DENSITY = 985.0  # kg per cubic metre
MALE_HEIGHT, FEMALE_HEIGHT, HEIGHT_SPREAD = 1.755, 1.62, 0.072  # metres
BMI_MEDIAN, BMI_LOG_SPREAD, BMI_RANGE = 25.8, 0.19, (16.5, 40.0)
PROPOSALS_PER_PERSON = 4


def mesh_volume(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The volume of a closed mesh, for any number of shapes: (..., V, 3) -> (...)."""
    corners = vertices[..., faces, :]
    twice_area = np.cross(corners[..., 1, :], corners[..., 2, :])
    return np.asarray(np.einsum("...fi,...fi->...", corners[..., 0, :], twice_area) / 6)


def propose_traits(count: int, rng: np.random.Generator) -> Traits:
    """People with independent traits, heights not yet settled."""
    local = rng.normal(size=(count, len(LOCAL_PAIRS))) * [pair.spread for pair in LOCAL_PAIRS]
    ancestry = rng.dirichlet([0.6] * 3, count) + 1e-3
    return Traits(
        gender=rng.beta(0.35, 0.35, count),  # mostly near one end, some in between
        age=rng.uniform(0.63, 0.95, count),
        muscle=rng.beta(1.3, 1.5, count),
        weight=rng.uniform(0, 1, count),
        height=np.full(count, 0.5),
        proportions=rng.beta(2, 2, count),
        cupsize=rng.beta(2, 2, count),
        firmness=rng.beta(2, 2, count),
        ancestry=ancestry / ancestry.sum(1, keepdims=True),
        local=local.clip(-0.6, 0.6),
    )


def with_heights(human: MakeHuman, traits: Traits, heights: np.ndarray) -> Traits:
    """The same people as tall as asked for: stature is linear in the height trait."""
    body = np.unique(human.groups["body"].quads)
    order = body[np.argsort(human.vertices[body, 1], kind="stable")]
    ends = np.concatenate([order[:400], order[-200:]])  # soles and crown, whoever it is

    def stature(amount: float) -> np.ndarray:
        tried = replace(traits, height=np.full(len(traits), amount))
        return np.ptp(human.shapes(human.coefficients(tried), ends)[..., 1], axis=1)

    low, high = 0.3, 0.4
    short, tall = stature(low), stature(high)
    amount = low + (high - low) * (heights - short) / (tall - short)
    return replace(traits, height=amount.clip(0.05, 0.95))


def body_mass_index(
    human: MakeHuman, topology: Topology, traits: Traits, heights: np.ndarray, chunk: int = 400
) -> np.ndarray:
    """Mass over squared height, the mass from the volume of the mesh."""
    coefficients = human.coefficients(traits)
    volumes = [
        mesh_volume(
            human.shapes(coefficients[start : start + chunk], topology.source), topology.faces
        )
        for start in range(0, len(traits), chunk)
    ]
    return np.concatenate(volumes) * BODY_DENSITY / heights**2


def sample_adults(
    human: MakeHuman, topology: Topology, count: int, rng: np.random.Generator
) -> tuple[Traits, np.ndarray, np.ndarray]:
    """Traits, heights in metres and body mass indices of a population.

    More people are proposed than needed, and drawn so that the body mass index follows a log-normal
    distribution: proposals of a common index are thinned, rare ones preferred.
    """
    traits = propose_traits(PROPOSALS_PER_PERSON * count, rng)
    mean_height = MALE_HEIGHT + (FEMALE_HEIGHT - MALE_HEIGHT) * traits.gender
    heights = rng.normal(mean_height, HEIGHT_SPREAD)
    traits = with_heights(human, traits, heights)
    bmi = body_mass_index(human, topology, traits, heights)
    wanted = np.log(BMI_MEDIAN - 0.5 * traits.gender)
    density = np.exp(-0.5 * ((np.log(bmi) - wanted) / BMI_LOG_SPREAD) ** 2) / bmi
    bins = np.digitize(bmi, np.linspace(10, 50, 41))
    proposed = np.bincount(bins, minlength=43)[bins] + 5.0  # the constant calms sparse bins
    allowed = (bmi > BMI_RANGE[0]) & (bmi < BMI_RANGE[1])
    muscle_preference = traits.muscle**0.6 * (1 - traits.muscle) ** 0.4
    chance = density / proposed * allowed * muscle_preference
    chosen = rng.choice(len(traits), count, replace=False, p=chance / chance.sum())
    return traits.take(chosen), heights[chosen], bmi[chosen]
