"""Turning cameras: group axioms, independent constructions, derivatives, published numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.perspective import ray, turn_by_angle, turn_by_yaw_and_pitch
from torch import Tensor
from turned_cameras import some_boxes, some_cameras, some_pixels, some_turns

from meshreg.body.smpl import Body, load_body
from meshreg.geometry.cameras import project
from meshreg.geometry.perspective import (
    homography,
    inverse_intrinsics,
    minimal_turn,
    move_box,
    move_pixels,
    pixel_rays,
    roll_turn,
    turn_points,
    turn_pose,
    turn_towards,
    turn_transl,
    yaw_pitch_turn,
)

BATCHES = [(), (5,), (2, 3)]


def unit(*batch: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*batch, 3, dtype=torch.float64), dim=-1)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> bool:
    return float((a - b).abs().max()) < tolerance


def far_from_axis(point: Tensor, K: Tensor) -> Tensor:
    rays = pixel_rays(point[..., None, :], K)[..., 0, :]
    return torch.atan2(rays[..., :2].norm(dim=-1), rays[..., 2])


# --- rotations ------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", BATCHES)
def test_the_smallest_turn_is_that_about_the_common_normal(batch: tuple[int, ...]) -> None:
    start, end = unit(*batch), unit(*batch)
    found = minimal_turn(start * 7, end * 0.1).reshape(-1, 3, 3)
    for R, a, b in zip(found, start.reshape(-1, 3), end.reshape(-1, 3), strict=True):
        np.testing.assert_allclose(R, turn_by_angle(a.numpy(), b.numpy()), atol=1e-9)


@pytest.mark.parametrize("batch", BATCHES)
def test_turns_are_rotations_and_arrive(batch: tuple[int, ...]) -> None:
    start, end = unit(*batch), unit(*batch)
    axis = torch.tensor([0.0, 0, 1]).double().expand_as(end)
    forward = start * start[..., 2:].sign()
    for R, a, b in (
        (minimal_turn(start, end), start, end),
        (yaw_pitch_turn(forward), forward, axis),
    ):
        assert close(R @ R.mT, torch.eye(3).double().expand_as(R), 1e-12)
        assert close(torch.linalg.det(R), torch.ones(batch).double(), 1e-12)
        assert close((R @ a[..., None])[..., 0], b, 1e-12)


def test_the_way_back_is_the_inverse_and_staying_is_the_identity() -> None:
    start, end = unit(50), unit(50)
    assert close(minimal_turn(end, start), minimal_turn(start, end).mT, 1e-10)
    assert close(minimal_turn(start, start), torch.eye(3).double().expand(50, 3, 3), 1e-15)


def test_turns_along_one_great_circle_add_up() -> None:
    start, end = unit(50), unit(50)
    between = start + 0.7 * end
    steps = minimal_turn(between, end) @ minimal_turn(start, between)
    assert close(steps, minimal_turn(start, end), 1e-9)


def test_turning_the_world_turns_the_turn() -> None:
    start, end, Q = unit(50), unit(50), some_turns(50)
    moved = minimal_turn(turn_points(Q, start[:, None])[:, 0], turn_points(Q, end[:, None])[:, 0])
    assert close(moved, Q @ minimal_turn(start, end) @ Q.mT, 1e-9)


def test_the_variant_of_pcl_is_yaw_then_pitch_and_differs_by_a_roll() -> None:
    K, point = some_cameras(30), some_pixels(30)
    found = turn_towards(point, K, how="pcl")
    for R, some, matrix in zip(found, point.numpy(), K.numpy(), strict=True):
        np.testing.assert_allclose(R, turn_by_yaw_and_pitch(ray(some, matrix)), atol=1e-12)
    between = found @ turn_towards(point, K).mT
    axis = torch.tensor([0.0, 0.0, 1.0]).double().expand(30, 3)
    assert close(between[:, 2], axis, 1e-12) and close(between[:, :, 2], axis, 1e-12)
    assert float((found[:, 1, 0]).abs().max()) > 0.01  # the roll is there


@pytest.mark.parametrize("fov_deg, roll_deg", [(40.0, 3.4), (60.0, 7.2), (90.0, 15.0)])
def test_how_much_pcl_rolls_in_the_corner(fov_deg: float, roll_deg: float) -> None:
    """The published variants differ this much at the corner of a square picture."""
    focal = 1 / np.tan(np.radians(fov_deg) / 2)
    K, corner = torch.diag(torch.tensor([focal, focal, 1.0])).double(), torch.ones(2).double()
    between = turn_towards(corner, K, how="pcl") @ turn_towards(corner, K).mT
    found = np.degrees(np.arctan2(abs(float(between[1, 0])), float(between[0, 0])))
    assert found == pytest.approx(roll_deg, abs=0.06)


@pytest.mark.parametrize("how", ["minimal", "pcl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset_px", [0.0, 1e-6, 1e-3, 0.05, 0.5])
def test_exact_near_the_centre(how: str, dtype: torch.dtype, offset_px: float) -> None:
    """The turn is as small as it has to be: nothing is clamped, nothing overshoots."""
    K = torch.tensor([[1500.0, 0, 320.25], [0, 1450, 240.75], [0, 0, 1]], dtype=torch.float64)
    point = K[:2, 2] + offset_px * torch.tensor([0.6, -0.8], dtype=torch.float64)
    exact = turn_towards(point, K, how=how)
    again = move_pixels(point[None], homography(exact, K))[0]
    assert close(again, K[:2, 2], 1e-12 * 1500)
    if offset_px == 0:
        assert torch.equal(exact, torch.eye(3, dtype=torch.float64))
    single = turn_towards(point.to(dtype), K.to(dtype), how=how).double()
    assert close(single, exact, 1e-15 if dtype == torch.float64 else 1e-7)


@pytest.mark.parametrize("how", ["minimal", "pcl"])
@pytest.mark.parametrize("offset", [0.0, 1e-9, 3.0, 200.0])
def test_derivatives_of_the_turn_also_at_the_centre(how: str, offset: float) -> None:
    K = some_cameras()
    point = (K[:2, 2] + offset).requires_grad_()
    K = K.requires_grad_()
    target = (K[:2, 2].detach() + 5).requires_grad_()

    def turn(point: Tensor, K: Tensor, target: Tensor) -> Tensor:
        free = K * torch.tensor([[1.0, 1, 1], [0, 1, 1], [0, 0, 0]]).double()
        K = free + torch.diag(torch.tensor([0.0, 0, 1])).double()
        return torch.stack(
            [turn_towards(point, K, how=how), turn_towards(point, K, target_px=target, how=how)]
        )

    assert torch.autograd.gradcheck(turn, (point, K, target))


# --- pixels ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", BATCHES)
def test_rays_are_the_inverse_of_intrinsics(batch: tuple[int, ...]) -> None:
    K, points = some_cameras(*batch), some_pixels(*batch, 7)
    assert close(inverse_intrinsics(K), torch.linalg.inv(K), 1e-9)
    assert close(project(pixel_rays(points, K) * 3, K), points, 1e-9)


@pytest.mark.parametrize("how", ["minimal", "pcl"])
def test_pixels_move_as_turned_points_are_projected(how: str) -> None:
    K, centre = some_cameras(200), some_pixels(200)
    R = turn_towards(centre, K, how=how)
    K_new = some_cameras(200)
    points = torch.cat([0.5 * torch.randn(200, 9, 2), 3 + torch.rand(200, 9, 1)], -1).double()
    turned = turn_points(R, points)
    in_front = turned[..., 2] > 0.3
    assert in_front.double().mean() > 0.8
    for new in (None, K_new):
        moved = move_pixels(project(points, K), homography(R, K, new))
        expected = project(turned, K if new is None else new)
        assert close(moved[in_front], expected[in_front], 1e-8)


def test_the_subject_arrives_at_the_principal_point_or_the_target() -> None:
    K, centre, target = some_cameras(200), some_pixels(200), some_pixels(200)
    near = (far_from_axis(centre, K) < 1.2) & (far_from_axis(target, K) < 1.2)
    for how in ("minimal", "pcl"):
        for goal in (K[:, :2, 2], target):
            H = homography(turn_towards(centre, K, target_px=goal, how=how), K)
            arrived = move_pixels(centre[:, None], H)[:, 0]
            assert close(arrived[near], goal[near], 1e-9)
    assert near.sum() > 100


def test_a_roll_turns_clockwise_about_the_principal_point_whatever_the_pixels() -> None:
    K = some_cameras(20)
    angle = torch.rand(20, dtype=torch.float64)
    H = homography(roll_turn(angle), K)
    centre = K[:, None, :2, 2]
    assert close(move_pixels(centre, H), centre, 1e-9)
    assert torch.equal(H[:, 2], torch.tensor([0.0, 0.0, 1.0]).double().expand(20, 3))
    square = torch.diag(torch.tensor([500.0, 500, 1])).double()
    moved = move_pixels(
        torch.tensor([[100.0, 0.0]]).double(), homography(roll_turn(angle[0]), square)
    )
    expected = 100 * torch.stack([angle[0].cos(), angle[0].sin()])  # down is clockwise
    assert close(moved[0], expected, 1e-9)
    both = roll_turn(angle) @ roll_turn(0.3 * angle)
    assert close(both, roll_turn(1.3 * angle)) and close(roll_turn(-angle), roll_turn(angle).mT)


def test_homographies_of_turns_form_a_group() -> None:
    K, R, Q = some_cameras(20), some_turns(20), some_turns(20)
    K2, K3 = some_cameras(20), some_cameras(20)
    first, second = homography(R, K, K2), homography(Q, K2, K3)
    torch.testing.assert_close(second @ first, homography(Q @ R, K, K3))
    back = homography(R.mT, K2, K) @ first
    assert close(back, torch.eye(3).double().expand(20, 3, 3), 1e-9)


def test_pixels_behind_stay_finite() -> None:
    K = some_cameras()
    R = torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()  # looking back
    px = some_pixels(4).requires_grad_()
    moved = move_pixels(px, homography(R, K))
    moved.sum().backward()
    assert torch.isfinite(moved).all() and torch.isfinite(px.grad).all()


def test_boxes_hold_what_was_in_them() -> None:
    K, box = some_cameras(50), some_boxes(50)
    centre = (box[:, :2] + box[:, 2:]) / 2
    H = homography(turn_towards(centre, K), K)
    inside = box[:, None, :2] + torch.rand(50, 40, 2).double() * (
        box[:, None, 2:] - box[:, None, :2]
    )
    moved, around = move_pixels(inside, H), move_box(box, H)
    assert bool((moved >= around[:, None, :2] - 1e-9).all())
    assert bool((moved <= around[:, None, 2:] + 1e-9).all())


# --- bodies ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def body() -> Body:
    """The built-in body, moved: its pelvis is at the origin, where every pivot looks right."""
    data = load_body().data
    moved = (data.v_template + [0.05, -0.2, 0.1]).astype(data.v_template.dtype)
    return Body(replace(data, v_template=moved)).double()


def test_the_body_of_turned_parameters_is_the_turned_body(body: Body) -> None:
    import roma

    R = some_turns(3)
    betas = torch.randn(3, body.num_betas, dtype=torch.float64)
    pose = roma.rotvec_to_rotmat(0.4 * torch.randn(3, 24, 3, dtype=torch.float64))
    transl = torch.randn(3, 3, dtype=torch.float64)
    pelvis = body.rest_joints(betas)[:, 0]
    turned_pose, turned_transl = turn_pose(R, pose), turn_transl(R, transl, pelvis)
    again = body(betas, turned_pose, turned_transl)
    before = body(betas, pose, transl)
    assert close(again.vertices, turn_points(R, before.vertices), 1e-6)
    assert close(again.joints, turn_points(R, before.joints), 1e-6)
    assert float((turned_transl - turn_points(R, transl[:, None])[:, 0]).abs().max()) > 0.01
    assert close(turn_pose(R.mT, turned_pose), pose, 1e-12)
    assert close(turn_transl(R.mT, turned_transl, pelvis), transl, 1e-12)


# --- published numbers ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cases(reference_fixtures: Path) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = torch.load(
        reference_fixtures / "perspose" / "pr.pt", weights_only=True
    )
    return found


def angles(R: Tensor) -> Tensor:
    sine = torch.stack(
        [R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1
    )
    return torch.atan2(sine.norm(dim=1), R.diagonal(dim1=1, dim2=2).sum(1) - 1)


def test_rotations_agree_with_the_released_function(cases: dict[str, dict[str, Tensor]]) -> None:
    """That one clamps a cosine, which costs 1e-8 per radian; near the centre 4.4e-4."""
    direct = cases["direct"]
    R = turn_towards(direct["center"], direct["K"], target_px=direct["target"])
    assert bool((direct["rot_deg"] == 0).all())
    error = (R - direct["R"]).abs().amax((1, 2))
    assert bool((error * angles(R) < 1.1e-8).all())
    H = homography(direct["R"], direct["K"])
    torch.testing.assert_close(H, direct["H"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("group", [0, 1, 2, 3])
def test_targets_agree_with_the_released_code(
    cases: dict[str, dict[str, Tensor]], group: int
) -> None:
    given = cases["cases"]
    rows = (given["pr_applied"] == 1) & (given["group"] == group)
    c = {name: values[rows] for name, values in given.items()}
    R = turn_towards(c["bbox_center"], c["K"], target_px=c["pr_target"])
    angle, error = angles(R), (R - c["pr_R"]).abs().amax((1, 2))
    assert bool((error < (4.5e-4 if group == 3 else 1.1e-8 / angle)).all())
    total = roll_turn(torch.deg2rad(c["rot_deg"])) @ R
    tolerance = 5e-4 if group == 3 else 2e-6
    assert close(total, c["rotation_3d"], tolerance)
    for name in ("3dhp_j17", "smpl_j24", "smpl_j17", "smpl_vertices", "smpl_ortho_twist"):
        moved, expected = turn_points(total, c[f"in_{name}"]), c[f"out_{name}"]
        known = torch.isfinite(expected)
        assert not known.any() or close(moved[known], expected[known], tolerance * 20)
    body = c["kind"] == 1
    if body.any():
        check_bodies({name: values[body] for name, values in c.items()})


def check_bodies(c: dict[str, Tensor]) -> None:
    """Given the same rotation, all else is the same."""
    import roma

    R = c["rotation_3d"]
    pelvis = c["in_smpl_j24"][:, 0] - c["in_smpl_transl"]
    assert close(turn_transl(R, c["in_smpl_transl"], pelvis), c["out_smpl_transl"], 1e-6)
    root, expected = (roma.rotvec_to_rotmat(c[f"{when}_orient"]) for when in ("in", "out"))
    assert close(turn_pose(R, root[:, None])[:, 0], expected, 2e-6)
    back = turn_transl(R.mT, c["out_smpl_transl"], pelvis)
    assert close(back, c["in_smpl_transl"], 1e-6)


def test_keypoints_move_as_in_the_released_code(cases: dict[str, dict[str, Tensor]]) -> None:
    c = cases["cases"]
    moved = move_pixels(c["in_coco_kp17"][..., :2], c["perspective_2d"])
    torch.testing.assert_close(moved, c["out_coco_kp17"][..., :2], rtol=1e-9, atol=1e-9)
