"""Losses on keypoints, parameters and distance maps: by hand, and nothing absent leaks."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from meshreg.data.images import distance_outside
from meshreg.losses.averages import weighted_mean
from meshreg.losses.distance import distance_from_mask, distance_maps
from meshreg.losses.keypoints import from_middle, joints_from_root, mean_size, reprojection
from meshreg.losses.parameters import pose_error, scale_prior, shape_error, vertex_error

SCALE = torch.tensor([50.0, 80.0, 20.0])
LOSSES: dict[str, tuple[Callable, tuple[int, ...], tuple[int, ...]]] = {
    "points": (partial(reprojection, scale_px=SCALE), (3, 5, 2), (3, 5)),
    "points squared": (partial(reprojection, scale_px=SCALE, norm="squared"), (3, 5, 2), (3, 5)),
    "joints": (partial(joints_from_root, root=(1, 2)), (3, 5, 3), (3, 5)),
    "joints squared": (partial(joints_from_root, norm="squared"), (3, 5, 3), (3, 5)),
    "annotated": (lambda *known: mean_size(*from_middle(*known), "squared"), (3, 5, 3), (3, 5)),
    "pose": (pose_error, (3, 5, 3, 3), (3, 5)),
    "betas": (shape_error, (3, 10), (3,)),
    "vertices": (vertex_error, (3, 7, 3), (3,)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e30])
def test_nothing_leaks_from_what_is_absent(name: str, garbage: float) -> None:
    loss, shape, known = LOSSES[name]
    pred, target, weight = torch.randn(shape), torch.randn(shape), torch.rand(known) + 0.1
    place = (1,) if len(known) == 1 else (1, 3)  # a sample, or one of its joints
    weight[place] = 0.0
    clean = loss(pred, target, weight)
    target[place] = garbage
    dirty = pred.clone()
    dirty[place] = garbage
    dirty.requires_grad_()
    found = loss(dirty, target, weight)
    found.backward()
    torch.testing.assert_close(found, clean)
    assert torch.isfinite(dirty.grad).all() and not dirty.grad[place].any()
    assert dirty.grad[0].any() and dirty.grad[2].any()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_known_is_zero_without_gradient(name: str) -> None:
    loss, shape, known = LOSSES[name]
    pred = torch.randn(shape, requires_grad=True)
    found = loss(pred, torch.full(shape, math.nan), torch.zeros(known))
    found.backward()
    assert found.item() == 0.0 and not pred.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_unknown_samples_do_not_dilute(name: str) -> None:
    loss, shape, known = LOSSES[name]
    pred, target, weight = torch.randn(shape), torch.randn(shape), torch.ones(known)
    weight[2] = 0.0
    padded = loss(pred, target, weight)
    options = {"scale_px": SCALE[:2]} if name.startswith("points") else {}
    torch.testing.assert_close(padded, loss(pred[:2], target[:2], weight[:2], **options))


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives(name: str) -> None:
    loss, shape, known = LOSSES[name]
    pred = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    target, weight = torch.randn(shape).double(), torch.rand(known).double()
    weight.view(-1)[-1] = 0.0
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight), (pred,))


def test_weighted_mean_by_hand() -> None:
    error, weight = torch.tensor([1.0, 2.0, math.nan]), torch.tensor([1.0, 3.0, 0.0])
    assert weighted_mean(error, weight).item() == pytest.approx(7 / 4)


def test_keypoints_by_hand() -> None:
    points, target = (
        torch.zeros(2, 2, 2),
        torch.tensor([[[3.0, 4.0], [0.0, 8.0]]]).expand(2, -1, -1),
    )
    weight, scale = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.tensor([10.0, 20.0])
    found = reprojection(points, target, weight, scale_px=scale)
    assert found.item() == pytest.approx((0.7 + 0.35 + 2 * 0.4) / 4)
    found = reprojection(points, target, weight, scale_px=10.0, norm="squared")
    assert found.item() == pytest.approx((0.25 + 0.25 + 2 * 0.64) / 4)


def test_points_from_their_middle_by_hand() -> None:
    target = torch.zeros(1, 4, 3)
    points = torch.tensor([[[1.0, 0, 0], [5, 2, 0], [7, 0, 0], [math.nan, 0, 0]]])
    weight = torch.tensor([[1.0, 1.0, 2.0, 0.0]])  # the middle of the differences is (5, 0.5, 0)
    difference, _ = from_middle(points, target, weight)
    expected = torch.tensor([[[-4.0, -0.5, 0], [0, 1.5, 0], [2, -0.5, 0], [0, 0, 0]]])
    torch.testing.assert_close(difference, expected)
    found = mean_size(difference, weight, "absolute")
    assert found.item() == pytest.approx((4.5 + 1.5 + 2 * 2.5) / 4)
    moved, _ = from_middle(points + 7, target - 2, weight)
    torch.testing.assert_close(moved, difference)


def test_joints_do_not_see_where_the_body_stands() -> None:
    joints, target, weight = torch.randn(2, 6, 3), torch.randn(2, 6, 3), torch.rand(2, 6)
    far = joints + torch.tensor([3.0, -2.0, 9.0])
    for root in [(0,), (1, 2)]:
        torch.testing.assert_close(
            joints_from_root(far, target, weight, root=root),
            joints_from_root(joints, target, weight, root=root),
        )
    rootless = weight.clone()
    rootless[0, 2] = 0.0
    alone = joints_from_root(joints[1:], target[1:], weight[1:], root=(1, 2))
    torch.testing.assert_close(joints_from_root(joints, target, rootless, root=(1, 2)), alone)


def test_pose_error_is_the_angle() -> None:
    angle = 0.7
    turned = torch.eye(3).repeat(1, 2, 1, 1)
    turned[0, 0, :2, :2] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    found = pose_error(turned, torch.eye(3).expand(1, 2, 3, 3), torch.ones(1, 2))
    assert found.item() == pytest.approx(8 * math.sin(angle / 2) ** 2 / 2, rel=1e-5)


def test_the_scale_stays_positive() -> None:
    assert scale_prior(torch.tensor([0.0, 0.9])).item() == pytest.approx(0.5)
    assert scale_prior(torch.tensor([-0.1])).item() == pytest.approx(math.exp(2))


# --- distance maps ------------------------------------------------------------------------------


def test_distance_maps_are_exact() -> None:
    mask = torch.rand(4, 37, 52) > 0.997
    mask[1] = False
    mask[2] = True
    mask[3] = False
    mask[3, 36, 0] = True
    found = distance_maps(mask)
    for one, expected in zip(found, mask.numpy(), strict=True):
        np.testing.assert_allclose(one.numpy(), distance_outside(expected), atol=1e-4)


def test_every_body_is_pulled_to_its_own_mask() -> None:
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, 10:20, 5:15] = True
    masks[1, 25:35, 40:50] = True
    points = torch.tensor([[30.0, 20.0], [9.0, 12.0]]).repeat(2, 1, 1).requires_grad_()
    maps, scale = distance_maps(masks), torch.tensor([10.0, 5.0])
    loss = distance_from_mask(points, maps, scale_px=scale)
    loss.sum().backward()
    assert points.grad[0, 0, 0] > 0 > points.grad[1, 0, 0], "to the left, and to the right"
    assert not points.grad[0, 1].any(), "on the mask"
    for body in range(2):
        alone = distance_from_mask(
            points[body, None], maps[body, None], scale_px=scale[body].item()
        )
        torch.testing.assert_close(alone[0], loss[body])
