"""Starting points: keypoints made from a pose of the bank must find that pose again."""

import math

import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import Body, load_body
from meshreg.fit.evidence import Target2D
from meshreg.fit.initialise import (
    PITCHES_DEG,
    SAME_POSE,
    _camera_turns,
    starting_points,
    starting_points_around,
)
from meshreg.fit.variables import variables_of
from meshreg.geometry.cameras import camera_from_focal, project
from meshreg.losses.priors import NUM_PRIOR_JOINTS, PoseBank, load_pose_prior

POSES = 40
K = camera_from_focal(600.0, (480, 640)).K
TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0]))


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def keypoints(body: Body) -> BodyKeypoints:
    return BodyKeypoints(body, "openpose25")


@pytest.fixture(scope="module")
def bank() -> PoseBank:
    """Some poses of the shipped bank, spread over it."""
    whole = load_pose_prior()[1]
    step = len(whole.weight) // POSES
    return PoseBank(
        root_rotmat=whole.root_rotmat[::step][:POSES],
        body_pose=whole.body_pose[::step][:POSES],
        weight=torch.full((POSES,), 1 / POSES),
    )


def turn(heading: float, *, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Tensor:
    """R_cam_world of a camera that looks at a person with this heading."""
    about = [(0.0, 0.0, math.radians(roll_deg)), (math.radians(pitch_deg), 0.0, 0.0)]
    lean, tilt = (roma.rotvec_to_rotmat(torch.tensor(axis)) for axis in about)
    return lean @ TO_OPENCV @ tilt @ roma.rotvec_to_rotmat(torch.tensor([0.0, heading, 0.0]))


def seen(
    keypoints: BodyKeypoints, bank: PoseBank, pose: int, R_cam_world: Tensor, pelvis: Tensor
) -> tuple[Target2D, Tensor]:
    """Perfect keypoints of one pose of the bank, and the pose's 3D points in the camera frame."""
    root = R_cam_world @ bank.root_rotmat[pose]
    rotvec = torch.zeros(1, 23, 3)
    rotvec[0, :NUM_PRIOR_JOINTS] = bank.body_pose[pose]
    rotmat = torch.cat([root[None, None], roma.rotvec_to_rotmat(rotvec)], 1)
    points, joints = keypoints(torch.zeros(1, 10), rotmat, torch.zeros(1, 3))
    points_cam = points[0] - joints[0, 0] + pelvis
    target = Target2D(points_px=project(points_cam, K), confidence=torch.ones(len(points_cam)), K=K)
    return target, points_cam


def test_a_positive_pitch_looks_down_on_the_person() -> None:
    forward = _camera_turns()[:, 2]  # the camera's z axis in the world
    slope = torch.tensor([-min(PITCHES_DEG), -max(PITCHES_DEG)]).deg2rad().sin()
    torch.testing.assert_close(forward[:, 1].max(), slope[0])
    torch.testing.assert_close(forward[:, 1].min(), slope[1])


@pytest.mark.parametrize(
    ("pose", "heading_deg", "pitch_deg", "roll_deg"),
    [(0, 0, 0, 0), (7, 97, 0, 0), (19, 188, 10, 0), (26, 292, 30, -5), (38, 40, -12, 12)],
)
def test_a_pose_of_the_bank_is_found_first(
    body: Body,
    keypoints: BodyKeypoints,
    bank: PoseBank,
    pose: int,
    heading_deg: float,
    pitch_deg: float,
    roll_deg: float,
) -> None:
    R_cam_world = turn(math.radians(heading_deg), pitch_deg=pitch_deg, roll_deg=roll_deg)
    pelvis = torch.tensor([0.4, -0.2, 3.5])
    target, points_cam = seen(keypoints, bank, pose, R_cam_world, pelvis)
    found = starting_points(target, keypoints, bank, count=8, num_betas=10)
    torch.testing.assert_close(found.body_pose[0, :NUM_PRIOR_JOINTS], bank.body_pose[pose])
    expected = R_cam_world @ bank.root_rotmat[pose]
    apart = roma.rotmat_geodesic_distance(found.root_rotmat[0], expected)
    assert math.degrees(float(apart)) < 15
    points, joints = keypoints(found.betas, found.pose_rotmat(), found.transl(body))
    assert (joints[0, 0] - pelvis).norm() < 0.3
    size = points_cam.amax(0) - points_cam.amin(0)
    assert (points[0] - points_cam).norm(dim=-1).mean() < 0.25 * size.norm()


def test_an_exact_view_is_met_exactly(body: Body, keypoints: BodyKeypoints, bank: PoseBank) -> None:
    pelvis = torch.tensor([-0.3, 0.1, 4.0])
    target, points_cam = seen(keypoints, bank, 11, turn(math.radians(45)), pelvis)
    found = starting_points(target, keypoints, bank, count=3, num_betas=10)
    points, joints = keypoints(found.betas, found.pose_rotmat(), found.transl(body))
    torch.testing.assert_close(joints[0, 0], pelvis, atol=2e-3, rtol=0)
    torch.testing.assert_close(points[0], points_cam, atol=5e-3, rtol=0)


def test_starting_points_differ_from_each_other(keypoints: BodyKeypoints, bank: PoseBank) -> None:
    target, _ = seen(keypoints, bank, 3, turn(1.0), torch.tensor([0.0, 0.0, 3.0]))
    found = starting_points(target, keypoints, bank, count=12, num_betas=10)
    assert len(found.betas) == 12
    centred, joints = keypoints(found.betas, found.pose_rotmat(), torch.zeros(12, 3))
    centred = centred - joints[:, :1]
    apart = (centred[:, None] - centred[None]).norm(dim=-1).mean(-1) + torch.eye(12)
    assert apart.min() > SAME_POSE


def test_what_was_not_seen_changes_nothing(keypoints: BodyKeypoints, bank: PoseBank) -> None:
    clean, _ = seen(keypoints, bank, 5, turn(0.3), torch.tensor([0.0, 0.0, 3.0]))
    confidence = clean.confidence.clone()
    confidence[[4, 11]] = 0.0
    results = []
    for garbage in (0.0, -1e4, math.nan):
        points = clean.points_px.clone()
        points[[4, 11]] = garbage
        target = Target2D(points_px=points, confidence=confidence, K=K)
        results.append(starting_points(target, keypoints, bank, count=2, num_betas=10))
    for other in results[1:]:
        torch.testing.assert_close(vars(other), vars(results[0]))


def test_people_are_put_in_front_of_the_camera(
    body: Body, keypoints: BodyKeypoints, bank: PoseBank
) -> None:
    """Keypoints of a mirror-inverted and shrunken tangle fit nobody, yet nothing may break."""
    px = 300 + 2 * torch.randn(25, 2)
    target = Target2D(points_px=px, confidence=torch.ones(25), K=K)
    found = starting_points(target, keypoints, bank, count=4, num_betas=10)
    assert all(torch.isfinite(value).all() for value in vars(found).values())
    assert (found.log_depth.exp() >= 0.29).all()


def test_neighbours_of_a_start_stand_where_the_keypoints_are(
    body: Body, keypoints: BodyKeypoints, bank: PoseBank
) -> None:
    """The start itself comes first; then it is moved to the keypoints; then others near it."""
    pelvis = torch.tensor([0.3, -0.2, 4.0])
    target, points = seen(keypoints, bank, 7, turn(0.8), pelvis)
    rotvec = torch.zeros(1, 23, 3)
    rotvec[0, :NUM_PRIOR_JOINTS] = bank.body_pose[7]
    root = turn(0.8) @ bank.root_rotmat[7]
    pose = torch.cat([root[None, None], roma.rotvec_to_rotmat(rotvec)], 1)
    start = variables_of(body, torch.zeros(1, 10), pose, torch.tensor([[-0.5, 0.5, 6.0]]))
    found, again = (
        starting_points_around(start, target, keypoints, body, count=6) for _ in range(2)
    )
    assert len(found.betas) == 6 and torch.equal(found.body_pose, again.body_pose)
    torch.testing.assert_close(found.transl(body)[0], torch.tensor([-0.5, 0.5, 6.0]))
    placed, _ = keypoints(found.betas, found.pose_rotmat(), found.transl(body))
    torch.testing.assert_close(placed[1], points, atol=2e-3, rtol=0)
    away = (found.body_pose - found.body_pose[:1]).norm(dim=(1, 2))
    assert float(away[1]) == 0 and bool((away[2:].diff() > 0).all())
    px = project(placed, K.expand(6, 3, 3))
    off = (px - target.points_px).norm(dim=-1).mean(1) / target.extent_px
    assert bool((off[1:] < 0.2).all()), "the neighbours stay with the keypoints"
    only = starting_points_around(start, target, keypoints, body, count=1)
    assert len(only.betas) == 1
