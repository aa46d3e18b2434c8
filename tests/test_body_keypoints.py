"""Keypoints of a body against dense rows times the whole posed mesh."""

from dataclasses import replace

import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def bare_body(body: Body) -> Body:
    """The same body as a licensed file would give it: no regressors but its own joints'."""
    return Body(replace(body.data, regressors={}))


@pytest.fixture(scope="module")
def posed(body: Body) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    pose = roma.rotvec_to_rotmat(0.5 * torch.randn(2, 24, 3))
    return torch.randn(2, body.num_betas), pose, torch.randn(2, 3)


def points_by_name(body: Body, skeleton_name: str, posed: tuple[Tensor, ...]) -> dict[str, Tensor]:
    points, _ = BodyKeypoints(body, skeleton_name)(*posed)
    return dict(zip(SKELETONS[skeleton_name].joints, points.unbind(1), strict=True))


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["coco17", "h36m17"])
def test_own_rows_times_the_whole_mesh(body: Body, posed: tuple[Tensor, ...], name: str) -> None:
    points, joints = BodyKeypoints(body, name)(*posed)
    output = body(*posed)
    rows = torch.from_numpy(body.data.regressors[name])
    assert_same(points, rows @ output.vertices)
    assert_same(joints, output.joints[:, :24])


def test_openpose_is_coco_with_midpoints_and_landmarks(
    body: Body, posed: tuple[Tensor, ...]
) -> None:
    assert "openpose25" not in body.data.regressors
    found = points_by_name(body, "openpose25", posed)
    vertices, joints = body(*posed).vertices, body(*posed).joints
    coco = dict(
        zip(
            SKELETONS["coco17"].joints,
            (torch.from_numpy(body.data.regressors["coco17"]) @ vertices).unbind(1),
            strict=True,
        )
    )
    landmarks = dict(zip(SKELETONS["smplx45"].joints, joints.unbind(1), strict=True))
    for name in coco:
        assert_same(found[name], coco[name])
    assert_same(found["neck_openpose"], (coco["left_shoulder"] + coco["right_shoulder"]) / 2)
    assert_same(found["mid_hip"], (coco["left_hip"] + coco["right_hip"]) / 2)
    feet = [f"{s}_{p}" for s in ("left", "right") for p in ("big_toe", "small_toe", "heel")]
    for name in feet:
        assert_same(found[name], landmarks[name])
    assert set(found) == {*coco, *feet, "neck_openpose", "mid_hip"}


@pytest.mark.parametrize("name", ["coco17", "openpose25", "smpl24", "smplx45"])
def test_a_body_without_rows_falls_back_to_its_joints(
    bare_body: Body, posed: tuple[Tensor, ...], name: str
) -> None:
    found = points_by_name(bare_body, name, posed)
    all_joints = bare_body(*posed).joints.unbind(1)
    own = dict(zip(SKELETONS["smplx45"].joints, all_joints, strict=True))
    own["neck_openpose"] = (own["left_shoulder"] + own["right_shoulder"]) / 2
    own["mid_hip"] = (own["left_hip"] + own["right_hip"]) / 2
    for joint, point in found.items():
        assert_same(point, own[joint])


def test_both_kinds_of_points_are_near_each_other(
    body: Body, bare_body: Body, posed: tuple[Tensor, ...]
) -> None:
    with_rows = BodyKeypoints(body, "openpose25")(*posed)[0]
    without = BodyKeypoints(bare_body, "openpose25")(*posed)[0]
    assert (with_rows - without).norm(dim=-1).max() < 0.15


def test_a_joint_that_the_body_lacks(bare_body: Body) -> None:
    with pytest.raises(InputError, match="spine_h36m of h36m17.*coco17"):
        BodyKeypoints(bare_body, "h36m17")
    with pytest.raises(InputError, match="coco18"):
        BodyKeypoints(bare_body, "coco18")


@pytest.mark.parametrize("name", ["coco17", "openpose25"])
def test_a_keypoint_shows_the_rotations_that_move_it(body: Body, name: str) -> None:
    """Turn one joint after the other: what moves is shown, what stays is not."""
    keypoints = BodyKeypoints(body, name)
    shows = keypoints.shows()
    assert (shows > -1e-4).all() and (shows < 1 + 1e-4).all()
    rotvec = torch.zeros(24 * 3, 24, 3)
    for joint in range(24):
        rotvec[3 * joint : 3 * joint + 3, joint] = 0.1 * torch.eye(3)
    still = torch.eye(3).expand(1, 24, 3, 3)
    poses = torch.cat([still, roma.rotvec_to_rotmat(rotvec)])
    points, _ = keypoints(torch.zeros(73, body.num_betas), poses, torch.zeros(73, 3))
    moved = (points[1:] - points[0]).norm(dim=-1).unflatten(0, (24, 3)).amax(1).T / 0.1  # metres
    assert (moved[shows > 0.95] > 0.1).all()
    assert (moved[shows < 0.02] < 0.02).all()


def test_few_vertices_are_skinned(body: Body) -> None:
    keypoints = BodyKeypoints(body, "openpose25")
    assert len(keypoints.part.v_template) < 0.2 * len(body.v_template)
    smpl = BodyKeypoints(body, "smpl24")
    assert len(smpl.part.v_template) <= len(body.v_template)


def test_keypoints_follow_the_precision_of_the_body(posed: tuple[Tensor, ...], body: Body) -> None:
    points, _ = BodyKeypoints(load_body().double(), "openpose25")(*(x.double() for x in posed))
    assert points.dtype == torch.float64
    torch.testing.assert_close(
        points.float(), BodyKeypoints(body, "openpose25")(*posed)[0], atol=1e-5, rtol=0
    )


def test_gradients_are_finite(body: Body, posed: tuple[Tensor, ...]) -> None:
    inputs = [x.clone().requires_grad_() for x in posed]
    BodyKeypoints(body, "coco17")(*inputs)[0].square().sum().backward()
    assert all(torch.isfinite(x.grad).all() and x.grad.abs().max() > 0 for x in inputs)


def test_a_bodys_own_joints_are_not_what_annotators_call_by_their_names(
    body: Body, posed: tuple[Tensor, ...]
) -> None:
    assert_same(BodyKeypoints(body, "smplx45")(*posed)[0], body(*posed).joints)
    assert_same(BodyKeypoints(body, "smpl24")(*posed)[0], body(*posed).joints[:, :24])
