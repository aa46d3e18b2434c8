"""Rigid transforms as a group, and Procrustes against an independent implementation."""

import pytest
import roma
import torch
from torch import Tensor

from meshreg.geometry.rigid import compose, invert, procrustes, transform

BATCHES = [(), (5,), (2, 3)]
EYE = torch.eye(4, dtype=torch.float64)


def some_T(*batch: int, angle: float = 2.0) -> Tensor:
    rotvec = angle * torch.randn(*batch, 3, dtype=torch.float64)
    return compose(roma.rotvec_to_rotmat(rotvec), torch.randn(*batch, 3, dtype=torch.float64))


@pytest.mark.parametrize("angle", [2.0, 1e-9, 0.0])
@pytest.mark.parametrize("batch", BATCHES)
def test_rigid_transforms_form_a_group(batch: tuple[int, ...], angle: float) -> None:
    T_a_b, T_b_c, T_c_d = (some_T(*batch, angle=angle) for _ in range(3))
    torch.testing.assert_close(invert(T_a_b) @ T_a_b, EYE.expand(*batch, 4, 4))
    torch.testing.assert_close(T_a_b @ invert(T_a_b), EYE.expand(*batch, 4, 4))
    torch.testing.assert_close(invert(T_a_b @ T_b_c), invert(T_b_c) @ invert(T_a_b))
    torch.testing.assert_close((T_a_b @ T_b_c) @ T_c_d, T_a_b @ (T_b_c @ T_c_d))
    torch.testing.assert_close(invert(T_a_b), torch.linalg.inv(T_a_b))
    points = torch.randn(*batch, 6, 3, dtype=torch.float64)
    torch.testing.assert_close(
        transform(T_a_b @ T_b_c, points), transform(T_a_b, transform(T_b_c, points))
    )
    torch.testing.assert_close(transform(invert(T_a_b), transform(T_a_b, points)), points)


def test_rotation_comes_before_translation() -> None:
    quarter = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, torch.pi / 2]))
    moved = transform(compose(quarter, torch.tensor([1.0, 2.0, 3.0])), torch.eye(3)[:1])
    torch.testing.assert_close(moved, torch.tensor([[1.0, 3.0, 3.0]]))


def test_derivatives() -> None:
    T = some_T(2).requires_grad_()
    points = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transform, (T, points))
    assert torch.autograd.gradcheck(invert, (T,))


@pytest.mark.parametrize("batch", BATCHES)
def test_procrustes_recovers_a_similarity(batch: tuple[int, ...]) -> None:
    source = torch.randn(*batch, 9, 3, dtype=torch.float64)
    scale = 0.2 + torch.rand(*batch, 1, 1, dtype=torch.float64)
    target = scale * transform(some_T(*batch), source)
    torch.testing.assert_close(procrustes(source, target), target)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("count", [3, 4, 17])
def test_procrustes_against_roma(count: int, mirrored: bool) -> None:
    source = torch.randn(40, count, 3, dtype=torch.float64)
    target = 0.5 * transform(some_T(40), source) + 0.1 * torch.randn_like(source)
    if mirrored:
        target = target * torch.tensor([-1.0, 1.0, 1.0])
    R, t, s = roma.rigid_points_registration(source, target, compute_scaling=True)
    expected = s[:, None, None] * source @ R.transpose(-1, -2) + t[:, None]
    torch.testing.assert_close(procrustes(source, target), expected, atol=1e-9, rtol=1e-7)


def test_reflections_are_excluded() -> None:
    source = torch.randn(17, 3, dtype=torch.float64)
    mirrored = source * torch.tensor([-1.0, 1.0, 1.0])
    aligned = procrustes(source, mirrored)
    assert float((aligned - mirrored).norm(dim=-1).mean()) > 0.1
    volume = torch.linalg.det(aligned[1:4] - aligned[0]) / torch.linalg.det(source[1:4] - source[0])
    assert volume > 0, "the sense of rotation must stay"


def test_no_random_similarity_does_better() -> None:
    source, target = torch.randn(2, 12, 3, dtype=torch.float64)
    best = (procrustes(source, target) - target).square().sum()
    for _ in range(200):
        nudge = roma.rotvec_to_rotmat(0.1 * torch.randn(3, dtype=torch.float64))
        aligned = procrustes(source, target)
        centre = aligned.mean(0)
        scale = 1 + 0.1 * torch.randn((), dtype=torch.float64)
        shift = 0.05 * torch.randn(3, dtype=torch.float64)
        other = scale * (aligned - centre) @ nudge.T + centre + shift
        assert (other - target).square().sum() >= best


def test_degenerate_points_stay_finite() -> None:
    line = torch.linspace(0, 1, 9)[:, None] * torch.tensor([[1.0, 2.0, 3.0]])
    same = torch.ones(9, 3)
    anything = torch.randn(9, 3)
    for source, target in [(line, anything), (anything, line), (same, anything), (same, same)]:
        assert torch.isfinite(procrustes(source, target)).all()
    torch.testing.assert_close(procrustes(same, anything), anything.mean(0).expand(9, 3))
    torch.testing.assert_close(procrustes(anything, same), same)
    turned = 3 * line @ roma.rotvec_to_rotmat(torch.tensor([0.3, 0.2, 1.0])).T + 1
    torch.testing.assert_close(procrustes(line, turned), turned, atol=1e-4, rtol=1e-4)
