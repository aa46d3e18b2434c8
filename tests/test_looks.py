"""People's looks: the range of skin and hair, faces, and painting as a whole."""

import dataclasses
import time

import torch
from torch import Tensor

from meshreg.body.smpl import LANDMARK_VERTICES
from meshreg.clothing.labels import Label
from meshreg.data.synthetic import faces
from meshreg.data.synthetic.faces import bare_skin, skin_tone
from meshreg.data.synthetic.lights import SETTINGS, Light, Lights, place_lights, sample_light
from meshreg.data.synthetic.looks import Look, sample_look, stack_cloths, stack_heads
from meshreg.data.synthetic.paint import in_picture, paint
from meshreg.data.synthetic.shadows import ShadowMap
from meshreg.data.synthetic.streams import stream
from meshreg.data.synthetic.surface import Surface
from meshreg.render.rasterizer import rasterizer
from tests.reference.painted_people import LAYERS, body, figures
from tests.test_fabric import points_at


def looks_of(count: int) -> list[Look]:
    return [sample_look(stream(5, i, "look"), LAYERS) for i in range(count)]


def lights_of(count: int) -> Lights:
    lights = [
        sample_light(stream(5, i, "light"), SETTINGS[i % len(SETTINGS)]) for i in range(count)
    ]
    return place_lights(lights, torch.tensor([0.0, -1, 0]).expand(count, 3))


def one_of(surface: Surface, index: int) -> Surface:
    fields = {
        f.name: getattr(surface, f.name)[index : index + 1] for f in dataclasses.fields(surface)
    }
    return Surface(**fields)


def lightness(linear: Tensor) -> Tensor:
    """CIE L* of linear RGB."""
    luminance = linear @ torch.tensor([0.2126, 0.7152, 0.0722])
    return 116 * luminance ** (1 / 3) - 16


def test_a_look_is_a_function_of_its_stream() -> None:
    assert sample_look(stream(1, 2, "look"), LAYERS) == sample_look(stream(1, 2, "look"), LAYERS)
    assert sample_look(stream(1, 2, "look"), LAYERS) != sample_look(stream(1, 3, "look"), LAYERS)
    start = time.perf_counter()
    looks_of(50)
    assert (time.perf_counter() - start) / 50 < 0.01  # about 0.3 ms; shared machines are slow


def test_shoes_match_and_layers_of_a_kind_share_their_cloth() -> None:
    labels = [Label.DRESS, 0, Label.DRESS, Label.UPPER_CLOTHES, Label.UPPER_CLOTHES]
    cloths = sample_look(stream(1, 2, "look"), labels).cloths
    assert cloths[0] == cloths[2]
    assert cloths[3] != cloths[4]
    stacked = stack_cloths([sample_look(stream(1, i, "look"), labels) for i in range(3)])
    assert stacked.first.shape == (15, 3)


def test_skin_covers_the_human_range_evenly() -> None:
    looks = looks_of(400)
    heads = stack_heads(looks)
    tone = skin_tone(heads.melanin, 0.2 + 0.35 * heads.blood)
    light = lightness(tone)
    assert light.max() > 74 and light.min() < 26
    counts = torch.histc(light, 5, 24, 78)
    assert counts.min() > 50  # 80 each if it were perfectly even
    assert (tone[:, 0] > tone[:, 1]).all() and (tone[:, 1] > tone[:, 2]).all()
    darker = lightness(skin_tone(torch.linspace(0, 1, 50), torch.full((50,), 0.3))).diff()
    assert (darker < 0).all()


def test_hair_comes_in_natural_colours() -> None:
    hair = stack_heads(looks_of(400)).hair
    light = lightness(hair)
    assert 0.45 < (light < 15).float().mean() < 0.9  # most people's hair is black or dark brown
    assert (light > 50).float().mean() > 0.02  # blond, grey and white exist


def test_palms_are_lighter_than_the_back_of_dark_hands() -> None:
    template = body().v_template
    hand = (template[:, 0] > 0.73) & (template[:, 0] < 0.78)
    rest = template[hand]
    index = torch.zeros(len(rest), dtype=torch.int64)
    look = dataclasses.replace(looks_of(1)[0], melanin=0.9)
    tone = lightness(
        bare_skin(points_at(rest, label=Label.LEFT_ARM), stack_heads([look]).at(index)).albedo
    )
    low = rest[:, 1] < rest[:, 1].median()
    assert tone[low].mean() > tone[~low].mean() + 5


def test_eyes_and_lips_lie_on_the_bodys_face() -> None:
    nose, right_eye, left_eye = (body().v_template[i] for i in LANDMARK_VERTICES[:3])
    assert abs(left_eye[0] - faces.EYE[0]) < 0.004 and abs(left_eye[1] - faces.EYE[1]) < 0.006
    assert abs(right_eye[0] + left_eye[0]) < 1e-3
    iris_y = faces.EYE[1] + 0.0012
    x, z = faces.EYE[0], 0.14
    places = [(x, iris_y, z), (-x, iris_y, z), (x + 0.009, iris_y - 0.002, z), (0.04, 0.58, 0.12)]
    places += [(0.0, 0.538, 0.15), (0.0, 0.65, 0.148)]
    look = dataclasses.replace(
        looks_of(1)[0], melanin=0.35, beard=0.0, eye_open=1.0, freckles=0.0, lipstick=0.0
    )
    index = torch.zeros(len(places), dtype=torch.int64)
    rest = torch.tensor(places)
    skin = bare_skin(points_at(rest, label=Label.FACE), stack_heads([look]).at(index)).albedo
    pupil, other_pupil, white, cheek, lip, forehead = skin
    assert pupil.max() < 0.02 and other_pupil.max() < 0.02
    assert white.min() > forehead.max() * 0.8 and white.min() / white.max() > 0.8
    redness = skin[:, 0] / skin[:, 1]
    assert redness[4] > redness[5] * 1.2  # lips
    assert redness[3] > redness[5]  # cheeks
    assert nose[1] < faces.EYE[1]


def test_a_person_looks_the_same_alone_and_in_a_batch() -> None:
    people = figures(3, 72)
    looks, lights = looks_of(3), lights_of(3)
    shadow = ShadowMap(people.vertices, people.faces, lights.key_direction, rasterizer())
    together = paint(people.surface, looks, lights, people.K, shadow=shadow)
    again = paint(people.surface, looks, lights, people.K, shadow=shadow)
    assert torch.equal(together, again)
    assert together.isfinite().all() and together.min() >= 0
    assert (together[~people.surface.hit] == 0).all()
    assert (together[people.surface.hit].amax(1) > 0).all()
    for k in range(3):
        index = torch.tensor([k])
        mine = in_picture(lights, index)
        shadow = ShadowMap(people.vertices[index], people.faces, mine.key_direction, rasterizer())
        alone = paint(
            one_of(people.surface, k), looks[k : k + 1], mine, people.K[index], shadow=shadow
        )
        torch.testing.assert_close(alone[0], together[k], atol=2e-4, rtol=1e-3)


def test_nobody_in_the_picture_is_painted_black() -> None:
    people = figures(1, 32)
    empty = Surface(
        **{
            f.name: torch.zeros_like(getattr(people.surface, f.name))
            for f in dataclasses.fields(Surface)
        }
    )
    assert paint(empty, looks_of(1), lights_of(1), people.K).abs().max() == 0


def test_dark_skin_is_painted_darker_under_the_same_light() -> None:
    people = figures(1, 64, close_up=True)
    skin = people.surface.hit & (people.surface.layer == -1)
    brightness = []
    for melanin in (0.1, 0.5, 0.9):
        look = dataclasses.replace(looks_of(1)[0], melanin=melanin)
        picture = paint(people.surface, [look], lights_of(1), people.K)
        brightness.append(picture[skin].mean())
    assert brightness[0] > 1.5 * brightness[1] > 2 * brightness[2]


def test_light_from_the_left_lights_the_left() -> None:
    people = figures(1, 64, close_up=True)
    skin = people.surface.hit & (people.surface.part == 15) & (people.surface.layer == -1)
    dark = (0.0, 0.0, 0.0)
    light = Light(-1.4, 0.2, (1.0, 1.0, 1.0), 0.0, 0.0, dark, dark, dark, 1.0)
    up = torch.tensor([[0.0, -1, 0]])
    picture = paint(people.surface, looks_of(1), place_lights([light], up), people.K).mean(-1)
    facing_left = skin & (people.surface.normal[..., 0] < -0.4)
    facing_right = skin & (people.surface.normal[..., 0] > 0.4)
    assert picture[facing_left].mean() > 5 * picture[facing_right].mean()
