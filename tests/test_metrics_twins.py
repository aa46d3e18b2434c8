"""Every measure against its plain numpy twin, in batches and in both precisions."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import metrics as twin
from torch import Tensor

from meshreg import metrics


def poses(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Poses of human size, metres, and predictions that are off by some centimetres."""
    generator = torch.Generator().manual_seed(seed)
    target = 0.4 * torch.randn(*shape, 3, dtype=torch.float64, generator=generator)
    noise = 0.1 * torch.randn(target.shape, dtype=torch.float64, generator=generator)
    return target + noise, target


PAIRS: list[tuple[Callable[..., Tensor], Callable[..., float]]] = [
    (metrics.mpjpe, twin.mpjpe),
    (metrics.pa_mpjpe, twin.pa_mpjpe),
    (metrics.n_mpjpe, twin.n_mpjpe),
    (metrics.pck, lambda p, t: twin.pck(p, t, 0.15)),
    (metrics.auc, twin.auc),
    (metrics.v2v, twin.mpjpe),
    (metrics.root_aligned_mpjpe, lambda p, t: twin.root_aligned(p, t, [0])),
    (
        lambda p, t: metrics.root_aligned_mpjpe(p, t, (2, 3)),
        lambda p, t: twin.root_aligned(p, t, [2, 3]),
    ),
]


@pytest.mark.parametrize("batch", [(), (7,), (2, 3)])
@pytest.mark.parametrize(("measure", "reference"), PAIRS)
def test_joint_measures(
    measure: Callable[..., Tensor], reference: Callable[..., float], batch: tuple[int, ...]
) -> None:
    pred, target = poses(*batch, 14)
    found = measure(pred, target)
    assert found.shape == batch
    pairs = zip(pred.reshape(-1, 14, 3).numpy(), target.reshape(-1, 14, 3).numpy(), strict=True)
    expected = [reference(p, t) for p, t in pairs]
    np.testing.assert_allclose(found.reshape(-1).numpy(), expected, atol=1e-9)
    single = measure(pred.float(), target.float())
    if measure not in (metrics.pck, metrics.auc):  # these jump
        np.testing.assert_allclose(single.reshape(-1).numpy(), expected, atol=1e-6)


def test_mirrored_poses_are_not_aligned_away() -> None:
    _, target = poses(6, 17, seed=3)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    found = metrics.pa_mpjpe(mirrored, target)
    for one, p, t in zip(found, mirrored.numpy(), target.numpy(), strict=True):
        assert twin.pa_mpjpe_with_mirrors(p, t) < 1e-9
        assert float(one) == pytest.approx(twin.pa_mpjpe(p, t), abs=1e-9)
        assert float(one) > 0.05


def test_alignment_is_exact_far_from_the_origin_in_single_precision() -> None:
    _, target = poses(4, 24, seed=1)
    far = (target + torch.tensor([0.3, -0.2, 50.0])).float()
    assert float(metrics.pa_mpjpe(far, target.float()).max()) < 1e-5


def test_flat_and_collapsed_poses_stay_finite() -> None:
    pred, target = poses(3, 10)
    flat = target * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert metrics.pa_mpjpe(flat, target).isfinite().all()
    point = torch.zeros_like(pred)
    assert metrics.pa_mpjpe(point, target).isfinite().all()
    torch.testing.assert_close(metrics.n_mpjpe(point, target), target.norm(dim=-1).mean(-1))


def test_scaling_and_its_limits() -> None:
    _, target = poses(5, 17)
    torch.testing.assert_close(
        metrics.n_mpjpe(0.3 * target, target), torch.zeros(5, dtype=torch.float64)
    )
    assert float(metrics.n_mpjpe(target + 1, target).min()) > 0.1  # a shift is not forgiven
    assert float(metrics.auc(target, target).max()) == pytest.approx(30 / 31)
    assert float(metrics.pck(target, target).min()) == 1.0


def test_a_joint_at_the_very_distance_is_not_found() -> None:
    target = torch.zeros(2, 3)
    pred = torch.tensor([[0.5, 0.0, 0.0], [0.25, 0.0, 0.0]])
    assert metrics.pck(pred, target, 0.5) == 0.5


def test_vertices_are_aligned_at_their_roots() -> None:
    pred, target = poses(4, 100)
    roots, others = poses(4, 2, seed=5)
    found = metrics.pve(pred, target, roots, others)
    for index in range(4):
        p, t = (pred[index] - roots[index].mean(0)), (target[index] - others[index].mean(0))
        assert float(found[index]) == pytest.approx(twin.mpjpe(p.numpy(), t.numpy()), abs=1e-12)
    shift = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(metrics.pve(pred + shift, target, roots + shift, others), found)
    assert float(metrics.v2v(pred + shift, pred).mean()) == pytest.approx(14**0.5)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_measures_of_motion(batch: tuple[int, ...]) -> None:
    pred, target = poses(*batch, 9, 14)
    pairs = [
        (metrics.mpjve, twin.velocity_error, 30.0),
        (metrics.acceleration_error, twin.acceleration_error, 900.0),
    ]
    for measure, reference, per_second in pairs:
        found = measure(pred, target)
        sequences = zip(
            pred.reshape(-1, 9, 14, 3).numpy(), target.reshape(-1, 9, 14, 3).numpy(), strict=True
        )
        expected = [reference(p, t) for p, t in sequences]
        np.testing.assert_allclose(found.reshape(-1).numpy(), expected, atol=1e-12)
        torch.testing.assert_close(measure(pred, target, fps=30.0), per_second * found)
    drift = torch.arange(9.0, dtype=torch.float64)[:, None, None].expand(9, 14, 3)
    assert float(metrics.acceleration_error(target + drift, target).max()) < 1e-12
    with pytest.raises(AssertionError, match="2 frames"):
        metrics.acceleration_error(pred[..., :2, :, :], target[..., :2, :, :])


def test_overlap_per_class() -> None:
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.randint(0, 4, (2, 3, 8, 9), generator=generator)
    known = torch.rand(3, 8, 9, generator=generator) > 0.3
    found = metrics.class_iou(pred, target, [0, 3, 7], known)
    assert found.shape == (3, 3)
    for image in range(3):
        for place, label in enumerate([0, 3, 7]):
            arrays = pred[image].numpy(), target[image].numpy(), label, known[image].numpy()
            expected = twin.class_iou(*arrays)
            assert float(found[image, place]) == pytest.approx(expected, nan_ok=True)
    assert found[:, 2].isnan().all()


def test_intervals_of_a_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(2)) + 5
    found = metrics.bootstrap_interval(values)
    assert found.mean == pytest.approx(float(values.mean()), abs=1e-6)
    half = 1.96 * float(values.std()) / 20
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)
    assert metrics.bootstrap_interval(values) == found
    assert metrics.bootstrap_interval(values, seed=1) != found
    narrow = metrics.bootstrap_interval(values, level=0.5)
    assert narrow.high - narrow.low < 0.5 * (found.high - found.low)


def test_intervals_count_sequences_not_frames() -> None:
    """Ten sequences of 100 equal frames are ten observations."""
    sequence = torch.arange(10).repeat_interleave(100)
    values = torch.randn(10, generator=torch.Generator().manual_seed(0))[sequence]
    frames, groups = (metrics.bootstrap_interval(values, g) for g in (None, sequence))
    assert frames.mean == pytest.approx(groups.mean)
    assert (groups.high - groups.low) > 5 * (frames.high - frames.low)
    alone = metrics.bootstrap_interval(values[::100])
    assert groups.low == pytest.approx(alone.low) and groups.high == pytest.approx(alone.high)
    uneven = metrics.bootstrap_interval(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([7, 7, 2]))
    assert (uneven.mean, uneven.low, uneven.high) == (2.0, 1.0, 4.0)


def test_the_published_port_of_the_3dhp_measures(reference_fixtures: Path) -> None:
    path = reference_fixtures / "lifters/lifter_pipeline.pt"
    example = torch.load(path, weights_only=False)
    pred, target = (example["tdhp"][name] / 1000 for name in ("pred_mm", "gt_mm"))
    judged = slice(0, 14)
    found = metrics.pck(pred[:, judged], target[:, judged]).mean()
    assert 100 * float(found) == pytest.approx(example["tdhp"]["pck"], abs=1e-4)
    found = metrics.auc(pred[:, judged], target[:, judged]).mean()
    assert 100 * float(found) == pytest.approx(example["tdhp"]["auc"], abs=0.02)
    pred, target = example["pred"], example["gt"]
    assert float(metrics.n_mpjpe(pred, target).mean()) == pytest.approx(
        example["n_mpjpe"], abs=1e-6
    )
    flat = metrics.mpjve(pred.flatten(0, 1), target.flatten(0, 1))
    assert float(flat) == pytest.approx(example["mpjve_flat"], abs=1e-6)
    assert float(metrics.mpjve(pred, target).mean()) == pytest.approx(
        example["mpjve_axis1"], abs=1e-6
    )
