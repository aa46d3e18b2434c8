"""Where SMPL's 24 joints are in a skeleton of Human3.6M's 17, as a start for fitting.

| SMPL's joints                  | move with                                               |
|--------------------------------|---------------------------------------------------------|
| pelvis, hips, spine1           | the plane of hips, pelvis and spine                     |
| spine3, collars, neck          | the plane of shoulders, thorax and spine                |
| spine2                         | spine1 and spine3, between which it lies                |
| shoulders                      | Human3.6M's shoulders, turned with the chest            |
| head                           | jaw and top of the head                                 |
| knees, ankles, elbows, wrists  | their namesakes                                         |
| feet, hands                    | shin and forearm, as in the unposed body                |

The two sets put joints some centimetres apart. How far is known from one body whose joints of both
sets are at hand, unposed; that offset is carried along with the part that it belongs to.
"""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.inverse_kinematics import SolvedPose, solve_pose
from meshreg.body.kinematics import world_rotations
from meshreg.body.ortho_twists import pose_twists
from meshreg.body.rest_skeleton import JOINT_NAMES, PARENTS, RestSkeleton, unit
from meshreg.body.skeleton import skeleton

H36M = skeleton("h36m17")
SMPL = skeleton("smpl24")
_SIDES = ("left", "right")
_NAMESAKES = tuple(
    f"{side}_{part}" for part in ("knee", "ankle", "elbow", "wrist") for side in _SIDES
)
_CHEST = ("spine3", "neck", "left_collar", "right_collar")
# How much the direction to the shoulders counts for the head, which turns with them but freely.
_HEAD_WITH_CHEST = 0.3
_STRAIGHT = 0.15  # sine of a knee's or elbow's bend below which its plane means nothing
_BENT = 0.5  # sine from which the plane alone tells how the limb is turned


@dataclass(frozen=True, eq=False)
class Correspondence:
    """The joints of both sets on one unposed body."""

    h36m: Float[Tensor, "17 3"]  # metres
    skeleton: RestSkeleton

    def like(self, tensor: Tensor) -> "Correspondence":
        return Correspondence(self.h36m.to(tensor), self.skeleton.like(tensor))


def smpl_joints(joints: Float[Tensor, "T 17 3"], known: Correspondence) -> Float[Tensor, "T 24 3"]:
    """SMPL's joints, right to a few centimetres; feet and hands as if nothing bent there."""
    known = known.like(joints)
    theirs, ours = known.h36m, known.skeleton.template
    found: dict[str, Tensor] = {}

    def carry(names: tuple[str, ...], anchor: str, rotmat: Tensor) -> None:
        """Put joints where they are, unposed, from an anchor of Human3.6M that turns like this."""
        (at,) = H36M.index(anchor)
        for name, place in zip(names, SMPL.index(*names), strict=True):
            found[name] = joints[:, at] + rotmat @ (ours[place] - theirs[at])

    pelvis = _turn_of(joints, theirs, "pelvis", ("left_hip", "right_hip", "spine_h36m"))
    chest = _turn_of(joints, theirs, "thorax", ("left_shoulder", "right_shoulder", "spine_h36m"))
    carry(("pelvis", "left_hip", "right_hip", "spine1"), "pelvis", pelvis)
    carry(_CHEST, "thorax", chest)
    for side in _SIDES:
        carry((f"{side}_shoulder",), f"{side}_shoulder", chest)
    for name in _NAMESAKES:
        (at,) = H36M.index(name)
        found[name] = joints[:, at]
    carry(("head",), "jaw_h36m", _head_turn(joints, theirs, chest))
    spine1, spine2, spine3 = ours[SMPL.index("spine1", "spine2", "spine3")]
    share = (spine2 - spine1).norm() / (spine3 - spine1).norm()
    bulge = spine2 - torch.lerp(spine1, spine3, share)
    found["spine2"] = torch.lerp(found["spine1"], found["spine3"], share) + chest @ bulge
    for side in _SIDES:
        foot, ankle, hand, wrist = SMPL.index(
            *(f"{side}_{p}" for p in ("foot", "ankle", "hand", "wrist"))
        )
        found[f"{side}_foot"] = found[f"{side}_ankle"] + pelvis @ (ours[foot] - ours[ankle])
        forearm = unit(found[f"{side}_wrist"] - found[f"{side}_elbow"])
        found[f"{side}_hand"] = found[f"{side}_wrist"] + (ours[hand] - ours[wrist]).norm() * forearm
    return torch.stack([found[name] for name in JOINT_NAMES], 1)


def first_pose(
    joints: Float[Tensor, "T 17 3"], known: Correspondence, betas: Float[Tensor, "T S"]
) -> SolvedPose:
    """A pose near the joints, in closed form; limbs bend as knees and elbows do.

    Thighs, shins and arms are turned about themselves so that they bend in the plane of their
    joints; straight ones as little as they must, as do all others.
    """
    joints24 = smpl_joints(joints, known)
    plain = solve_pose(known.skeleton, joints24, betas)
    rest = known.skeleton.like(joints).joints(betas)
    joints24 = _with_straight_feet(joints24, plain, rest)
    twists = _hinged(pose_twists(plain.pose_rotmat, rest), joints24)
    return solve_pose(known.skeleton, joints24, betas, twists=twists)


def _turn_of(
    joints: Float[Tensor, "T 17 3"], rest: Float[Tensor, "17 3"], centre: str, ends: tuple[str, ...]
) -> Float[Tensor, "T 3 3"]:
    """How three bones that start at one joint have turned from rest."""
    (at,), places = H36M.index(centre), H36M.index(*ends)
    bones, rest_bones = joints[:, places] - joints[:, at, None], rest[places] - rest[at]
    return roma.special_procrustes(bones.mT @ rest_bones)


def _head_turn(
    joints: Float[Tensor, "T 17 3"], rest: Float[Tensor, "17 3"], chest: Float[Tensor, "T 3 3"]
) -> Float[Tensor, "T 3 3"]:
    thorax, jaw, top = H36M.index("thorax", "jaw_h36m", "head_h36m")
    left = rest.new_tensor([1.0, 0.0, 0.0]) * _HEAD_WITH_CHEST * (rest[top] - rest[jaw]).norm()
    bones = torch.stack(
        [joints[:, jaw] - joints[:, thorax], joints[:, top] - joints[:, jaw], chest @ left], 1
    )
    rest_bones = torch.stack([rest[jaw] - rest[thorax], rest[top] - rest[jaw], left])
    return roma.special_procrustes(bones.mT @ rest_bones)


def _with_straight_feet(
    joints: Float[Tensor, "T 24 3"], solved: SolvedPose, rest: Float[Tensor, "T 24 3"]
) -> Float[Tensor, "T 24 3"]:
    """Feet and hands where unturned ankles and wrists put them."""
    world, moved = world_rotations(solved.pose_rotmat, PARENTS), joints.clone()
    for part, above in (("foot", "ankle"), ("hand", "wrist")):
        for side in _SIDES:
            end, joint = SMPL.index(f"{side}_{part}", f"{side}_{above}")
            offset = (rest[:, end] - rest[:, joint])[..., None]
            moved[:, end] = joints[:, joint] + (world[:, PARENTS[joint]] @ offset)[..., 0]
    return moved


def _hinged(
    twists: Float[Tensor, "T 24 3"], joints: Float[Tensor, "T 24 3"]
) -> Float[Tensor, "T 24 3"]:
    """Twists of bent limbs from the plane of the bend: shins bend backward, forearms forward."""
    hinged = twists.clone()
    for side in _SIDES:
        for names, sign in (
            (("hip", "knee", "ankle"), 1.0),
            (("shoulder", "elbow", "wrist"), -1.0),
        ):
            first, middle, last = SMPL.index(*(f"{side}_{name}" for name in names))
            upper = unit(joints[:, middle] - joints[:, first])
            lower = unit(joints[:, last] - joints[:, middle])
            along = (upper * lower).sum(-1, keepdim=True)
            sine = (1 - along.square()).clamp_min(0).sqrt()
            share = ((sine - _STRAIGHT) / (_BENT - _STRAIGHT)).clamp(0, 1)
            for joint, back in (
                (middle, sign * unit(lower - along * upper)),
                (last, -sign * unit(upper - along * lower)),
            ):
                hinged[:, joint] = torch.lerp(twists[:, joint], back, share)
    return hinged
