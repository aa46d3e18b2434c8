"""Occluders hide no more than they may, and stay the same in every batch."""

import dataclasses

import pytest
import torch
from torch import Tensor

from meshreg.data.synthetic.lights import Lights, place_lights, sample_light
from meshreg.data.synthetic.occluders import SHAPES, Occluder, render_occluders, sample_occluder
from meshreg.data.synthetic.streams import stream


def someone(num: int, size: int = 96) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    person = ((x - 45) / 14.0) ** 2 + ((y - 50) / 38.0) ** 2 < 1
    return person.expand(num, size, size)


def lights_of(num: int) -> Lights:
    lights = [sample_light(stream(0, i, "light"), "overcast") for i in range(num)]
    return place_lights(lights, torch.tensor([0.0, -1, 0]).expand(num, 3))


def things(num: int, most: float) -> list[Occluder]:
    return [sample_occluder(stream(3, i, "occluder"), most=most) for i in range(num)]


@pytest.mark.parametrize("most", [0.1, 0.35, 0.7])
def test_no_more_than_the_allowed_share_is_hidden(most: float) -> None:
    person = someone(40)
    found = [dataclasses.replace(one, blur=0.0) for one in things(40, most)]
    covers = render_occluders(found, person, torch.full((40,), 4.0), lights_of(40))
    hidden = ((covers.alpha > 0.5) & person).flatten(1).sum(1) / person[0].sum()
    assert hidden.max() <= most + 1e-6
    assert (hidden > 0.02).float().mean() > 0.5  # most do hide something
    assert (covers.depth < 4.0).all() and (covers.depth > 1.0).all()
    assert covers.rgb.isfinite().all() and covers.rgb.min() >= 0


def test_all_shapes_are_drawn() -> None:
    person = someone(1)
    seen = set()
    for one in things(60, 0.9):
        covers = render_occluders([one], person, torch.tensor([3.0]), lights_of(1))
        if covers.alpha.sum() > 30:
            seen.add(SHAPES[one.shape])
    assert seen == set(SHAPES)


def test_nobody_there_means_nothing_in_front() -> None:
    person = torch.zeros(3, 40, 40, dtype=torch.bool)
    covers = render_occluders(things(3, 0.5), person, torch.full((3,), 2.0), lights_of(3))
    assert covers.alpha.max() == 0


def test_an_occluder_is_the_same_alone_and_in_a_batch() -> None:
    person, depth, lights, found = someone(6), torch.full((6,), 3.0), lights_of(6), things(6, 0.5)
    together = render_occluders(found, person, depth, lights)
    for k in range(6):
        light = Lights(*(getattr(lights, f.name)[k : k + 1] for f in dataclasses.fields(Lights)))
        alone = render_occluders(found[k : k + 1], person[k : k + 1], depth[:1], light)
        torch.testing.assert_close(alone.alpha[0], together.alpha[k], atol=1e-3, rtol=0)
        torch.testing.assert_close(alone.rgb[0], together.rgb[k], atol=1e-3, rtol=0)
