"""The generator of dressed people: the same sample everywhere, and maps that fit the picture."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from meshreg.body.assets import load_body_data
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.clothing.labels import UNKNOWN_LABEL, Label
from meshreg.data.sample import OCCLUDER, Batch, inside_picture, with_vertices
from meshreg.data.synthetic.casting import cast
from meshreg.data.synthetic.compose import (
    Group,
    borders,
    enlarged,
    in_front,
    maps_of,
    shrunk,
    together,
)
from meshreg.data.synthetic.generator import DressedPeopleGenerator, make_generator
from meshreg.data.synthetic.prior_poses import PriorPoses
from meshreg.data.synthetic.scene import Planner, ScenePlan
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.data.synthetic.surface import Surface, look_at
from meshreg.geometry.cameras import project
from meshreg.render.rasterizer import rasterizer

SIZE = 80


@cache
def generator() -> DressedPeopleGenerator:
    return make_generator(supersampling=2)


@cache
def planner() -> Planner:
    settings = SceneSettings(size=SIZE)
    return Planner(7, poses=PriorPoses(), body=load_body_data("builtin"), settings=settings)


@cache
def plans() -> tuple[ScenePlan, ...]:
    return tuple(planner().plan(index) for index in range(10))


@cache
def batch() -> Batch:
    return generator().render(plans())


def grown(mask: torch.Tensor) -> torch.Tensor:
    """The mask with its neighbours."""
    return max_pool2d(mask.float()[:, None], 3, 1, 1)[:, 0] > 0


def test_the_same_plans_give_the_same_bytes() -> None:
    again = generator().render(plans())
    for name in ("image", "labels", "part", "instance", "depth", "joints_visible"):
        assert torch.equal(getattr(batch(), name), getattr(again, name)), name
    assert len(torch.unique(batch().image)) > 200


def test_a_sample_does_not_depend_on_its_batch() -> None:
    for place in (3, 8):
        alone = generator().render(plans()[place : place + 1])
        difference = (alone.image[0].int() - batch().image[place].int()).abs()
        # A pixel centre may change sides of an edge by rounding, no more.
        assert (difference > 3).float().mean() < 2e-3
        assert (alone.labels[0] == batch().labels[place]).float().mean() > 0.999
        torch.testing.assert_close(alone.joints_cam[0], batch().joints_cam[place])


def test_numbers_are_those_of_the_plan_and_of_the_body() -> None:
    body = load_body()
    found = batch()
    for place, plan in enumerate(plans()):
        subject = plan.people[0]
        np.testing.assert_allclose(found.betas[place], subject.betas, atol=1e-6)
        np.testing.assert_allclose(found.transl[place], subject.transl, atol=1e-5)
        np.testing.assert_allclose(found.K[place], plan.K, rtol=1e-5)
    posed = body(found.betas, found.pose_rotmat, found.transl)
    torch.testing.assert_close(found.joints_cam, posed.joints, atol=2e-4, rtol=0)
    torch.testing.assert_close(found.vertices_cam, posed.vertices, atol=2e-4, rtol=0)
    torch.testing.assert_close(with_vertices(found, body).vertices_cam, posed.vertices)
    torch.testing.assert_close(found.joints_px, project(found.joints_cam, found.K))


def test_the_bare_body_lies_within_its_person() -> None:
    found, body = batch(), load_body()
    shown = rasterizer().fragments(found.vertices_cam, body.faces, found.K, (SIZE, SIZE))
    bare = shown.pix_to_face[..., 0] >= 0
    person = (found.labels > 0) | (found.instance > 1)
    inside = inside_picture(found.full_size, found.box, SIZE)
    assert not inside.all() and inside.float().mean() > 0.7
    assert (found.image.amax(1)[~inside] == 0).all()
    assert (found.labels[~inside] == UNKNOWN_LABEL).all()
    beyond = bare & ~grown(person) & inside
    assert bare.sum() > 5000
    assert beyond.sum() < 0.002 * bare.sum()


def test_labels_part_depth_and_instance_agree() -> None:
    found = batch()
    named = (found.labels > 0) & (found.labels < UNKNOWN_LABEL)
    assert named.sum() > 5000
    assert (found.instance[named] == 1).all()
    assert (found.part[named] < 24).all() and (found.depth[named] > 0).all()
    assert ((found.part < 24) <= (found.instance == 1)).all()
    left, right = found.labels == Label.LEFT_ARM, found.labels == Label.RIGHT_ARM
    index = SKELETONS["smpl24"].index
    for arm, side in ((left, "left"), (right, "right")):
        of_arm = index(*(f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist", "hand")))
        assert arm.sum() > 100
        assert torch.isin(found.part[arm], torch.tensor(of_arm)).float().mean() > 0.95


def test_colours_end_where_labels_end() -> None:
    """At twice the resolution the same people cover the same pixels, borders apart."""
    draw, chosen = generator(), plans()[:6]
    scene = draw._cast(chosen)
    K = torch.from_numpy(np.stack([plan.K for plan in chosen])).float()
    surface = look_at(scene.people, K[scene.group.picture], (SIZE, SIZE), draw.rasterizer)
    _, covered = draw._photograph(scene, surface, K)
    person = in_front(surface, scene.group)[0]
    people = torch.zeros(6, SIZE, SIZE).index_add(0, scene.group.picture, person) > 0
    maps = maps_of(surface, scene.group, covered)
    border = grown(people) & grown(~people)
    thin = torch.zeros_like(people)
    for place in range(6):
        seen = maps.instance[place] > 0
        thin[place] = (seen != people[place]) & ~border[place] & (covered[place] <= 0.5)
    assert not thin.any()


def test_something_in_front_hides_labels() -> None:
    more = (planner().plan(index) for index in range(10, 60))
    with_thing = [plan for plan in more if cast(plan).occluder is not None][:4]
    found = generator().render(with_thing)
    for labels, instance in zip(found.labels, found.instance, strict=True):
        covered = instance == OCCLUDER
        assert covered.any()
        assert ((labels == UNKNOWN_LABEL) | (labels == 0))[covered].all()
        hidden = (labels == UNKNOWN_LABEL) & covered
        assert hidden.sum() <= 0.75 * (labels > 0).sum()
    assert (found.labels == UNKNOWN_LABEL).sum() > 50


def surface_of(depth: torch.Tensor, label: int) -> Surface:
    hit = depth > 0
    whole = torch.where(hit, label, 0)
    flat = torch.zeros(*depth.shape, 3)
    return Surface(hit, whole, whole * 0, whole * 0, whole * 0 + 3, flat, flat, depth)


def test_the_nearer_person_is_seen() -> None:
    depth = torch.zeros(3, 2, 2)
    depth[0, 0] = 3.0  # the first picture's subject, its upper row
    depth[1, :, 0] = 2.0  # a neighbour in front, the left column
    depth[2] = 5.0  # the second picture's subject
    surface = surface_of(depth, int(Label.COAT))
    group = Group(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), 2)
    wins, front = in_front(surface, group)
    assert wins[0].tolist() == [[0, 1], [0, 0]]
    assert front[0].tolist() == [[2, 3], [2, torch.inf]]
    maps = maps_of(surface, group, torch.zeros(2, 2, 2))
    assert maps.labels[0].tolist() == [[UNKNOWN_LABEL, Label.COAT], [0, 0]]
    assert maps.instance[0].tolist() == [[2, 1], [2, 0]]
    assert maps.part[0].tolist() == [[255, 3], [255, 255]]
    assert maps.depth[0].tolist() == [[2, 3], [2, 0]]
    assert (maps.labels[1] == Label.COAT).all()
    colors = torch.arange(3.0)[:, None, None, None].expand(3, 2, 2, 3) + 1
    picture, covered = together(colors, wins, group)
    assert picture[0, ..., 0].tolist() == [[2, 1], [2, 0]]
    assert covered[0].tolist() == [[1, 1], [1, 0]]


def test_borders_are_where_surfaces_meet() -> None:
    depth = torch.full((1, 7, 9), 2.0)
    depth[:, :, 4:] = 2.4  # a step within one garment
    depth[:, :, 8:] = 0.0  # nobody
    surface = surface_of(depth, int(Label.COAT))
    group = Group(torch.tensor([0]), torch.tensor([0]), 1)
    found = borders(surface, group, torch.tensor([300.0]))
    assert found[0].all(0).tolist() == [c in (3, 4, 7, 8) for c in range(9)]
    assert torch.equal(found.all(1), found.any(1))
    fine = enlarged(found, 2)
    assert fine.shape == (1, 14, 18)
    assert fine[0].all(0).tolist() == [c in (*range(5, 11), *range(13, 18)) for c in range(18)]


def test_fine_samples_count_at_borders_only() -> None:
    chosen = plans()[4:6]
    plain = make_generator(supersampling=1).render(chosen)
    finest = generator().render(chosen)
    assert torch.equal(plain.labels, finest.labels)
    changed = (plain.image != finest.image).any(1)
    assert 0.01 < changed.float().mean() < 0.9


def test_shrinking_takes_the_mean() -> None:
    fine = torch.arange(16.0).view(1, 4, 4, 1)
    assert shrunk(fine, 2)[0, ..., 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert shrunk(fine, 1) is fine


def test_digests_see_every_draw() -> None:
    casting = cast(plans()[0])
    numbers = next(casting.numbers())
    other = replace(casting, bokeh_px=casting.bokeh_px + 1)
    assert (numbers != next(other.numbers())).sum() == 1
    assert len(numbers) > 300
    assert np.isfinite(numbers).all()
    assert len({len(next(cast(plan).numbers())) for plan in plans()}) > 1  # not padded


def test_photographs_serve_as_backgrounds(tmp_path_factory: pytest.TempPathFactory) -> None:
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    Image.fromarray(np.full((90, 120, 3), (10, 200, 30), np.uint8)).save(folder / "green.png")
    draw = make_generator(backgrounds=folder, supersampling=1)
    found = draw.render(plans()[:2])
    behind = (found.instance == 0) & (found.image > 0).any(1)
    green = found.image.movedim(1, -1)[behind].float().mean(0)
    assert green[1] > 1.5 * green[0] and green[1] > 1.5 * green[2]
