"""Poses of synthetic people: repeatable, natural, mirrored, not inside themselves."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation, Slerp

from meshreg.body.skeleton import SKELETONS
from meshreg.data.motion import Motion
from meshreg.data.motion_files import read_motion
from meshreg.data.synthetic import turns
from meshreg.data.synthetic.collisions import (
    CAPSULES,
    penetration,
    posed_joints,
    segment_distance,
)
from meshreg.data.synthetic.poses import (
    TOLERANCE,
    MotionPoses,
    PoseDraw,
    PoseSource,
    average_rest_joints,
    choice,
    finished,
    mirrored,
)
from meshreg.data.synthetic.prior_poses import PRIOR_PATH, PriorPoses
from meshreg.data.synthetic.standing import standing_pose
from meshreg.data.synthetic.streams import stream
from meshreg.errors import InputError, MissingFileError
from meshreg.losses import priors
from meshreg.losses.priors import load_pose_prior

SMPL = SKELETONS["smpl24"]
FLIP = list(SMPL.flip)
REST = average_rest_joints()
GOLDEN_KNEES = [0.292711, 0.02689, 1.643976]  # of the shipped prior; they change with it


def row(*names: str) -> list[int]:
    """Where joints are in a body pose, which has no pelvis."""
    return [index - 1 for index in SMPL.index(*names)]


def motion_of(poses: np.ndarray, clip: list[int], category: tuple[str, ...]) -> Motion:
    return Motion(
        poses=torch.from_numpy(poses).float(),
        pelvis=torch.zeros(len(poses), 3),
        clip=torch.tensor(clip),
        fps=30.0,
        names=tuple(f"clip {i}" for i in range(len(category))),
        subject=tuple(range(1, len(category) + 1)),
        category=category,
        licence="free",
    )


def walks_and_one_jump() -> Motion:
    """990 frames of subject 1, whose left knee bends by 0.1, and 10 of subject 2: by 0.9."""
    poses = np.zeros((1000, 24, 3))
    knee = SMPL.index("left_knee")[0]
    poses[:990, knee, 0] = 0.1
    poses[990:, knee, 0] = 0.9
    poses[:, 0, 1] = np.linspace(-3, 3, 1000)  # they look all around
    poses[:, row("left_shoulder")[0] + 1, 2] = -1.2
    return motion_of(poses, [0] * 990 + [1] * 10, ("walking", "jumping"))


@pytest.fixture(scope="module")
def prior_poses() -> PriorPoses:
    return PriorPoses()


@pytest.fixture(scope="module")
def draws(prior_poses: PriorPoses) -> list[PoseDraw]:
    return [prior_poses.sample(stream(7, index, "pose")) for index in range(150)]


@pytest.fixture(scope="module")
def mocap() -> Motion:
    path: Path = SHARED / "data" / "cmu_motion_train.npz"
    if not path.is_file():
        pytest.skip("the mocap arrays are not part of a user's checkout")
    return read_motion(path)


# --- drawing ------------------------------------------------------------------------------------


def test_a_sample_depends_on_its_stream_alone(prior_poses: PriorPoses) -> None:
    sources: list[PoseSource] = [prior_poses, MotionPoses(walks_and_one_jump())]
    for source in sources:
        one = source.sample(stream(3, 5, "pose"))
        source.sample(stream(3, 6, "pose"))
        again, other = source.sample(stream(3, 5, "pose")), source.sample(stream(4, 5, "pose"))
        np.testing.assert_array_equal(one.body_pose, again.body_pose)
        np.testing.assert_array_equal(one.root_rotmat, again.root_rotmat)
        assert source is not prior_poses or abs(one.body_pose - other.body_pose).max() > 0.1


def test_numbers_that_other_machines_must_find_too(prior_poses: PriorPoses) -> None:
    found = [prior_poses.sample(stream(0, index, "pose")) for index in range(3)]
    knees = [draw.body_pose[row("left_knee")[0], 0] for draw in found]
    np.testing.assert_allclose(knees, GOLDEN_KNEES, atol=5e-6)
    assert all((draw.body_pose == np.round(draw.body_pose, 6)).all() for draw in found)


def test_poses_are_rotations_without_heading(draws: list[PoseDraw]) -> None:
    root = np.stack([draw.root_rotmat for draw in draws])
    np.testing.assert_allclose(
        root @ root.transpose(0, 2, 1), np.tile(np.eye(3), (150, 1, 1)), atol=1e-5
    )
    assert abs(root[:, 0, 2]).max() < 1e-5
    assert root[:, 2, 2].min() > -1e-5


def test_most_people_are_upright_and_no_two_alike(draws: list[PoseDraw]) -> None:
    joints = np.stack([posed_joints(d.body_pose, REST)[1] @ d.root_rotmat.T for d in draws])
    head, foot = SMPL.index("head", "left_foot")
    assert (joints[:, head, 1] - joints[:, 0, 1] > 0.3).mean() > 0.85
    assert (joints[:, foot, 1] - joints[:, 0, 1] < -0.3).mean() > 0.8
    flat = joints.reshape(150, -1)
    distance = np.linalg.norm(flat[:, None] - flat, axis=-1) + 9 * np.eye(150)
    assert distance.min() > 0.1
    assert np.median(distance) > 1.0


def test_joints_keep_to_the_limits_of_mocap(draws: list[PoseDraw]) -> None:
    prior, _ = load_pose_prior()
    source = PriorPoses(standing=0.0)
    for index in range(60):
        pose = torch.from_numpy(source.sample(stream(1, index, "pose")).body_pose).float()
        assert prior.beyond_limits(pose) < 1e-3
        assert (pose[21:] == 0).all()
    nll = torch.stack([prior(torch.from_numpy(d.body_pose).float()) for d in draws])
    assert nll.median() < 0  # where the prior's own mocap is: -30; a random pose is above 100


def test_priors_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no pose prior at"):
        PriorPoses(tmp_path / "none.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"hello")
    with pytest.raises(InputError, match="is damaged"):
        PriorPoses(tmp_path / "a.safetensors")
    save_file({"means": np.zeros(3)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match=r"lacks bank\.body_pose"):
        PriorPoses(tmp_path / "b.safetensors")


def test_it_is_the_prior_that_the_losses_use() -> None:
    assert PRIOR_PATH == priors.PRIOR_PATH


def test_sides_are_swapped_half_of_the_time() -> None:
    pose = np.zeros((23, 3))
    pose[row("left_knee")[0], 0] = 1.0
    tilt = turns.rotvec_to_rotmat(np.array([0.0, 0.0, 0.3]))
    rng = np.random.default_rng(0)
    swapped = [
        finished(PoseDraw(tilt, pose), rng).body_pose[row("right_knee")[0], 0] for _ in range(400)
    ]
    assert 0.4 < np.mean(swapped) < 0.6


def test_a_mirror_image_is_one(draws: list[PoseDraw]) -> None:
    for draw in draws[:10]:
        image = mirrored(draw)
        ours = posed_joints(draw.body_pose, REST)[1] @ draw.root_rotmat.T
        theirs = posed_joints(image.body_pose, REST)[1] @ image.root_rotmat.T
        np.testing.assert_allclose(theirs, ours[FLIP] * [-1, 1, 1], atol=2e-3)
        twice = mirrored(image)
        np.testing.assert_array_equal(twice.body_pose, draw.body_pose)


def test_weights_decide_how_often() -> None:
    rng = np.random.default_rng(0)
    found = [choice(np.cumsum([1.0, 0.0, 3.0]), rng) for _ in range(1000)]
    assert np.bincount(found, minlength=3)[1] == 0
    assert 0.7 < np.mean(np.array(found) == 2) < 0.8


# --- mocap --------------------------------------------------------------------------------------


def knees_of(source: PoseSource, count: int = 300) -> np.ndarray:
    drawn = [source.sample(stream(0, index, "pose")).body_pose for index in range(count)]
    return np.stack([pose[row("left_knee", "right_knee"), 0].max() for pose in drawn])


def test_categories_are_drawn_evenly_but_short_ones_less() -> None:
    knees = knees_of(MotionPoses(walks_and_one_jump()))
    # 10 frames against the 900 that count at most.
    assert 0 < (knees > 0.5).mean() < 0.05
    poses = np.zeros((4000, 24, 3))
    poses[3000:, SMPL.index("left_knee")[0], 0] = 0.9
    even = motion_of(poses, [0] * 3000 + [1] * 1000, ("walking", "jumping"))
    assert 0.42 < (knees_of(MotionPoses(even)) > 0.5).mean() < 0.58


def test_subjects_are_chosen() -> None:
    motion = walks_and_one_jump()
    assert (knees_of(MotionPoses(motion, subjects=[2]), 20) > 0.5).all()
    assert (knees_of(MotionPoses(motion, excluded=[2]), 200) < 0.5).all()
    with pytest.raises(InputError, match=r"subjects \[1, 2\]"):
        MotionPoses(motion, subjects=[1], excluded=[1])


def test_frames_with_broken_joints_are_left_out() -> None:
    motion = walks_and_one_jump()
    motion.poses[::2, SMPL.index("right_ankle")[0], 0] = 2.0
    drawn = MotionPoses(motion)
    for index in range(50):
        pose = drawn.sample(stream(0, index, "pose")).body_pose
        assert abs(pose[row("left_ankle", "right_ankle")]).max() == 0


def test_real_mocap(mocap: Motion) -> None:
    source = MotionPoses(mocap, excluded=[0, 5, 14, 86])
    drawn = [source.sample(stream(2, index, "pose")) for index in range(100)]
    depth = [penetration(draw.body_pose, REST) for draw in drawn]
    assert np.mean(np.array(depth) > TOLERANCE) < 0.02
    knees = np.stack([draw.body_pose[row("left_knee", "right_knee")] for draw in drawn])
    assert knees[..., 0].min() > -0.2


# --- collisions ---------------------------------------------------------------------------------


def test_samples_hardly_collide(draws: list[PoseDraw]) -> None:
    depth = np.array([penetration(draw.body_pose, REST) for draw in draws])
    assert (depth <= TOLERANCE).mean() > 0.98
    once = [standing_pose(stream(7, index, "pose")) for index in range(150)]
    before = np.array([penetration(draw.body_pose, REST) for draw in once])
    assert 0.02 < (before > TOLERANCE).mean() < 0.4  # there was something to reject


def test_a_t_pose_does_not_collide_and_an_arm_in_the_hips_does() -> None:
    pose = np.zeros((23, 3))
    assert penetration(pose, REST) == 0
    pose[row("left_shoulder")[0]] = [0.0, 0.0, -1.8]
    deep = penetration(pose, REST)
    assert deep > 0.04
    image = mirrored(PoseDraw(np.eye(3), pose))
    assert penetration(image.body_pose, REST) == pytest.approx(deep, abs=2e-3)


def test_crossed_shins_and_a_hand_in_a_thigh_collide() -> None:
    pose = np.zeros((23, 3))
    pose[row("left_hip")[0], 2] = -0.35
    pose[row("right_hip")[0], 2] = 0.35
    assert penetration(pose, REST) > 0.03
    pose = np.zeros((23, 3))
    pose[row("right_hip")[0], 0] = -1.5
    pose[row("right_shoulder")[0]] = [0.0, 0.0, 1.5]
    pose[row("right_elbow")[0]] = [-1.3, 0.0, 0.0]
    assert penetration(pose, REST) > TOLERANCE


def test_capsules_lie_within_reach_of_their_joints() -> None:
    assert len({capsule.name for capsule in CAPSULES}) == len(CAPSULES)
    for capsule in CAPSULES:
        assert math.dist(capsule.start, capsule.end) > 0.03
        assert max(math.hypot(*capsule.start), math.hypot(*capsule.end)) < 0.45


def test_distances_between_segments() -> None:
    a, b, c, d = np.random.default_rng(0).normal(size=(4, 40, 3))
    b[0] = a[0] + (d[0] - c[0])  # parallel

    def gap(share: np.ndarray, i: int) -> float:
        p, q = a[i] + share[0] * (b[i] - a[i]), c[i] + share[1] * (d[i] - c[i])
        return float(((p - q) ** 2).sum())

    expected = [
        min(
            minimize(gap, start, (i,), bounds=[(0, 1), (0, 1)]).fun
            for start in ([0.1, 0.1], [0.9, 0.9])
        )
        for i in range(40)
    ]
    np.testing.assert_allclose(segment_distance(a, b, c, d), np.sqrt(expected), atol=1e-4)


# --- rotations in numpy -------------------------------------------------------------------------


def test_rotations_agree_with_scipy() -> None:
    random = np.random.default_rng(0)
    rotvec = random.normal(size=(50, 3))
    rotvec[0], rotvec[1], rotvec[2] = 0, 1e-9, [1e-5, 0, 0]
    rotation = Rotation.from_rotvec(rotvec)
    np.testing.assert_allclose(turns.rotvec_to_rotmat(rotvec), rotation.as_matrix(), atol=1e-12)
    back = turns.quat_to_rotvec(turns.rotvec_to_quat(rotvec))
    np.testing.assert_allclose(back, rotation.as_rotvec(), atol=1e-12)
    np.testing.assert_allclose(
        turns.quat_to_rotvec(-turns.rotvec_to_quat(rotvec)), back, atol=1e-12
    )


def test_blends_lie_on_the_way() -> None:
    random = np.random.default_rng(1)
    start = random.normal(size=(20, 3))
    end = start + 0.3 * random.normal(size=(20, 3))
    found = turns.rotvec_to_rotmat(turns.blended(start, end, 0.3))
    for i in range(20):
        slerp = Slerp([0, 1], Rotation.from_rotvec([start[i], end[i]]))(0.3).as_matrix()
        np.testing.assert_allclose(found[i], slerp, atol=2e-3)
    np.testing.assert_allclose(turns.blended(start[:1], end[:1], 0.0), start[:1], atol=1e-9)


def test_heading_is_taken_out_and_tilt_stays() -> None:
    tilt = turns.rotvec_to_rotmat(np.array([0.4, 0.0, 0.2]))
    level = turns.without_heading(tilt)
    for angle in (-3.0, 0.5, 2.0):
        turned = turns.turn_about_y(angle) @ tilt
        np.testing.assert_allclose(turns.without_heading(turned), level, atol=1e-12)
    np.testing.assert_allclose(level[1], tilt[1], atol=1e-12)
