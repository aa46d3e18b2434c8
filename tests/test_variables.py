"""The variables of the fit: where they put the body, and rebasing without moving it."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from meshreg.body.assets import load_body_data
from meshreg.body.smpl import Body
from meshreg.fit.variables import BodyVariables, variables_of


@pytest.fixture(scope="module")
def body() -> Body:
    """The built-in body away from the origin, where its pelvis hides errors of translation."""
    data = load_body_data()
    return Body(replace(data, v_template=data.v_template + np.float32([0.1, -0.3, 0.2])))


@pytest.fixture
def variables() -> BodyVariables:
    return BodyVariables(
        betas=torch.randn(3, 10),
        root_rotmat=roma.random_rotmat(3),
        root_rotvec=0.5 * torch.randn(3, 3),
        body_pose=0.3 * torch.randn(3, 23, 3),
        bearing=0.3 * torch.randn(3, 2),
        log_depth=torch.tensor([0.5, 1.0, 2.0]),
    )


def test_the_pelvis_stands_at_its_bearing_and_depth(body: Body, variables: BodyVariables) -> None:
    transl = variables.transl(body)
    _, joints = body.skin(variables.betas, variables.pose_rotmat(), transl)
    pelvis = joints[:, 0]
    torch.testing.assert_close(pelvis[:, 2], variables.log_depth.exp())
    torch.testing.assert_close(pelvis[:, :2] / pelvis[:, 2:], variables.bearing)


def test_the_turn_comes_after_the_starting_rotation(variables: BodyVariables) -> None:
    pose = variables.pose_rotmat()
    root = torch.linalg.matrix_exp(
        torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]) * 0.7  # about z
    )
    turned = BodyVariables(
        **vars(variables) | {"root_rotvec": torch.tensor([0.0, 0.0, 0.7]).expand(3, 3)}
    )
    torch.testing.assert_close(turned.pose_rotmat()[:, 0], root @ variables.root_rotmat)
    torch.testing.assert_close(
        pose[:, 1:], roma.rotvec_to_rotmat(variables.body_pose), atol=0, rtol=0
    )


def test_rebasing_leaves_the_bodies_where_they_are(body: Body, variables: BodyVariables) -> None:
    rebased = variables.rebased()
    assert not rebased.root_rotvec.any()
    before = body.skin(variables.betas, variables.pose_rotmat(), variables.transl(body))
    after = body.skin(rebased.betas, rebased.pose_rotmat(), rebased.transl(body))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
    again = rebased.rebased()
    torch.testing.assert_close(again.root_rotmat, rebased.root_rotmat)


def test_rebased_and_selected_variables_are_detached(variables: BodyVariables) -> None:
    moving = BodyVariables(**{k: v.clone().requires_grad_() for k, v in vars(variables).items()})
    for result in (moving.rebased(), moving.select(torch.tensor([2, 0]))):
        assert not any(value.requires_grad for value in vars(result).values())
    picked = variables.select(torch.tensor([2, 0]))
    torch.testing.assert_close(picked.body_pose, variables.body_pose[[2, 0]])
    assert picked.log_depth.tolist() == [2.0, 0.5]


def test_gradients_at_rest_are_finite(body: Body) -> None:
    """The turn and the pose start at exactly zero, where a rotation vector has no direction."""
    start = {
        "betas": torch.zeros(1, 10),
        "root_rotmat": torch.eye(3)[None],
        "root_rotvec": torch.zeros(1, 3),
        "body_pose": torch.zeros(1, 23, 3),
        "bearing": torch.zeros(1, 2),
        "log_depth": torch.ones(1),
    }
    variables = BodyVariables(**{k: v.requires_grad_() for k, v in start.items()})
    _, joints = body.skin(variables.betas, variables.pose_rotmat(), variables.transl(body))
    (joints * torch.randn_like(joints)).sum().backward()
    for name, value in vars(variables).items():
        assert torch.isfinite(value.grad).all(), name
    assert variables.root_rotvec.grad.any() and variables.body_pose.grad.any()


def test_variables_of_a_posed_body_pose_it_again(body: Body) -> None:
    betas, transl = torch.randn(3, 10), torch.tensor([[0.1, 0.2, 3.0]]).repeat(3, 1)
    pose = roma.random_rotmat(3 * 24).reshape(3, 24, 3, 3)
    found = variables_of(body, betas, pose, transl)
    torch.testing.assert_close(found.pose_rotmat(), pose, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.transl(body), transl, atol=1e-5, rtol=0)


def test_a_body_behind_the_camera_is_brought_in_front(body: Body) -> None:
    pose = torch.eye(3).expand(1, 24, 3, 3)
    found = variables_of(body, torch.zeros(1, 10), pose, torch.tensor([[0.0, 0.0, -4.0]]))
    assert bool(found.log_depth.isfinite().all()) and bool(found.bearing.isfinite().all())
