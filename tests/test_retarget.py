"""CMU's skeletons on SMPL's joints: the same limbs, hinges, flat feet, sides, floor and scale."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import roma
import torch
from cmu_skeleton import LEG, SPLAY, asf_name, lively_motion, turn, zero_motion
from smpl_files import one_sentence
from torch import Tensor

from meshreg.body.kinematics import joint_positions, offsets_of, world_rotations
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.bvh import Bvh, read_bvh, save_bvh
from meshreg.data.motion import Motion
from meshreg.data.retarget import (
    FLOOR_TO_FOOT,
    bvh_of_motion,
    rest_corrections,
    retarget,
    roll_about,
)
from meshreg.errors import InputError

SMPL = SKELETONS["smpl24"]
CLIP = Path("05_01_walk.bvh")
# Bones of SMPL and of MotionBuilder's skeleton that are the same limb.
BONES = {
    ("hip", "knee"): ("UpLeg", "Leg"),
    ("knee", "ankle"): ("Leg", "Foot"),
    ("shoulder", "elbow"): ("Arm", "ForeArm"),
    ("elbow", "wrist"): ("ForeArm", "Hand"),
    ("hip", "ankle"): ("UpLeg", "Foot"),
    ("shoulder", "wrist"): ("Arm", "Hand"),
}


@pytest.fixture(scope="module")
def rest() -> Tensor:
    body = load_body()
    return body.rest_joints(torch.zeros(1, body.num_betas))[0].double()


def smpl_joints(motion: Motion, rest: Tensor) -> Tensor:
    world = world_rotations(roma.rotvec_to_rotmat(motion.poses.double()), SMPL.parents)
    offsets = offsets_of(rest, SMPL.parents).repeat(len(world), 1, 1)
    offsets[:, 0] = motion.pelvis
    return joint_positions(world, offsets, SMPL.parents)


def source_joints(bvh: Bvh) -> Tensor:
    world = world_rotations(bvh.local_rotmat, bvh.parents)
    return joint_positions(world, bvh.local_position, bvh.parents)


def bone_angles(motion: Motion, bvh: Bvh, rest: Tensor) -> dict[tuple[str, str], Tensor]:
    """Degrees between each limb of SMPL and of the source, (2, T) for left and right."""
    ours, theirs = smpl_joints(motion, rest), source_joints(bvh)
    angles = {}
    for (a, b), (c, d) in BONES.items():
        pairs = []
        for side in ("left", "right"):
            i, j = SMPL.index(f"{side}_{a}", f"{side}_{b}")
            k, m = (bvh.joints.index(side.capitalize() + name) for name in (c, d))
            x, y = ours[:, j] - ours[:, i], theirs[:, m] - theirs[:, k]
            pairs.append(
                torch.rad2deg(torch.atan2(torch.linalg.cross(x, y).norm(dim=-1), (x * y).sum(-1)))
            )
        angles[a, b] = torch.stack(pairs)
    return angles


def test_limbs_point_where_the_source_points(rest: Tensor) -> None:
    bvh = lively_motion()
    for (a, b), angle in bone_angles(retarget(bvh, CLIP), bvh, rest).items():
        # What remains is how SMPL's own joints lie off the straight line, constant for each bone.
        whole = (a, b) in (("hip", "ankle"), ("shoulder", "wrist"))
        assert whole or angle.std(1).max() < 0.05, (a, b)
        assert angle.min() < 4 or not whole, (a, b)  # the straight limb
        assert angle.max() < 8, (a, b)


def test_without_corrections_the_limbs_would_be_off(rest: Tensor) -> None:
    bvh = lively_motion()
    motion = retarget(bvh, CLIP)
    poses = motion.poses.clone()
    hips = SMPL.index("left_hip", "right_hip")
    poses[:, hips[0]] += torch.tensor([0.0, 0.0, math.radians(10)])
    wrong = bone_angles(replace(motion, poses=poses), bvh, rest)
    assert wrong["hip", "ankle"].max() > 7


def test_knees_stay_hinges_and_bend_backwards(rest: Tensor) -> None:
    bvh = lively_motion()
    motion = retarget(bvh, CLIP)
    knees = motion.poses[:, SMPL.index("left_knee", "right_knee")]
    torch.testing.assert_close(knees[..., 0].min(), torch.tensor(0.1), atol=0.01, rtol=0)
    assert knees[..., 0].max() > 1.4
    assert knees[..., 1:].abs().max() < 0.05  # the splay of SMPL's own legs
    bent = int(knees[:, 0, 0].argmax())
    joints = smpl_joints(motion, rest)[bent]
    knee, ankle = joints[SMPL.index("left_knee", "left_ankle")]
    front = roma.rotvec_to_rotmat(motion.poses[bent, 0].double())[:, 2]
    hip = joints[SMPL.index("left_hip")[0]]
    thigh = (knee - hip) / (knee - hip).norm()
    shin = ankle - knee
    across = shin - (shin @ thigh) * thigh
    assert across @ front < 0 or thigh @ front > 0.5  # the shin folds to the back of the thigh


def test_feet_are_flat_when_the_legs_hang_down(rest: Tensor) -> None:
    bvh = zero_motion(3)
    for side, sign in (("Left", -1.0), ("Right", 1.0)):
        turn(bvh, f"{side}UpLeg", torch.tensor([0.0, 0.0, sign * SPLAY]).repeat(3, 1))
    motion = retarget(bvh, CLIP)
    world = world_rotations(roma.rotvec_to_rotmat(motion.poses), SMPL.parents)
    for side in ("left", "right"):
        sole_up = world[:, SMPL.index(f"{side}_ankle")[0], :, 1]
        assert torch.rad2deg(torch.acos(sole_up[:, 1])).max() < 2.0
    joints = smpl_joints(motion, rest)
    foot = joints[0, SMPL.index("left_foot")[0]]
    assert foot[1] == pytest.approx(FLOOR_TO_FOOT, abs=1e-5)


def test_left_is_left_and_front_is_front(rest: Tensor) -> None:
    bvh = zero_motion(2)
    turn(bvh, "LeftArm", torch.tensor([0.0, 0.0, -1.2]).repeat(2, 1))  # the left arm hangs
    joints = smpl_joints(retarget(bvh, CLIP), rest)[0]
    left, right, left_shoulder = joints[SMPL.index("left_wrist", "right_wrist", "left_shoulder")]
    assert left[1] < left_shoulder[1] - 0.4
    assert right[1] > left_shoulder[1] - 0.05
    foot, ankle = joints[SMPL.index("left_foot", "left_ankle")]
    assert foot[2] > ankle[2] + 0.08


def test_the_forearm_takes_half_of_the_wrists_roll(rest: Tensor) -> None:
    bvh = zero_motion(30)
    roll = torch.linspace(0, 1.7 * math.pi, 30)  # beyond half a turn: must not jump
    turn(bvh, "LeftHand", torch.stack([roll, 0 * roll, 0 * roll], 1))
    turn(bvh, "LeftForeArm", torch.tensor([0.0, -0.5, 0.0]).repeat(30, 1))
    motion = retarget(bvh, CLIP)
    elbow = roma.rotvec_to_rotmat(motion.poses[:, SMPL.index("left_elbow")[0]])
    wrist = roma.rotvec_to_rotmat(motion.poses[:, SMPL.index("left_wrist")[0]])
    step = roma.rotmat_geodesic_distance(elbow[1:], elbow[:-1])
    torch.testing.assert_close(step, torch.full_like(step, float(roll[1]) / 2), atol=1e-3, rtol=0)
    step = roma.rotmat_geodesic_distance(wrist[1:], wrist[:-1])
    torch.testing.assert_close(step, torch.full_like(step, float(roll[1]) / 2), atol=1e-3, rtol=0)
    joints = smpl_joints(motion, rest)
    assert joints[:, SMPL.index("left_wrist")].std(0).max() < 0.02


def test_roll_has_no_jumps() -> None:
    angle = torch.linspace(-4.0, 4.0, 50, dtype=torch.float64)
    axis = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)
    found = roll_about(axis, roma.rotvec_to_rotmat(angle[:, None] * axis))
    torch.testing.assert_close(found, angle, atol=1e-9, rtol=0)


def test_scale_is_that_of_the_legs_and_the_root_keeps_its_path(rest: Tensor) -> None:
    bvh = lively_motion()
    motion = retarget(bvh, CLIP)
    hip, knee, ankle = rest[SMPL.index("left_hip", "left_knee", "left_ankle")]
    scale = ((knee - hip).norm() + (ankle - knee).norm()) / (2 * LEG)
    moved = bvh.local_position[:, 0] - bvh.local_position[0, 0]
    ours = (motion.pelvis - motion.pelvis[0]).double()
    torch.testing.assert_close(ours, scale * moved, atol=1e-5, rtol=0)


def test_names_of_both_families_give_the_same(rest: Tensor) -> None:
    bvh = lively_motion()
    other = replace(bvh, joints=tuple(asf_name(name) for name in bvh.joints))
    torch.testing.assert_close(retarget(other, CLIP).poses, retarget(bvh, CLIP).poses)


def test_an_added_first_frame_in_zero_pose_is_dropped() -> None:
    bvh = lively_motion(12)
    bvh.local_rotmat[0] = torch.eye(3, dtype=torch.float64)
    motion = retarget(bvh, CLIP)
    assert len(motion.poses) == 11
    assert len(retarget(zero_motion(1), CLIP).poses) == 1  # all that there is, is kept


def test_a_skeleton_with_z_up_comes_out_upright() -> None:
    bvh = lively_motion()
    R = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)  # y up to z up
    z_up = replace(
        bvh,
        offsets=bvh.offsets @ R.T,
        local_position=bvh.local_position @ R.T,
        local_rotmat=R @ bvh.local_rotmat @ R.T,
    )
    ours, same = retarget(z_up, CLIP), retarget(bvh, CLIP)
    torch.testing.assert_close(ours.poses, same.poses, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.pelvis, same.pelvis, atol=1e-5, rtol=0)


def test_joints_that_are_missing_are_named() -> None:
    bvh = zero_motion()
    joints = tuple("Bone7" if name == "LeftLeg" else name for name in bvh.joints)
    with pytest.raises(InputError, match=r"MotionBuilder.*lacks the joints LeftLeg\.") as caught:
        retarget(replace(bvh, joints=joints), CLIP)
    assert one_sentence(str(caught.value))


def test_a_flat_skeleton_is_refused() -> None:
    bvh = zero_motion()
    with pytest.raises(InputError, match="without width or height"):
        retarget(replace(bvh, offsets=0 * bvh.offsets), CLIP)


def test_corrections_of_equal_skeletons_are_none(rest: Tensor) -> None:
    identity = torch.eye(3, dtype=torch.float64).repeat(22, 1, 1)
    torch.testing.assert_close(rest_corrections(rest, rest[:22]), identity)


def test_smpl_goes_through_a_file_and_back(tmp_path: Path, rest: Tensor) -> None:
    motion = retarget(lively_motion(), CLIP)
    save_bvh(tmp_path / "05_01.bvh", bvh_of_motion(motion, 0, rest))
    again = retarget(read_bvh(tmp_path / "05_01.bvh"), tmp_path / "05_01.bvh")
    expected = roma.rotvec_to_rotmat(motion.poses)
    torch.testing.assert_close(roma.rotvec_to_rotmat(again.poses), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(again.pelvis, motion.pelvis, atol=1e-4, rtol=0)
    assert again.fps == pytest.approx(motion.fps, rel=1e-6)
    assert (again.subject, motion.category) == ((5,), ("walking",))
