"""Error measures by hand and against the reference numbers of lifting code."""

from pathlib import Path
from typing import Any

import pytest
import torch

from meshreg.metrics import mask_iou, mpjpe, pa_mpjpe, root_aligned_mpjpe


@pytest.fixture(scope="module")
def reference(reference_fixtures: Path) -> dict[str, Any]:
    return torch.load(reference_fixtures / "lifters/lifter_pipeline.pt", weights_only=False)


def test_mpjpe_by_hand() -> None:
    target = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    pred = torch.tensor([[3.0, 4.0, 0.0], [1.0, 0.0, 1.0]])
    assert mpjpe(pred, target) == 3.0
    three = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [5.0, 0, 0]])
    other = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [9.0, 0, 0]])
    assert root_aligned_mpjpe(three, other) == pytest.approx((0 + 1 + 4) / 3)
    assert root_aligned_mpjpe(three, other, root=1) == pytest.approx((1 + 0 + 3) / 3)
    assert root_aligned_mpjpe(three, other, root=2) == pytest.approx((4 + 3 + 0) / 3)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_batches_are_measured_one_by_one(batch: tuple[int, ...]) -> None:
    pred, target = torch.randn(2, *batch, 17, 3, dtype=torch.float64)
    for measure in (mpjpe, pa_mpjpe, root_aligned_mpjpe):
        together = measure(pred, target)
        assert together.shape == batch
        pairs = zip(pred.reshape(-1, 17, 3), target.reshape(-1, 17, 3), strict=True)
        alone = torch.stack([measure(p, t) for p, t in pairs])
        torch.testing.assert_close(together.flatten(), alone)


def test_alignment_can_only_help() -> None:
    pred, target = torch.randn(2, 50, 17, 3)
    squared = (pred - target).square().sum()
    assert pa_mpjpe(pred, target).mean() < mpjpe(pred, target).mean() and squared > 0
    shifted = target + torch.randn(50, 1, 3)
    torch.testing.assert_close(
        root_aligned_mpjpe(shifted, target), torch.zeros(50), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(pa_mpjpe(2 * shifted, target), torch.zeros(50), atol=1e-5, rtol=0)


def test_against_the_reference_numbers(reference: dict[str, Any]) -> None:
    pred, target, mirrored = reference["pred"], reference["gt"], reference["mirror"]
    assert float(mpjpe(pred, target).mean()) == pytest.approx(reference["mpjpe"], abs=1e-6)
    assert float(pa_mpjpe(pred, target).mean()) == pytest.approx(reference["p_mpjpe"], abs=1e-6)
    torch.testing.assert_close(
        pa_mpjpe(pred, target).flatten(), reference["p_mpjpe_per_pose"], atol=2e-6, rtol=1e-5
    )
    assert float(pa_mpjpe(mirrored, target).mean()) == pytest.approx(
        reference["p_mpjpe_mirror"], abs=1e-5
    )


def test_the_reference_number_of_the_3dhp_protocol(reference: dict[str, Any]) -> None:
    example = reference["tdhp"]
    pred, target = example["pred_mm"], example["gt_mm"]
    assert float(mpjpe(pred, target).mean()) == pytest.approx(example["mpjpe17"], rel=1e-5)


def test_overlap_of_masks_by_hand() -> None:
    a, b = torch.zeros(2, 4, 4, dtype=torch.bool)
    a[:2], b[1:3] = True, True
    assert mask_iou(a, b) == pytest.approx(1 / 3)
    assert mask_iou(a, a) == 1.0
    assert mask_iou(a, ~a) == 0.0
    empty = torch.zeros_like(a)
    assert mask_iou(empty, empty) == 1.0
    assert mask_iou(a, empty) == 0.0
    stack = mask_iou(torch.stack([a, b, empty]), torch.stack([b, b, empty]))
    torch.testing.assert_close(stack, torch.tensor([1 / 3, 1.0, 1.0]))
