"""The body layer against joint-by-joint skinning and against smplx."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from reference.lbs import smpl_forward
from torch import Tensor

from meshreg.body.assets import load_body_data
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import LANDMARK_VERTICES, Body, load_body


@pytest.fixture(scope="module")
def body() -> Body:
    """The built-in body away from the origin, where its pelvis hides errors of translation."""
    data = load_body_data()
    return Body(replace(data, v_template=data.v_template + np.float32([0.1, -0.3, 0.2])))


def some_body(body: Body, count: int, angle: float = 0.6) -> tuple[Tensor, Tensor, Tensor]:
    """Random betas, rotation vectors and translations."""
    return (
        torch.randn(count, body.num_betas),
        angle * torch.randn(count, 24, 3),
        torch.randn(count, 3),
    )


def test_against_the_plain_loop(body: Body) -> None:
    betas, rotvec, transl = some_body(body, 1)
    out = body(betas, roma.rotvec_to_rotmat(rotvec), transl)
    data = body.data
    vertices, joints = smpl_forward(
        betas[0].double().numpy(),
        rotvec[0].double().numpy(),
        v_template=data.v_template,
        shapedirs=data.shapedirs[..., : body.num_betas],
        posedirs=data.posedirs,
        J_regressor=data.J_regressor,
        weights=data.weights,
        parents=data.parents,
    )
    move = transl[0].numpy()
    assert np.abs(out.vertices[0].numpy() - vertices - move).max() < 1e-5
    expected = np.concatenate([joints, vertices[list(LANDMARK_VERTICES)]]) + move
    assert np.abs(out.joints[0].numpy() - expected).max() < 1e-5


def test_against_smplx(body: Body) -> None:
    betas, rotvec, transl = some_body(body, 3)
    ours = body(betas, roma.rotvec_to_rotmat(rotvec), transl)
    theirs = body.to_smplx(batch_size=3)(
        betas=betas, global_orient=rotvec[:, 0], body_pose=rotvec[:, 1:].flatten(1), transl=transl
    )
    assert theirs.joints.shape == (3, 45, 3)
    torch.testing.assert_close(ours.vertices, theirs.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.joints, theirs.joints, atol=1e-5, rtol=0)


def test_rest_joints_are_linear_in_the_betas(body: Body) -> None:
    a, b = torch.randn(2, 4, body.num_betas)
    zero = body.rest_joints(torch.zeros_like(a))
    mixed = body.rest_joints(0.3 * a + 0.7 * b)
    torch.testing.assert_close(mixed, 0.3 * body.rest_joints(a) + 0.7 * body.rest_joints(b))
    torch.testing.assert_close(body.rest_joints(2 * a) - zero, 2 * (body.rest_joints(a) - zero))
    still = torch.eye(3).expand(4, 24, 3, 3)
    vertices, joints = body.skin(a, still, torch.zeros(4, 3))
    torch.testing.assert_close(body.rest_joints(a), joints, atol=1e-6, rtol=0)
    torch.testing.assert_close(body.J_regressor @ vertices, joints, atol=1e-5, rtol=0)


def test_a_part_of_the_body_is_that_slice_of_the_whole(body: Body) -> None:
    betas, rotvec, transl = some_body(body, 2)
    index = torch.tensor([5000, 3, 3, 17])
    pose = roma.rotvec_to_rotmat(rotvec)
    vertices, joints = body.skin(betas, pose, transl)
    some, same_joints = body.restricted_to(index).skin(betas, pose, transl)
    torch.testing.assert_close(some, vertices[:, index], atol=1e-6, rtol=0)
    torch.testing.assert_close(same_joints, joints, atol=0, rtol=0)
    none, _ = body.restricted_to(index[:0]).skin(betas, pose, transl)
    assert none.shape == (2, 0, 3)


def test_the_root_turns_about_the_pelvis(body: Body) -> None:
    betas, rotvec, transl = some_body(body, 1)
    rotvec[:, 0] = 0
    straight = body(betas, roma.rotvec_to_rotmat(rotvec), transl)
    rotvec[:, 0] = torch.tensor([0.4, -1.2, 0.3])
    turned = body(betas, roma.rotvec_to_rotmat(rotvec), transl)
    pelvis = body.rest_joints(betas)[:, :1] + transl[:, None]
    torch.testing.assert_close(turned.joints[:, :1], pelvis)
    R = roma.rotvec_to_rotmat(rotvec[0, 0])
    expected = (straight.vertices - pelvis) @ R.T + pelvis
    torch.testing.assert_close(turned.vertices, expected, atol=1e-5, rtol=0)


def test_a_bent_knee_moves_only_the_leg_below(body: Body) -> None:
    smpl = SKELETONS["smpl24"]
    rotvec = torch.zeros(1, 24, 3)
    zeros = torch.zeros(1, body.num_betas), torch.zeros(1, 3)
    rest = body(zeros[0], roma.rotvec_to_rotmat(rotvec), zeros[1]).joints[0]
    rotvec[:, smpl.index("left_knee")] = torch.tensor([1.5, 0.0, 0.0])
    bent = body(zeros[0], roma.rotvec_to_rotmat(rotvec), zeros[1]).joints[0]
    moved = (bent - rest)[:24].norm(dim=-1) > 1e-4
    assert set(torch.nonzero(moved)[:, 0].tolist()) == set(smpl.index("left_ankle", "left_foot"))
    assert bent[smpl.index("left_ankle")[0], 2] < rest[smpl.index("left_ankle")[0], 2] - 0.1


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_gradients_are_finite(body: Body, angle: float) -> None:
    inputs = [x.requires_grad_() for x in some_body(body, 2, angle)]
    out = body(inputs[0], roma.rotvec_to_rotmat(inputs[1]), inputs[2])
    (out.vertices.square().mean() + out.joints.square().mean()).backward()
    for tensor in inputs:
        assert torch.isfinite(tensor.grad).all() and tensor.grad.abs().max() > 0


def test_derivatives_in_double_precision() -> None:
    body = load_body(num_betas=3).double()
    part = body.restricted_to(torch.tensor([100, 4000]))
    betas, rotvec, transl = (x.double().requires_grad_() for x in some_body(body, 1))

    def posed(*args: Tensor) -> tuple[Tensor, Tensor]:
        return part.skin(args[0], roma.rotvec_to_rotmat(args[1]), args[2])

    assert torch.autograd.gradcheck(posed, (betas, rotvec, transl), atol=1e-5, fast_mode=True)


def test_double_precision_agrees_with_single(body: Body) -> None:
    betas, rotvec, transl = some_body(body, 1)
    pose = roma.rotvec_to_rotmat(rotvec)
    single = body(betas, pose, transl)
    double = Body(body.data).double()(betas.double(), pose.double(), transl.double())
    assert double.vertices.dtype == double.joints.dtype == torch.float64
    torch.testing.assert_close(single.vertices.double(), double.vertices, atol=1e-5, rtol=0)


def test_nothing_is_trained_and_nothing_lands_in_checkpoints(body: Body) -> None:
    assert not list(body.parameters())
    assert not body.state_dict()
    assert load_body(num_betas=4).num_betas == 4
    assert load_body(num_betas=10_000).num_betas == body.data.shapedirs.shape[-1]
