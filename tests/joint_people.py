"""Skeletons in random poses, with everything that inverse kinematics should find again."""

import roma
import torch
from torch import Tensor

from meshreg.body.kinematics import joint_positions, offsets_of, world_rotations
from meshreg.body.ortho_twists import LEAVES, pose_twists
from meshreg.body.rest_skeleton import PARENTS, RestSkeleton


def reference_skeleton(ik: dict) -> RestSkeleton:
    return RestSkeleton(template=ik["rest_joints_mean"], shapedirs=ik["rest_joints_dirs"])


def people(skeleton: RestSkeleton, number: int, *, reach: float = 0.6) -> dict[str, Tensor]:
    """Bodies in random poses, anywhere before the camera, turned in every direction."""
    generator = torch.Generator().manual_seed(number)
    real = {"generator": generator, "dtype": torch.float64}
    betas = torch.randn(number, skeleton.num_betas, **real)
    pose = roma.rotvec_to_rotmat(reach * torch.randn(number, 24, 3, **real))
    pose[:, 0] = roma.rotvec_to_rotmat(3 * torch.randn(number, 3, **real))
    transl = torch.randn(number, 3, **real) + torch.tensor([0.0, 0.0, 4.0])
    rest = skeleton.joints(betas)
    offsets = offsets_of(rest, PARENTS)
    offsets[:, 0] += transl
    return {
        "betas": betas,
        "pose": pose,
        "transl": transl,
        "rest": rest,
        "joints": joint_positions(world_rotations(pose, PARENTS), offsets, PARENTS),
        "twists": pose_twists(pose, rest),
        "leaves": pose[:, list(LEAVES)],
    }
