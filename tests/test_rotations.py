"""The six-number form of rotations."""

from pathlib import Path

import pytest
import roma
import torch

from meshreg.geometry.rotations import rot6d_to_rotmat, rotmat_to_rot6d
from tests.released_weights import load


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_a_rotation_comes_back_from_its_six_numbers(batch: tuple[int, ...]) -> None:
    R = roma.random_rotmat(batch).double()
    R = roma.special_gramschmidt(R)
    assert torch.allclose(rot6d_to_rotmat(rotmat_to_rot6d(R)), R, atol=1e-12)


def test_numbers_alternate_between_the_columns() -> None:
    rot6d = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0])  # columns (0, 1, 0) and (1, 0, 0)
    expected = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    assert torch.equal(rot6d_to_rotmat(rot6d), expected)


def test_reference_values(reference_fixtures: Path) -> None:
    case = load(reference_fixtures, "head.pt")["rot6d"]
    R = rot6d_to_rotmat(case["x"])
    error = (R - case["R"]).abs().amax((1, 2))
    assert error[case["regular"]].max() < 2e-6
    assert error[case["degenerate"]].max() < 1e-6
    # A part in a million of the second column is left: the rest is rounding.
    assert error[case["nearly_parallel"]].max() < 0.02


def test_three_rotations_are_like_any_others(reference_fixtures: Path) -> None:
    case = load(reference_fixtures, "head.pt")["rot6d"]["batch3_quirk"]
    R = rot6d_to_rotmat(case["x"])
    assert torch.allclose(R, case["R_called_one_by_one"], atol=1e-6)
    assert not torch.allclose(R, case["R_called_as_batch_of_3"], atol=1e-2)


def test_no_direction_gives_finite_numbers_and_gradients() -> None:
    rot6d = torch.zeros(2, 6, requires_grad=True)
    R = rot6d_to_rotmat(rot6d)
    R.sum().backward()
    assert R.isfinite().all()
    assert rot6d.grad is not None and rot6d.grad.isfinite().all()


def test_gradient() -> None:
    rot6d = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rot6d_to_rotmat, (rot6d,))
