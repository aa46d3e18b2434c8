"""Rules for where a person is, on people whose place is known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import load_body
from meshreg.fit.roots import (
    Floor,
    Sighting,
    bone_lengths,
    direction_and_depth,
    floor_of,
    given,
    likely,
    of_build,
    on_floor,
    parabolas,
    rebuilt,
    scaled_like,
    solved,
    steady,
    template_lengths,
)
from meshreg.geometry.cameras import camera_from_fov, project
from meshreg.geometry.lens import Lens, h36m_lenses, lens_of_camera
from meshreg.geometry.screen import to_screen

H36M = skeleton("h36m17")
FRAMES = 40


def standing(heading: Tensor) -> Tensor:
    """Upright people, metres from the pelvis, camera axes; they face some way."""
    places = {
        "hip": (0.11, 0.0, 0.0),
        "knee": (0.12, 0.42, -0.05),
        "ankle": (0.12, 0.84, 0.05),
        "shoulder": (0.17, -0.48, 0.0),
        "elbow": (0.22, -0.22, 0.03),
        "wrist": (0.24, 0.02, -0.06),
        "spine": (0.0, -0.25, 0.02),
        "thorax": (0.0, -0.5, 0.0),
        "jaw": (0.0, -0.6, -0.05),
        "head": (0.0, -0.72, 0.0),
        "pelvis": (0.0, 0.0, 0.0),
    }
    rows = []
    for name in H36M.joints:
        x, y, z = next(place for part, place in places.items() if part in name)
        rows.append((-x if name.startswith("right") else x, y, z))
    joints = torch.tensor(rows, dtype=torch.float64)
    turn = torch.stack(
        [
            torch.stack([heading.cos(), 0 * heading, heading.sin()], -1),
            torch.stack([0 * heading, 0 * heading + 1, 0 * heading], -1),
            torch.stack([-heading.sin(), 0 * heading, heading.cos()], -1),
        ],
        -2,
    )
    return joints @ turn.mT


def walk() -> tuple[Tensor, Tensor]:
    """Joints from the root, and its path over a level floor 1.5 m below the camera."""
    time = torch.linspace(0, 1.3, FRAMES, dtype=torch.float64)
    joints = standing(2 * time)
    root = torch.stack([-1 + 1.5 * time, 0 * time + 1.5 - 0.08 - 0.84, 3 + 2 * time], 1)
    return joints, root


def seen(joints: Tensor, root: Tensor, said: Tensor | None = None) -> Sighting:
    placed = joints + root[:, None]
    return Sighting(
        joints=joints if said is None else said,
        log_scale=torch.full_like(joints[..., 0], -3.0),
        directions=placed[..., :2] / placed[..., 2:],
        confidence=torch.ones_like(joints[..., 0]),
        skeleton=H36M,
        fps=30.0,
    )


def off(found: Tensor, root: Tensor) -> float:
    return float((found - root).norm(dim=1).max())


@pytest.mark.parametrize("rule", [solved, likely, on_floor(Floor(torch.tensor([0.0, 1, 0]), 1.5))])
def test_right_poses_are_put_where_they_are(rule: object) -> None:
    joints, root = walk()
    assert off(rule(seen(joints, root)), root) < 1e-4  # type: ignore[operator]


def test_joints_of_little_trust_and_in_wrong_places_hardly_count() -> None:
    joints, root = walk()
    said = joints.clone()
    said[:, 13] += torch.tensor([0.3, 0.0, 0.0])  # a wrist that is wrong, and known to be
    sighting = seen(joints, root, said)
    scale = sighting.log_scale.clone()
    scale[:, 13] = 0.0
    assert off(solved(replace(sighting, log_scale=scale)), root) < 0.5 * off(solved(sighting), root)
    assert off(likely(replace(sighting, log_scale=scale)), root) < 0.01
    detected = sighting.directions.clone()
    detected[:, 3] += 0.2
    astray = replace(seen(joints, root), directions=detected)
    assert off(likely(astray), root) < 0.2 * off(solved(astray), root)


def test_the_build_tells_the_distance_of_people_said_to_be_smaller() -> None:
    joints, root = walk()
    sighting = seen(joints, root, 0.8 * joints)
    lengths = bone_lengths(joints, H36M)[0]
    assert off(likely(sighting), root) > 0.5
    assert off(of_build(lengths)(sighting), root) < 1e-3
    assert off(scaled_like(likely, of_build(lengths))(sighting), root) < 1e-3
    assert off(of_build()(seen(joints, root)), root) < 1e-3  # of a constant build by itself


def test_rebuilt_bones_have_the_lengths_and_point_where_they_did() -> None:
    joints, root = walk()
    lengths = torch.rand(16, dtype=torch.float64) + 0.1
    again = rebuilt(seen(joints, root), lengths)
    torch.testing.assert_close(bone_lengths(again, H36M), lengths.expand(FRAMES, -1))
    for child, parent in H36M.bones:
        one, other = (p[:, child] - p[:, parent] for p in (joints, again))
        cosine = torch.nn.functional.cosine_similarity(one, other, dim=-1)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_a_known_floor_tells_the_distance_of_people_said_to_be_smaller() -> None:
    joints, root = walk()
    sighting = seen(joints, root, 0.8 * joints)
    floor = Floor(torch.tensor([0.0, 1.0, 0.0]), 1.5)
    placed = scaled_like(likely, on_floor(floor))(sighting)
    assert off(placed, root) < 0.25 * off(likely(sighting), root)


def test_a_floor_is_found_below_people_who_walk_about() -> None:
    joints, root = walk()
    floor = floor_of(seen(joints, root))
    assert floor.height == pytest.approx(1.5, abs=0.02)
    assert float(floor.down @ torch.tensor([0.0, 1.0, 0.0])) > 0.999
    # The same scene before a camera that looks down by half a radian
    angle = torch.tensor(0.5, dtype=torch.float64)
    tilt = torch.stack(
        [
            torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64),
            torch.stack([0 * angle, angle.cos(), -angle.sin()]),
            torch.stack([0 * angle, angle.sin(), angle.cos()]),
        ]
    )
    tilted = seen(joints @ tilt.mT, root @ tilt.mT)
    found = floor_of(tilted)
    assert found.height == pytest.approx(1.5, abs=0.02)
    assert float(found.down.double() @ tilt[:, 1]) > 0.999
    assert off(on_floor()(tilted), root @ tilt.mT) < 0.1


def test_trembling_is_evened_out_and_motion_is_not() -> None:
    joints, root = walk()
    time = torch.arange(FRAMES, dtype=torch.float64)
    curve = torch.stack([0.01 * time**2 - 0.3 * time, time], 1)
    torch.testing.assert_close(parabolas(curve, 3.0), curve, atol=1e-3, rtol=1e-4)
    noise = 0.05 * torch.randn(FRAMES, 3, dtype=torch.float64)
    even = steady(given(root + noise), 0.2)(seen(joints, root))
    assert (even - root).norm(dim=1).mean() < 0.6 * noise.norm(dim=1).mean()
    assert torch.equal(parabolas(curve[:2], 3.0), curve[:2])


def test_rules_are_combined() -> None:
    joints, root = walk()
    sighting = seen(joints, root)
    farther, aside = given(1.2 * root), given(root + torch.tensor([0.5, 0, 0]))
    both = direction_and_depth(aside, farther)(sighting)
    torch.testing.assert_close(both[:, 2], 1.2 * root[:, 2])
    torch.testing.assert_close(both[:, 0] / both[:, 2], (root[:, 0] + 0.5) / root[:, 2])
    torch.testing.assert_close(scaled_like(given(root), farther)(sighting), 1.2 * root)


def test_the_average_body_has_the_lengths_of_people() -> None:
    lengths = template_lengths(load_body(), H36M)
    by_name = {
        H36M.joints[child]: float(v) for (child, _), v in zip(H36M.bones, lengths, strict=True)
    }
    assert 0.33 < by_name["left_knee"] < 0.5 and 0.33 < by_name["left_ankle"] < 0.5
    for name, length in by_name.items():
        if name.startswith("left_"):
            assert length == pytest.approx(by_name[name.replace("left", "right")], rel=0.02)


def test_lenses_undo_what_they_do() -> None:
    numbers = torch.tensor([[2.29, 2.28, 0.02, 0.03, -0.2, 0.25, -0.003, -0.0009, -0.0014]])
    lens: Lens = h36m_lenses(numbers.double())
    flat = 0.6 * (torch.rand(1, 30, 2, dtype=torch.float64) - 0.5)
    depth = 2 + torch.rand(1, 30, 1, dtype=torch.float64)
    points = torch.cat([flat, torch.ones_like(depth)], -1) * depth
    torch.testing.assert_close(lens.directions(lens.project(points)), flat, atol=1e-9, rtol=1e-7)


def test_a_pinhole_on_the_screen_is_that_of_pixels() -> None:
    camera = camera_from_fov(60.0, (480, 640))
    lens = lens_of_camera(camera, 2)
    points = torch.randn(2, 5, 3) + torch.tensor([0.0, 0.0, 5.0])
    pixels = project(points, camera.K.expand(2, 3, 3))
    torch.testing.assert_close(lens.project(points), to_screen(pixels, camera.size))
    torch.testing.assert_close(
        lens.directions(to_screen(pixels, camera.size)), points[..., :2] / points[..., 2:]
    )
