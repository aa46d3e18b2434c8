"""Plans of synthetic pictures: what they cover, and that their numbers fit together."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from plain_people import BareBodies, RandomBends, plain_body, plain_planner

from meshreg.body.assets import load_body_data
from meshreg.data.sample import inside_picture, stack, with_vertices
from meshreg.data.synthetic import placement
from meshreg.data.synthetic.cameras import crop_K, project, rotvec_to_rotmat, turn
from meshreg.data.synthetic.outline import HEAD_SHOULDERS, UPPER_BODY, Outline
from meshreg.data.synthetic.scene import Planner, ScenePlan, plan_digest, rounded, sample_betas
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.data.synthetic.streams import stream
from meshreg.data.visibility import visible_joints
from meshreg.errors import InputError
from meshreg.geometry import cameras

COUNT = 400


@pytest.fixture(scope="module")
def plans() -> list[ScenePlan]:
    planner = plain_planner(1)
    return [planner.plan(index) for index in range(COUNT)]


def vertices(plan: ScenePlan, person: int = 0) -> np.ndarray:
    chosen = plan.people[person]
    arrays = (chosen.betas, chosen.pose_rotmat, chosen.transl)
    betas, pose, transl = (torch.tensor(a, dtype=torch.float32)[None] for a in arrays)
    return plain_body()(betas, pose, transl).vertices[0].numpy()


# --- what the plans cover -------------------------------------------------------------------------
def test_fields_of_view_cover_the_range(plans: list[ScenePlan]) -> None:
    fov = np.array(
        [2 * np.degrees(np.arctan(max(p.full_size) / 2 / p.K_full[0, 0])) for p in plans]
    )
    assert fov.min() >= 19.99 and fov.max() <= 100.01
    assert fov.min() < 23 and fov.max() > 90
    assert 0.5 < ((fov > 40) & (fov < 75)).mean() < 0.9


def test_subjects_lie_anywhere_in_the_picture(plans: list[ScenePlan]) -> None:
    place = np.array([p.box[:2] / np.array(p.full_size[::-1]) for p in plans])
    assert (np.abs(place - 0.5) < 0.1).all(1).mean() > 0.1
    for axis in (0, 1):
        assert (place[:, axis] < 0.25).mean() > 0.04, axis
        assert (place[:, axis] > 0.75).mean() > 0.04, axis


def test_distances_reach_from_close_ups_to_small_people(plans: list[ScenePlan]) -> None:
    depth = np.array([p.people[0].transl[2] for p in plans])
    share = np.array([p.box[2] / max(p.full_size) for p in plans])
    assert (depth < 1).mean() > 0.03 and (depth > 10).mean() > 0.03
    assert share.min() < 0.12 and (share > 0.9).mean() > 0.05
    # A close-up shows the upper body only: the feet are below the picture.
    cut_off = [
        project(vertices(p), p.K_full)[:, 1].max() > p.full_size[0] + 0.2 * p.box[2]
        for p in plans[:100]
    ]
    assert 0.05 < np.mean(cut_off) < 0.8


def test_headings_are_uniform_and_views_high_and_low(plans: list[ScenePlan]) -> None:
    front = np.array([(p.R_cam_world.T @ p.people[0].root_rotmat)[:, 2] for p in plans])
    heading = np.arctan2(front[:, 0], front[:, 2])
    counts = np.histogram(heading, 4, (-np.pi, np.pi))[0]
    assert counts.min() > COUNT / 4 * 0.7, counts
    pitch = np.degrees([np.arcsin(-p.R_cam_world[2, 1]) for p in plans])
    assert pitch.min() < -20 and pitch.max() > 45
    roll = np.degrees([np.arctan2(p.R_cam_world[0, 1], -p.R_cam_world[1, 1]) for p in plans])
    assert roll.min() < -10 and roll.max() > 10 and np.median(np.abs(roll)) < 5


def test_a_camera_pitched_down_sees_the_tops_of_heads() -> None:
    planner = plain_planner(2, pitch_deg=(50.0, 50.0), usual_pitch_deg=(50.0, 50.0))
    down_in_world = planner.plan(0).R_cam_world[2]  # the optical axis in world coordinates
    assert down_in_world[1] == pytest.approx(-np.sin(np.radians(50)), abs=1e-7)


def test_others_join_in_and_some_overlap_in_the_picture(plans: list[ScenePlan]) -> None:
    counts = np.bincount([len(p.people) for p in plans], minlength=5)
    assert counts[0] == 0 and counts[2] > 30 and counts[3] > 8, counts


def test_principal_points_are_mostly_central(plans: list[ScenePlan]) -> None:
    central = [
        np.allclose(p.K_full[:2, 2], (np.array(p.full_size[::-1]) - 1) / 2, atol=1e-5)
        for p in plans
    ]
    assert 0.7 < np.mean(central) < 0.9


def test_shapes_have_unit_variance_and_some_wide_tails() -> None:
    settings = SceneSettings(beta_limit=10.0, beta_tail_share=0.0)
    drawn = np.array([sample_betas(stream(0, i, "s"), 10, settings) for i in range(2000)])
    assert abs(drawn.mean()) < 0.02 and drawn.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(drawn) > 2).mean() == pytest.approx(0.0455, abs=0.01)
    tails = SceneSettings(beta_tail_share=1.0)
    wide = np.array([sample_betas(stream(0, i, "s"), 10, tails) for i in range(500)])
    assert wide.std() > 1.3 and np.abs(wide).max() == 3


# --- that the numbers fit together ----------------------------------------------------------------
def test_the_square_sees_what_the_full_picture_sees(plans: list[ScenePlan]) -> None:
    for plan in plans[:50]:
        points = torch.tensor(vertices(plan)[::500], dtype=torch.float64)
        points = points[points[:, 2] > 0.1]
        full = cameras.project(points, torch.tensor(plan.K_full))
        # Cut out and resized independently: a pixel at the box's border maps to -0.5 or size - 0.5.
        corner = torch.tensor(plan.box[:2] - plan.box[2] / 2)
        expected = (full - corner) * plan.size / plan.box[2] - 0.5
        found = cameras.project(points, torch.tensor(plan.K))
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-6)


def test_crop_K_is_crop_then_resize() -> None:
    K = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
    left, top, side, size = 100.0, 50.0, 300.0, 64
    box = np.array([left + side / 2 - 0.5, top + side / 2 - 0.5, side])
    window = cameras.crop_intrinsics(torch.tensor(K), left, top)
    expected = cameras.resize_intrinsics(window, size / side, size / side)
    np.testing.assert_allclose(crop_K(K, box, size), expected, atol=1e-12)


def test_boxes_hold_the_visible_subject(plans: list[ScenePlan]) -> None:
    for plan in plans:
        x, y, side = plan.box
        assert side >= 16
        assert -side / 2 < x < plan.full_size[1] + side / 2
        assert -side / 2 < y < plan.full_size[0] + side / 2
        points = project(vertices(plan)[::20], plan.K)
        inside = ((points > -0.5) & (points < plan.size - 0.5)).all(1)
        assert inside.mean() > 0.04, plan.index


def test_nobody_aims_at_a_head_bent_away() -> None:
    outline = Outline(load_body_data())
    upright, bent = (
        outline.pose(np.zeros(10), np.stack([turn(0, angle), *[np.eye(3)] * 23]))
        for angle in (np.pi, np.pi / 2)  # standing before the camera; feet towards it
    )
    assert placement._head(upright) == HEAD_SHOULDERS
    assert placement._head(bent) == UPPER_BODY


def test_everyone_is_in_front_of_the_camera(plans: list[ScenePlan]) -> None:
    for plan in plans[:150]:
        for person in range(len(plan.people)):
            assert vertices(plan, person)[:, 2].min() > 0.25


def test_people_do_not_interpenetrate() -> None:
    planner = plain_planner(5, people_weights=(0.0, 0.0, 0.0, 1.0), widest_gap_m=0.5)
    crowds = [p for p in map(planner.plan, range(60)) if len(p.people) > 1]
    assert len(crowds) > 20
    nearest = []
    for plan in crowds:
        up = plan.R_cam_world[:, 1]
        flat = [v - (v @ up)[:, None] * up for v in (vertices(plan, n) for n in range(2))]
        pelvis = [v.mean(0) for v in flat]
        reach = [np.linalg.norm(v - c, axis=1).max() for v, c in zip(flat, pelvis, strict=True)]
        assert np.linalg.norm(pelvis[0] - pelvis[1]) > max(reach)
        gaps = np.linalg.norm(flat[0][::40, None] - flat[1][None, ::40], axis=2)
        nearest.append(gaps.min())
    assert 0.05 < min(nearest) < 0.6, "far apart or in each other"


def test_people_stand_on_one_floor() -> None:
    planner = plain_planner(6, people_weights=(0.0, 1.0), pitch_deg=(0.0, 60.0))
    crowds = [p for p in map(planner.plan, range(30)) if len(p.people) > 1]
    assert crowds
    for plan in crowds:
        soles = [(vertices(plan, n) @ plan.R_cam_world[:, 1]).min() for n in range(2)]
        assert abs(soles[0] - soles[1]) < 0.06


def test_the_outline_follows_the_body() -> None:
    data, body = load_body_data(), plain_body()
    rng = np.random.default_rng(0)
    betas = rng.normal(size=10)
    pose = rotvec_to_rotmat(rng.uniform(-0.7, 0.7, (24, 3)))
    posed = Outline(data).pose(betas, pose)
    exact = body(
        torch.tensor(betas, dtype=torch.float32)[None],
        torch.tensor(pose, dtype=torch.float32)[None],
        torch.zeros(1, 3),
    )
    surface = exact.vertices[0].numpy() - exact.joints[0, 0].numpy()
    np.testing.assert_allclose(posed.rest_pelvis, exact.joints[0, 0], atol=1e-5)
    distance = np.linalg.norm(posed.points[:, None] - surface[None], axis=2).min(1)
    assert distance.max() < 0.05
    np.testing.assert_allclose(posed.points.min(0), surface.min(0), atol=0.05)
    np.testing.assert_allclose(posed.points.max(0), surface.max(0), atol=0.05)


# --- the same anywhere ----------------------------------------------------------------------------
def test_a_plan_depends_on_seed_and_index_only(plans: list[ScenePlan]) -> None:
    again = plain_planner(1)
    for index in (7, 3, 300):
        assert plan_digest(again.plan(index).numbers()) == plan_digest(plans[index].numbers())
    assert len({plan_digest(p.numbers()) for p in plans}) == COUNT
    other = plain_planner(2).plan(7)
    assert plan_digest(other.numbers()) != plan_digest(plans[7].numbers())


def test_numbers_are_rounded_and_digests_see_each_digit(plans: list[ScenePlan]) -> None:
    for plan in plans[:20]:
        for values in plan.numbers():
            np.testing.assert_array_equal(values, np.round(values, 8))
    plan = plans[0]
    moved = replace(plan, box=plan.box + np.array([0, 1e-6, 0]))
    assert plan_digest(moved.numbers()) != plan_digest(plan.numbers())
    noise = replace(plan, box=plan.box + np.array([0, 1e-10, 0]))
    assert plan_digest(noise.numbers()) == plan_digest(plan.numbers())
    assert not np.signbit(rounded(np.array([-1e-9]))).any()


def test_planning_is_quick(plans: list[ScenePlan]) -> None:
    planner = plain_planner(3, people_weights=(0.0, 0.0, 0.0, 1.0))
    start = time.perf_counter()
    for index in range(40):
        planner.plan(index)
    assert (time.perf_counter() - start) / 40 < 0.02  # about 0.001 without the checks of tests


def test_topics_have_streams_of_their_own(plans: list[ScenePlan]) -> None:
    one, same, other = (plans[0].rng(topic).random() for topic in ("look", "look", "outfit.0"))
    assert one == same != other


def test_bad_settings_are_refused() -> None:
    for change in (
        {"fov_deg": (60.0, 30.0)},
        {"truncated_share": 1.5},
        {"size": 8},
        {"people_weights": (0.0, 0.0)},
        {"fov_deg": (20.0, 170.0)},
        {"aspects": ()},
    ):
        with pytest.raises(InputError, match=f"^{next(iter(change))} of the scene settings"):
            SceneSettings(**change)


# --- samples --------------------------------------------------------------------------------------
def test_drawn_samples_agree_with_their_plans() -> None:
    planner = plain_planner(4, size=64)
    plans = [planner.plan(index) for index in range(6)]
    batch = BareBodies(plain_body()).render(plans)
    assert len(batch) == 6 and batch.image.shape == (6, 3, 64, 64)
    for place, plan in enumerate(plans):
        pixels = project(vertices(plan), plan.K).round().astype(int)
        inside = ((pixels >= 0) & (pixels < 64)).all(1)
        hit = batch.instance[place].numpy()[pixels[inside, 1], pixels[inside, 0]] >= 1
        assert hit.mean() > 0.8, place
    single = replace(batch, vertices_cam=torch.zeros(6, 0, 3))
    torch.testing.assert_close(with_vertices(single, plain_body()).vertices_cam, batch.vertices_cam)
    torch.testing.assert_close(stack([batch[i] for i in range(6)]).K, batch.K)
    assert batch.to("cpu").index.tolist() == list(range(6))


def test_what_lies_outside_of_the_full_picture() -> None:
    box = torch.tensor(
        [[4.5, 9.5, 20.0]]
    )  # spans x -5.5...14.5, y -0.5...19.5 of a 12 x 10 picture
    inside = inside_picture(torch.tensor([[10, 12]]), box, 20)[0]
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[:10, 5:17] = True
    assert torch.equal(inside, expected)


def test_joints_hide_behind_others_things_and_the_own_body() -> None:
    depth = torch.full((1, 4, 8), 2.0)
    instance = torch.tensor([[0, 1, 1, 2, 2, 255, 1, 1]], dtype=torch.uint8).expand(4, -1)[None]
    inside = torch.ones(1, 4, 8, dtype=torch.bool)
    inside[..., 7] = False
    pixels, z = torch.zeros(1, 45, 2), torch.full((1, 45), 2.1)
    pixels[..., 1] = 1.0
    pixels[0, :9, 0] = torch.tensor([0.0, 1, 2, 3, 4, 5, 6, 7, 9])
    z[0, 2], z[0, 3] = 2.3, 1.9
    visible, self_hidden = visible_joints(pixels, z, depth, instance, inside)
    #            empty, skin, deep, before, behind, thing, skin, beyond picture, beyond square
    assert visible[0, :9].tolist() == [True, True, True, True, False, False, True, False, False]
    assert self_hidden[0, :9].tolist() == [False, False, True] + [False] * 6
    pixels[0, 30], z[0, 30] = torch.tensor([1.0, 1.0]), 2.1  # a landmark: shallower limit
    assert visible_joints(pixels, z, depth, instance, inside)[1][0, 30]


def test_random_poses_of_the_stand_in_are_a_pose_source() -> None:
    settings = SceneSettings(size=32)
    plan = Planner(0, poses=RandomBends(), body=load_body_data(), settings=settings).plan(0)
    assert plan.people[0].body_pose.shape == (23, 3) and plan.size == 32
