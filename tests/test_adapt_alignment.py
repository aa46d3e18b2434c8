"""Alignment: the published formula's numbers, and what it must and must not change."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.adapt.alignment import align_clips, place_root, screen_camera
from meshreg.geometry.screen import project_to_screen, screen_intrinsics, to_screen


def people(*batch: int) -> Tensor:
    """Poses of about a person's size, measured from joint 0."""
    poses = torch.randn(*batch, 16, 3, dtype=torch.float64) * torch.tensor([0.3, 0.5, 0.3])
    return poses - poses[..., :1, :]


def seen_by_target(*batch: int) -> tuple[Tensor, Tensor]:
    """2D poses, not too small, and cameras."""
    x = 0.2 * torch.randn(*batch, 16, 2, dtype=torch.float64)
    intrinsics = torch.tensor([1.5, 1.55, 0.02, -0.01], dtype=torch.float64).expand(*batch, 4)
    return x, intrinsics


def size(x: Tensor) -> Tensor:
    return (x.amax(-2) - x.amin(-2)).mean(-1)


def test_the_published_function(reference_fixtures: Path) -> None:
    known = torch.load(reference_fixtures / "adapt" / "poseda_gpa.pt", weights_only=False)
    source, target = known["source_3d"], known["target_2d"][known["perm"]]
    root = place_root(source, target, known["camera_fx_fy_cx_cy"], root=0)
    torch.testing.assert_close(
        source - source[:, :1] + root[:, None], known["output"], atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_place_and_size_are_those_of_the_target(batch: tuple[int, ...]) -> None:
    poses = people(*batch)
    target, intrinsics = seen_by_target(*batch)
    root = place_root(poses, target, intrinsics, root=0)
    shown = project_to_screen(poses + root[..., None, :], intrinsics)
    torch.testing.assert_close(shown[..., 0, :], target[..., 0, :], atol=1e-12, rtol=0)
    flat = poses.clone()
    flat[..., 2] = 0  # all joints as deep as the root: no perspective within the person
    shown = project_to_screen(flat + root[..., None, :], intrinsics)
    torch.testing.assert_close(size(shown), size(target), atol=1e-12, rtol=0)


def test_foreshortening_is_some_percent() -> None:
    poses = people(2000) * torch.tensor([1.0, 1.0, 0.5])
    target, intrinsics = seen_by_target(2000)
    root = place_root(poses, target, intrinsics, root=0)
    ratio = size(project_to_screen(poses + root[:, None], intrinsics)) / size(target)
    assert 0.95 < float(ratio.mean()) < 1.1 and 0.01 < float(ratio.std()) < 0.2


def test_histograms_become_those_of_the_target() -> None:
    poses, (target, intrinsics) = people(2000), seen_by_target(2000)
    moved = target + 0.3 * torch.randn(2000, 1, 2, dtype=torch.float64)
    root = place_root(poses, moved, intrinsics, root=0)
    shown = project_to_screen(root[:, None], intrinsics)[:, 0]
    torch.testing.assert_close(shown.std(0), moved[:, 0].std(0))
    torch.testing.assert_close(shown.mean(0), moved[:, 0].mean(0))


def test_the_source_place_and_the_order_of_joints_do_not_matter() -> None:
    poses, (target, intrinsics) = people(7), seen_by_target(7)
    root = place_root(poses, target, intrinsics, root=0)
    away = place_root(poses + torch.randn(7, 1, 3), target, intrinsics, root=0)
    torch.testing.assert_close(root, away)
    order = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(15)])
    torch.testing.assert_close(root, place_root(poses[:, order], target, intrinsics, root=0))
    # Twice the focal length shows the same size from twice as far.
    double = intrinsics * torch.tensor([2.0, 2, 1, 1])
    torch.testing.assert_close(
        place_root(poses, target, double, root=0)[:, 2], (2 * root[:, 2]).clamp(1, 15)
    )


def test_joints_that_are_not_seen_do_not_count() -> None:
    poses, (target, intrinsics) = people(50), seen_by_target(50)
    seen = torch.rand(50, 16) < 0.7
    seen[:, :4] = True
    root = place_root(poses, target, intrinsics, root=0, seen=seen)
    broken = torch.where(seen[..., None], target, 1e6)
    torch.testing.assert_close(place_root(poses, broken, intrinsics, root=0, seen=seen), root)
    one = [
        place_root(p[s][None], t[s][None], k[None], root=0)[0]
        for p, t, k, s in zip(poses, target, intrinsics, seen, strict=True)
    ]
    torch.testing.assert_close(torch.stack(one), root)


def test_tiny_and_huge_targets_are_kept_at_bay() -> None:
    poses, (target, intrinsics) = people(4), seen_by_target(4)
    for factor in (1e-9, 1e-3, 1e3):
        root = place_root(poses, target * factor, intrinsics, root=0)
        assert root.isfinite().all() and ((root[:, 2] >= 1) & (root[:, 2] <= 15)).all()


def test_clips_keep_their_motion() -> None:
    poses, (target, intrinsics) = people(6, 9), seen_by_target(6)
    walk = torch.tensor([0.02, 0.0, 0.03]) * torch.arange(9)[:, None] + torch.rand(6, 1, 3) * 5
    walk = walk.double()
    placed = align_clips(poses, walk, target, intrinsics, root=0, frame=4)
    torch.testing.assert_close(placed.root.diff(dim=1), walk.diff(dim=1))
    alone = place_root(poses[:, 4], target, intrinsics, root=0)
    torch.testing.assert_close(placed.root[:, 4], alone)
    # One frame: the rule for single poses.
    single = align_clips(poses[:, 4:5], walk[:, 4:5], target, intrinsics, root=0, frame=0)
    torch.testing.assert_close(single.root[:, 0], alone)


def test_useless_clips_are_told() -> None:
    poses, (target, intrinsics) = people(3, 5) * 0.1, seen_by_target(3)
    still = torch.zeros(3, 5, 3, dtype=torch.float64)
    walk = still.clone()
    walk[1, -1, 2] = -20.0  # through the camera
    seen = torch.ones(3, 16, dtype=torch.bool)
    seen[2, 0] = False
    assert align_clips(poses, still, target, intrinsics, root=0, frame=2).valid.all()
    placed = align_clips(poses, walk, target, intrinsics, root=0, frame=2, seen=seen)
    assert placed.valid.tolist() == [True, False, False]


def test_cameras_follow_from_what_they_show() -> None:
    points = people(5) + torch.tensor([0.5, 0.2, 4.0])
    intrinsics = torch.rand(5, 4, dtype=torch.float64) + torch.tensor([1.0, 1.0, 0.0, 0.0])
    found = screen_camera(points, project_to_screen(points, intrinsics))
    torch.testing.assert_close(found, intrinsics)


def test_intrinsics_of_the_screen_project_as_pixels_do() -> None:
    K = torch.tensor([[1200.0, 0, 950], [0, 1210, 520], [0, 0, 1]])
    points = torch.rand(9, 3) + torch.tensor([0.0, 0, 3])
    px = (points @ K.T)[:, :2] / points[:, 2:]
    size_px = (1080, 1920)
    torch.testing.assert_close(
        project_to_screen(points, screen_intrinsics(K, size_px)), to_screen(px, size_px)
    )
