"""Chains of rotations against the body layer, and there and back."""

import roma
import torch

from meshreg.body.kinematics import joint_positions, local_rotations, offsets_of, world_rotations
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body

PARENTS = SKELETONS["smpl24"].parents


def test_joints_are_those_of_the_body_layer() -> None:
    body = load_body()
    betas = torch.randn(3, body.num_betas)
    local = roma.random_rotmat((3, 24))
    transl = torch.randn(3, 3)
    _, expected = body.restricted_to(torch.zeros(0, dtype=torch.int64)).skin(betas, local, transl)
    offsets = offsets_of(body.rest_joints(betas), PARENTS)
    offsets[:, 0] += transl
    joints = joint_positions(world_rotations(local, PARENTS), offsets, PARENTS)
    torch.testing.assert_close(joints, expected, atol=2e-6, rtol=0)


def test_rotations_go_there_and_back() -> None:
    local = roma.random_rotmat((2, 5, 24)).double()
    again = local_rotations(world_rotations(local, PARENTS), PARENTS)
    torch.testing.assert_close(again, local, atol=1e-6, rtol=0)


def test_a_chain_bent_by_hand() -> None:
    quarter = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, torch.pi / 2]))
    world = world_rotations(torch.stack([torch.eye(3), quarter, torch.eye(3)]), (-1, 0, 1))
    offsets = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    joints = joint_positions(world, offsets, (-1, 0, 1))
    torch.testing.assert_close(joints[2], torch.tensor([1.0, 1.0, 0.0]), atol=1e-6, rtol=0)
