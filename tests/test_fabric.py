"""Patterns of cloth: filtered rightly, repeated as said, continuous over the surface."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.fabric import weave
from meshreg.data.synthetic.looks import DETAILS, PATTERNS, Cloth, Look, sample_look, stack_cloths
from meshreg.data.synthetic.patterns import EVERY, Spot, band, shares
from meshreg.data.synthetic.points import LEG, SLEEVE, TORSO, Points, panels
from meshreg.data.synthetic.streams import stream

LOOK = sample_look(stream(0, 0, "look"), [Label.UPPER_CLOTHES])


def cloth(pattern: str, **changes: object) -> Cloth:
    calm = {"crease": 0.0, "wear": 0.0, "ribs": 0.0, "detail": 0, "shift": 0.0, "duty": 0.4}
    changes = {**calm, **changes, "pattern": PATTERNS.index(pattern)}
    return dataclasses.replace(LOOK.cloths[0], **changes)  # type: ignore[arg-type]


def points_at(rest: Tensor, *, part: int = 3, footprint: float = 1e-4, label: int = 5) -> Points:
    num = len(rest)
    index = torch.arange(num)
    return Points(
        pixel=index,
        person=torch.zeros_like(index),
        label=torch.full_like(index, label),
        layer=torch.zeros_like(index),
        part=torch.full_like(index, part),
        rest=rest,
        normal=torch.tensor([0.0, 0, -1]).expand(num, 3),
        place=torch.tensor([0.0, 0, 3]).expand(num, 3),
        footprint=torch.full((num,), footprint),
    )


def spot_of(points: Points, kind: Cloth) -> Spot:
    look: Look = dataclasses.replace(LOOK, cloths=(kind,))
    rows = stack_cloths([look]).at(torch.zeros(len(points.rest), dtype=torch.int64))
    return Spot(rows, panels(points), points.rest, points.footprint, torch.zeros(len(points.rest)))


def front(count: int = 4000, *, seed: int = 0) -> Tensor:
    """Random places on the chest and belly."""
    u = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    x = (u[:, 0] - 0.5) * 0.2
    return torch.stack([x, u[:, 1] * 0.4, 0.12 - 2 * x.square()], 1)


def test_bands_are_averaged_over_pixels() -> None:
    t = torch.linspace(-2.3, 3.1, 41)
    fine = torch.linspace(-0.5, 0.5, 20001)[:-1]
    for width in (0.05, 0.4, 1.0, 2.7):
        samples = t[:, None] + width * fine
        wanted = (samples - samples.floor() < 0.3).float().mean(1)
        torch.testing.assert_close(
            band(t, 0.3, torch.full_like(t, width)), wanted, atol=2e-3, rtol=0
        )


@pytest.mark.parametrize("name", PATTERNS)
def test_colours_mix_to_one(name: str) -> None:
    for footprint in (1e-4, 0.01, 0.3):
        spot = spot_of(points_at(front(), footprint=footprint), cloth(name, repeat=0.05))
        mix = shares(spot, PATTERNS.index(name))
        torch.testing.assert_close(mix.sum(1), torch.ones(len(mix)))
        assert mix.min() > -1e-5 and mix.max() < 1 + 1e-5
    assert len(EVERY) == len(PATTERNS)


@pytest.mark.parametrize("name", ["rings", "stripes", "gingham", "tartan", "dots", "floral"])
def test_far_away_a_pattern_turns_into_its_mean(name: str) -> None:
    kind = cloth(name, repeat=0.02)
    near = shares(spot_of(points_at(front(20000)), kind), kind.pattern)
    far = shares(spot_of(points_at(front(500), footprint=0.2), kind), kind.pattern)
    assert near.std(0).max() > 0.15  # seen close there is a pattern
    assert far.std(0).max() < 0.03
    torch.testing.assert_close(far.mean(0), near.mean(0), atol=0.08, rtol=0)


def test_stripes_repeat_where_they_should() -> None:
    y = torch.linspace(-0.1, 0.35, 6000)
    spot = spot_of(
        points_at(torch.stack([0 * y, y, 0 * y + 0.12], 1)), cloth("rings", repeat=0.06, seed=1)
    )
    rises = (shares(spot, spot.cloth.pattern[0].item())[:, 1].diff() > 0.05).nonzero()[:, 0]
    gaps = y[rises].diff()
    torch.testing.assert_close(gaps[gaps > 0.01], torch.full((6,), 0.06), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["floral", "camouflage", "tartan", "marble", "dots"])
def test_neighbours_look_alike(name: str) -> None:
    rest, kind = front(), cloth(name, repeat=0.1)
    step = torch.tensor([1e-5, 1e-5, 1e-5])
    one = shares(spot_of(points_at(rest, footprint=3e-3), kind), kind.pattern)
    two = shares(spot_of(points_at(rest + step, footprint=3e-3), kind), kind.pattern)
    assert (one - two).abs().max() < 0.1


def test_panels_follow_the_limbs() -> None:
    place = torch.tensor([[0.1, 0.2, 0.1], [0.4, 0.39, 0.05], [0.1, -0.3, 0.08]])
    for part, panel, label in ((6, TORSO, 5), (18, SLEEVE, 5), (4, LEG, 9), (4, TORSO, 6)):
        assert (panels(points_at(place, part=part, label=label)).panel == panel).all()
    sleeve = panels(points_at(torch.tensor([[0.3, 0.39, 0.05], [-0.5, 0.39, 0.05]]), part=18))
    torch.testing.assert_close(sleeve.along, torch.tensor([-0.3, -0.5]))
    ring = torch.linspace(-3, 3, 100)
    round_ = torch.stack([0.15 * ring.sin(), 0 * ring, 0.15 * ring.cos()], 1)
    torch.testing.assert_close(panels(points_at(round_)).around, 0.15 * ring, atol=1e-5, rtol=0)


def test_plain_cloth_has_its_colour_and_details_darken_it() -> None:
    rest = front()
    rows = {
        name: weave(points_at(rest), spot_of(points_at(rest), kind).cloth)
        for name, kind in {
            "bare": cloth("plain", first=(0.3, 0.2, 0.1)),
            "zip": cloth("plain", first=(0.3, 0.2, 0.1), detail=DETAILS.index("zip")),
            "creased": cloth("plain", crease=0.003),
        }.items()
    }
    torch.testing.assert_close(rows["bare"].albedo, torch.tensor([0.3, 0.2, 0.1]).expand(4000, 3))
    middle = (rest[:, 0].abs() - 0.007).abs() < 0.001
    assert (rows["zip"].albedo[middle] < 0.25).all()
    aside = rows["zip"].albedo[rest[:, 0].abs() > 0.02]
    torch.testing.assert_close(aside, rows["bare"].albedo[: len(aside)])
    assert rows["bare"].relief.abs().max() == 0
    assert 0.001 < rows["creased"].relief.std() < 0.01
    assert math.isfinite(float(rows["creased"].relief.sum()))
