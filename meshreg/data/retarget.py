"""Motion of CMU's skeletons as motion of SMPL's: joints by name, corrected for the rest poses.

A joint of SMPL follows one of the source: its world rotation is the source's turn away from its
zero pose, after a constant turn of SMPL's limb into the direction that the limb has in that pose.
There is one such constant per limb, so that knees and elbows stay hinges.
"""

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.kinematics import joint_positions, local_rotations, offsets_of, world_rotations
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.bvh import Bvh
from meshreg.data.motion import Motion
from meshreg.data.motion_checks import one_clip
from meshreg.errors import InputError

SMPL = SKELETONS["smpl24"]
LICENCE = "as of the BVH file, which cannot tell"
FLOOR_TO_FOOT = 0.02  # metres from the floor to the lowest foot joint of someone who stands
_REST_TOLERANCE = math.radians(2)
_TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")
_PARTS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
_LIMBS = (("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist"))


@dataclass(frozen=True)
class Naming:
    """Which joint of a family of skeletons drives which of SMPL's."""

    name: str
    drivers: tuple[str, ...]  # one per joint of SMPL up to the wrists
    wrists: tuple[str, str]  # joints at the ends of the left and right forearm, with its roll


def _naming(name: str, trunk: str, limbs: str, wrist: str, sides: tuple[str, str]) -> Naming:
    """Names in SMPL's words: trunk from pelvis to head; limbs from hip to foot, collar to wrist."""
    drivers = dict(zip(_TRUNK, trunk.split(), strict=True))
    for ours, theirs in zip(("left", "right"), sides, strict=True):
        for part, joint in zip(_PARTS, limbs.split(), strict=True):
            drivers[f"{ours}_{part}"] = f"{theirs}{joint}"
    ordered = tuple(drivers[joint] for joint in SMPL.joints[: len(drivers)])
    return Naming(name, ordered, (sides[0] + wrist, sides[1] + wrist))


NAMINGS = (
    _naming(
        "MotionBuilder",
        "Hips LowerBack Spine Spine1 Neck Head",
        "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm FingerBase",
        "Hand",
        ("Left", "Right"),
    ),
    _naming(
        "ASF",
        "root lowerback upperback thorax lowerneck head",
        "femur tibia foot toes clavicle humerus radius hand",
        "wrist",
        ("l", "r"),
    ),
    _naming(
        "SMPL",
        "pelvis spine1 spine2 spine3 neck head",
        "hip knee ankle foot collar shoulder elbow wrist",
        "wrist",
        ("left_", "right_"),
    ),
)


@cache
def _builtin_rest_joints() -> Tensor:
    body = load_body()
    return body.rest_joints(torch.zeros(1, body.num_betas))[0].double()


def retarget(
    bvh: Bvh,
    path: str | Path,
    *,
    rest_joints: Float[Tensor, "24 3"] | None = None,
    flat_ground: bool = True,
) -> Motion:
    """The motion of a BVH skeleton on SMPL's joints; y up, metres.

    Lengths are scaled by the legs, to those of `rest_joints` (the built-in body's average). With
    `flat_ground` the clip is shifted so that its feet stand on y = 0. A first frame that is the
    zero pose, which converters add, is dropped. `path` names the clip.

    Raises:
        InputError: if joints that are needed are not there, or the skeleton has no legs.
    """
    path = Path(path)
    naming = find_naming(bvh, path)
    rest = _builtin_rest_joints() if rest_joints is None else rest_joints.double()
    if naming.name != "SMPL":  # there the zero pose is a pose like any other
        bvh = without_zero_frame(bvh)
    index = [bvh.joints.index(name) for name in naming.drivers]
    wrists = [bvh.joints.index(name) for name in naming.wrists]
    zero = _zero_positions(bvh)
    R_smpl_source = _upright(zero[index], path)

    # --- rotations: driven by the source, from where SMPL's limbs rest ----------------------------
    world = world_rotations(bvh.local_rotmat, bvh.parents)
    driven = world[:, index]
    elbows = SMPL.index("left_elbow", "right_elbow")
    for elbow, wrist in zip(elbows, wrists, strict=True):
        axis = torch.nn.functional.normalize(zero[wrist] - zero[index[elbow]], dim=0)
        roll = roll_about(axis, world[:, index[elbow]].transpose(-1, -2) @ world[:, wrist])
        if naming.name != "SMPL":
            driven[:, elbow] = driven[:, elbow] @ roma.rotvec_to_rotmat(roll[:, None] / 2 * axis)
    driven = R_smpl_source @ driven @ R_smpl_source.T
    limbs_zero = zero[index] @ R_smpl_source.T
    limbs_zero[SMPL.index("left_wrist", "right_wrist")] = zero[wrists] @ R_smpl_source.T
    driven = driven @ rest_corrections(rest, limbs_zero)
    smpl_world = torch.cat([driven, driven[:, SMPL.index("left_wrist", "right_wrist")]], 1)
    poses = roma.rotmat_to_rotvec(local_rotations(smpl_world, SMPL.parents))

    # --- positions: scaled by the legs, put on the floor ------------------------------------------
    scale = _leg_length(rest) / _leg_length(limbs_zero)
    root = joint_positions(world, bvh.local_position, bvh.parents)[:, index[0]]
    pelvis = scale * root @ R_smpl_source.T
    if flat_ground:
        pelvis[:, 1] += floor_shift(smpl_world, pelvis, rest)
    return one_clip(poses.numpy(), pelvis.numpy(), bvh.fps, path, licence=LICENCE)


def find_naming(bvh: Bvh, path: Path) -> Naming:
    """The family whose names the skeleton uses.

    Raises:
        InputError: if none fits; it names the joints that the nearest family misses.
    """
    missing = [
        (sorted({*naming.drivers, *naming.wrists} - set(bvh.joints)), naming) for naming in NAMINGS
    ]
    lacking, naming = min(missing, key=lambda pair: len(pair[0]))
    if lacking:
        raise InputError(
            f"{path} is not a skeleton that is known: as a {naming.name} skeleton of CMU it lacks "
            f"the joints {', '.join(lacking)}."
        )
    return naming


def without_zero_frame(bvh: Bvh) -> Bvh:
    """The same motion without a first frame in which nothing is turned."""
    turn = roma.rotmat_to_rotvec(bvh.local_rotmat[0]).norm(dim=-1)
    if len(bvh.local_rotmat) == 1 or turn.max() > _REST_TOLERANCE:
        return bvh
    return Bvh(
        joints=bvh.joints,
        parents=bvh.parents,
        offsets=bvh.offsets,
        local_rotmat=bvh.local_rotmat[1:],
        local_position=bvh.local_position[1:],
        frame_time=bvh.frame_time,
    )


def _zero_positions(bvh: Bvh) -> Float[Tensor, "J 3"]:
    identity = torch.eye(3, dtype=torch.float64).expand(len(bvh.joints), 3, 3)
    return joint_positions(identity, bvh.offsets, bvh.parents)


def _upright(zero: Float[Tensor, "22 3"], path: Path) -> Float[Tensor, "3 3"]:
    """The turn by quarters that brings the zero pose to y up and left = +x."""
    left_hip, right_hip, neck = SMPL.index("left_hip", "right_hip", "neck")
    hips = (zero[left_hip] + zero[right_hip]) / 2
    left, up = zero[left_hip] - zero[right_hip], zero[neck] - hips
    if left.norm() < 1e-6 * (1 + up.norm()) or up.norm() == 0:
        raise InputError(f"{path} has a skeleton without width or height: export it again.")
    rows = [_nearest_axis(left), _nearest_axis(up)]
    if rows[0] @ rows[1] != 0:
        raise InputError(f"{path} has a skeleton whose zero pose is not upright: export it again.")
    return torch.stack([*rows, torch.linalg.cross(*rows)])


def _nearest_axis(direction: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    axis = torch.zeros_like(direction)
    largest = int(direction.abs().argmax())
    axis[largest] = direction[largest].sign()
    return axis


def rest_corrections(
    rest: Float[Tensor, "24 3"], zero: Float[Tensor, "22 3"]
) -> Float[Tensor, "22 3 3"]:
    """For each joint the constant turn of SMPL's rest pose into the source's zero pose.

    Legs turn about z only, by the difference of how far they are splayed, so that feet stay flat;
    arms by the smallest turn. Trunk, head and collars do not.
    """
    K = torch.eye(3, dtype=rest.dtype).repeat(len(zero), 1, 1)
    for side in ("left", "right"):
        hip, ankle, shoulder, wrist = SMPL.index(
            *(f"{side}_{part}" for part in ("hip", "ankle", "shoulder", "wrist"))
        )
        ours, theirs = rest[ankle] - rest[hip], zero[ankle] - zero[hip]
        roll = torch.zeros_like(ours)
        roll[2] = torch.atan2(theirs[1], theirs[0]) - torch.atan2(ours[1], ours[0])
        arm = _smallest_turn(rest[wrist] - rest[shoulder], zero[wrist] - zero[shoulder])
        for limb, turn in zip(_LIMBS, (roll, arm), strict=True):
            K[SMPL.index(*(f"{side}_{part}" for part in limb))] = roma.rotvec_to_rotmat(turn)
    return K


def _smallest_turn(start: Float[Tensor, "3"], end: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """Rotation vector that brings one direction to another."""
    across = torch.linalg.cross(start, end)
    angle = torch.atan2(across.norm(), start @ end)
    return angle * across / across.norm().clamp_min(1e-12)


def roll_about(axis: Float[Tensor, "3"], rotmat: Float[Tensor, "T 3 3"]) -> Float[Tensor, " T"]:
    """How far rotations turn about an axis, radians, without jumps in time."""
    quat = roma.rotmat_to_unitquat(rotmat)  # x, y, z, w
    roll = np.unwrap(2 * torch.atan2(quat[:, :3] @ axis, quat[:, 3]).numpy())
    return torch.from_numpy(roll - 2 * np.pi * np.round(np.median(roll) / (2 * np.pi)))


def _leg_length(joints: Float[Tensor, "J 3"]) -> Tensor:
    hip, knee, ankle = joints[SMPL.index("left_hip", "left_knee", "left_ankle")]
    return (knee - hip).norm() + (ankle - knee).norm()


def floor_shift(
    world_rotmat: Float[Tensor, "T 24 3 3"],
    pelvis: Float[Tensor, "T 3"],
    rest: Float[Tensor, "24 3"],
) -> float:
    """By how much to raise a clip for its lowest foot to stand on y = 0, outliers aside."""
    offsets = offsets_of(rest, SMPL.parents).repeat(len(pelvis), 1, 1)
    offsets[:, 0] = pelvis
    joints = joint_positions(world_rotmat, offsets, SMPL.parents)
    feet = SMPL.index("left_ankle", "right_ankle", "left_foot", "right_foot")
    lowest = joints[:, feet, 1].amin(-1).numpy()
    return FLOOR_TO_FOOT - float(np.percentile(lowest, 2))


def bvh_of_motion(motion: Motion, clip: int, rest_joints: Float[Tensor, "24 3"]) -> Bvh:
    """One clip as a BVH skeleton with SMPL's names, in the rest pose of `rest_joints`."""
    span = motion.frames_of(clip)
    offsets = offsets_of(rest_joints.double(), SMPL.parents)
    position = offsets.repeat(span.stop - span.start, 1, 1)
    position[:, 0] = motion.pelvis[span].double()
    return Bvh(
        joints=SMPL.joints,
        parents=SMPL.parents,
        offsets=offsets,
        local_rotmat=roma.rotvec_to_rotmat(motion.poses[span].double()),
        local_position=position,
        frame_time=1 / motion.fps,
    )
