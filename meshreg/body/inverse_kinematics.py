"""From the positions of 24 joints to the parameters of an SMPL-format body, in closed form.

The analytic solution of PersPose (ICCV 2025): bones give directions, ortho-twists the turn about
them. Nothing is iterated, everything is batched, and gradients reach joints, twists and betas.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.joint_placing import MAX_DRIFT, Placement, place_joints
from meshreg.body.kinematics import local_rotations
from meshreg.body.ortho_twists import LEAVES, rotations_from_bones, rotations_from_swings
from meshreg.body.rest_skeleton import PARENTS, RestSkeleton, check_joints


@dataclass(frozen=True, eq=False)
class SolvedPose:
    """SMPL parameters that put a body onto given joints."""

    pose_rotmat: Float[Tensor, "*batch 24 3 3"]  # the root's in the frame of the joints
    transl: Float[Tensor, "*batch 3"]  # metres, as `Body` wants it
    joints: Float[Tensor, "*batch 24 3"]  # where the joints were placed, metres

    def detach(self) -> "SolvedPose":
        return SolvedPose(
            pose_rotmat=self.pose_rotmat.detach(),
            transl=self.transl.detach(),
            joints=self.joints.detach(),
        )


def solve_pose(
    skeleton: RestSkeleton,
    joints: Float[Tensor, "*batch 24 3"],
    betas: Float[Tensor, "*batch S"],
    *,
    twists: Float[Tensor, "*batch 24 3"] | None = None,
    leaf_rotmat: Float[Tensor, "*batch 5 3 3"] | None = None,
    max_drift: float | None = MAX_DRIFT,
) -> SolvedPose:
    """Pose a body of known shape so that its joints come to lie on the given ones.

    Exact where the joints are those of such a body. `twists` are as in `ortho_twists`, in the
    frame of the joints; without them joints turn as little as they must. `leaf_rotmat` are the
    local rotations of `LEAVES`, else hands, feet and head do not turn. `max_drift`: see
    `place_joints`.

    Raises:
        InputError: if a joint is not finite, or the body has fewer shape columns than `betas`.
    """
    check_joints(joints)
    rest_joints = skeleton.like(joints).joints(betas.to(joints))
    placement = place_joints(rest_joints, joints, max_drift=max_drift)
    world = _bone_rotations(placement, rest_joints, twists)
    leaves = torch.eye(3).to(joints).expand(*joints.shape[:-2], 5, 3, 3)
    if leaf_rotmat is not None:
        leaves = leaf_rotmat.to(joints)
    for place, joint in enumerate(LEAVES):
        above = world[PARENTS[joint]]
        assert above is not None, joint
        world[joint] = above @ leaves[..., place, :, :]
    solved = [rotmat for rotmat in world if rotmat is not None]
    return SolvedPose(
        pose_rotmat=local_rotations(torch.stack(solved, -3), PARENTS),
        transl=placement.joints[..., 0, :] - rest_joints[..., 0, :],
        joints=placement.joints,
    )


def _bone_rotations(
    placement: Placement,
    rest_joints: Float[Tensor, "*batch 24 3"],
    twists: Float[Tensor, "*batch 24 3"] | None,
) -> list[Float[Tensor, "*batch 3 3"] | None]:
    ends = torch.stack([placement.root_rotmat, placement.chest_rotmat], -3)
    if twists is None:
        return rotations_from_swings(placement.joints, rest_joints, ends)
    return rotations_from_bones(placement.joints, rest_joints, twists.to(ends), ends)
