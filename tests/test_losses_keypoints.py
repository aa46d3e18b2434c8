"""The robust reprojection loss: its shape near zero, its bound, and what must not leak."""

import math

import pytest
import torch

from meshreg.body.skeleton import SKELETONS
from meshreg.losses.keypoints import joint_spread, robust_reprojection


def loss_at(distance: float, *, sigma: float = 2.0, reach: float = 4.0) -> float:
    """The loss of one joint that is `distance` off, in double precision."""
    points = torch.tensor([[distance * 0.6, distance * 0.8]], dtype=torch.float64)
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    return float(robust_reprojection(points, zero, one, sigma_px=sigma, reach=reach))


def test_small_errors_count_as_half_their_square() -> None:
    assert loss_at(0.0) == 0.0
    assert loss_at(0.02) == pytest.approx(0.5 * 0.01**2, rel=1e-4)


def test_large_errors_saturate() -> None:
    bound = 0.5 * 4.0**2
    assert loss_at(8.0) == pytest.approx(bound / 2), "half the bound at the reach"
    losses = [loss_at(10.0**power) for power in range(9)]
    assert losses == sorted(losses)
    assert losses[-1] < bound and losses[-1] == pytest.approx(bound)


def test_the_sum_over_joints_by_hand() -> None:
    points, target = torch.randn(2, 3, 5, 2, dtype=torch.float64) * 3, torch.zeros(5, 2).double()
    confidence = torch.tensor([0.0, 0.3, 1.0, 0.5, 1.0], dtype=torch.float64)
    sigma = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    found = robust_reprojection(points, target, confidence, sigma_px=sigma, reach=3.0)
    for index in [(0, 0), (1, 2)]:
        expected = 0.0
        for joint, (x, y) in enumerate(points[index].tolist()):
            squared = (x * x + y * y) / float(sigma[joint]) ** 2
            expected += 0.5 * float(confidence[joint]) * squared / (1 + squared / 9)
        assert float(found[index]) == pytest.approx(expected)


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_nothing_leaks_from_joints_that_were_not_seen(garbage: float) -> None:
    confidence = torch.tensor([1.0, 0.0, 0.5])
    points, target = torch.randn(4, 3, 2), torch.randn(3, 2)
    clean = robust_reprojection(points, target, confidence, sigma_px=1.0)
    target[1] = garbage
    dirty = points.clone()
    dirty[:, 1] = garbage
    dirty.requires_grad_()
    found = robust_reprojection(dirty, target, confidence, sigma_px=1.0)
    found.sum().backward()
    torch.testing.assert_close(found, clean)
    assert torch.isfinite(dirty.grad).all() and not dirty.grad[:, 1].any()


def test_derivatives() -> None:
    points = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randn(4, 2, dtype=torch.float64)
    confidence = torch.rand(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda p: robust_reprojection(p, target, confidence, sigma_px=0.7), (points,)
    )
    at_target = target[None].clone().requires_grad_()
    robust_reprojection(at_target, target, confidence, sigma_px=0.7).sum().backward()
    assert not at_target.grad.any(), "the minimum is smooth"


def test_spread_by_name() -> None:
    names = ("nose", "left_eye", "right_hip", "left_wrist", "right_hip_lsp", "mid_hip", "pelvis")
    assert joint_spread(names).tolist() == pytest.approx([0.5, 0.5, 1.5, 1.0, 1.5, 1.5, 1.5])
    for joints in SKELETONS.values():
        spread = joint_spread(joints.joints)
        assert (spread > 0).all()
        assert spread.tolist() == spread[list(joints.flip)].tolist(), joints.name
