"""Light: directions in the camera's frame, shadows and hollows."""

import math

import pytest
import torch

from meshreg.data.synthetic.lights import (
    SETTINGS,
    Light,
    level_axes,
    place_lights,
    sample_light,
)
from meshreg.data.synthetic.points import covered_points
from meshreg.data.synthetic.shadows import ShadowMap, openness
from meshreg.data.synthetic.streams import stream
from meshreg.data.synthetic.surface import Surface
from meshreg.render.rasterizer import rasterizer

GREY = (0.5, 0.5, 0.5)


def light_from(azimuth: float, elevation: float) -> Light:
    return Light(azimuth, elevation, GREY, 0.0, 0.0, GREY, GREY, GREY, 1.0)


def pitched_up(pitch: float) -> torch.Tensor:
    return torch.tensor([[0.0, -math.cos(pitch), -math.sin(pitch)]])


def test_directions_keep_their_angles_however_the_camera_looks() -> None:
    for pitch in (-0.5, 0.0, 0.4, math.pi / 2):
        up = pitched_up(pitch)
        lights = place_lights([light_from(0.7, 0.6)], up)
        right, forward = level_axes(up)
        direction = lights.key_direction[0]
        assert direction.norm().item() == pytest.approx(1, abs=1e-5)
        assert (direction @ up[0]).item() == pytest.approx(math.sin(0.6), abs=1e-5)
        sideways = direction @ right[0] / math.cos(0.6)
        assert sideways.item() == pytest.approx(math.sin(0.7), abs=1e-5)
        assert right[0].tolist() == pytest.approx([1, 0, 0], abs=1e-5)
        assert (forward[0] @ up[0]).abs() < 1e-5


def test_light_from_behind_the_camera_points_back_at_it() -> None:
    direction = place_lights([light_from(0.0, 0.0)], pitched_up(0.0)).key_direction[0]
    assert direction.tolist() == pytest.approx([0, 0, -1], abs=1e-6)


@pytest.mark.parametrize("setting", SETTINGS)
def test_sampled_lights_are_reasonable(setting: str) -> None:
    for k in range(30):
        light = sample_light(stream(0, k, "light"), setting)
        assert light == sample_light(stream(0, k, "light"), setting)
        assert 0 <= light.elevation < math.pi / 2
        total = [a + b for a, b in zip(light.key, light.sky, strict=True)]
        assert 0.5 < sum(total) / 3 < 3
        assert min(light.key + light.fill + light.sky + light.ground) >= 0


def square(z: float, half: float, x: float = 0.0) -> torch.Tensor:
    corners = torch.tensor([(-1.0, -1), (1, -1), (1, 1), (-1, 1)]) * half
    return torch.cat([corners + torch.tensor([x, 0]), torch.full((4, 1), z)], 1)


FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_a_board_shades_what_lies_behind_it_and_nothing_else() -> None:
    boards = torch.stack([square(3, 0.5), square(3, 0.5, x=2.0)])
    direction = torch.tensor([[0.0, 0, -1], [0.0, 0, -1]])
    shadow = ShadowMap(boards, FACES, direction, rasterizer(), size=64)
    place = torch.tensor([[0.1, 0.2, 4], [0.1, 0.2, 2.5], [0.7, 0, 4], [0.1, 0.2, 3.0]])
    zeros = torch.zeros(4, dtype=torch.int64)
    torch.testing.assert_close(shadow.lit(place, zeros), torch.tensor([0.0, 1, 1, 1]))
    torch.testing.assert_close(shadow.lit(place, zeros + 1), torch.ones(4))
    inside = torch.tensor([[2.0, 0, 9], [0, 0, 9]])
    assert shadow.covers(inside, zeros[:2] + 1).tolist() == [True, False]


def test_slanted_light_moves_the_shadow() -> None:
    slanted = torch.nn.functional.normalize(torch.tensor([[1.0, -0.5, -1.0]]), dim=1)
    shadow = ShadowMap(square(3, 0.5)[None], FACES, slanted, rasterizer(), size=128)
    x = torch.linspace(-2.5, 0.5, 61)
    place = torch.stack([x, torch.full_like(x, 0.5), torch.full_like(x, 4.0)], 1)
    lit = shadow.lit(place, torch.zeros(61, dtype=torch.int64))
    # A metre behind the board its shadow has moved by (-1, 0.5): it spans x in -1.5 .. -0.5.
    wanted = ((x > -1.5) & (x < -0.5)).float()
    sure = ((x + 1.5).abs() > 0.06) & ((x + 0.5).abs() > 0.06)
    torch.testing.assert_close(1 - lit[sure], wanted[sure], atol=0.02, rtol=0)


def test_a_groove_is_darker_than_a_plain() -> None:
    size = 64
    depth = torch.full((2, size, size), 2.0)
    depth[1, :, 28:36] = 2.08  # a groove eight centimetres deep
    zeros = torch.zeros(2, size, size, dtype=torch.int64)
    K = torch.tensor([[100.0, 0, 31.5], [0, 100, 31.5], [0, 0, 1]]).expand(2, 3, 3)
    surface = Surface(
        hit=depth > 0,
        label=zeros,
        layer=zeros,
        piece=zeros,
        part=zeros,
        rest=torch.zeros(2, size, size, 3),
        normal=torch.tensor([0.0, 0, -1]).expand(2, size, size, 3),
        depth=depth,
    )
    points = covered_points(surface, K)
    openly = openness(surface, points, points.normal, K).view(2, size, size)
    assert openly[0].min() > 0.99
    assert openly[1, 10:-10, 29:35].max() < 0.8
    assert openly[1, 10:-10, 5:15].min() > 0.99
