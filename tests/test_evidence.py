"""Masks cut to the person: the window's camera must see what the window shows."""

import math

import numpy as np
import pytest
import torch

from meshreg.clothing.labels import UNKNOWN_LABEL
from meshreg.fit.evidence import SMALLEST_PERSON_PX, Target2D, mask_target
from meshreg.geometry.cameras import Camera, camera_from_focal, intrinsics, project, unproject

SIZE = (240, 320)
CENTRE, RADIUS = (210.0, 130.0), 40.0  # pixels


def disc_labels() -> np.ndarray:
    """A round person of upper clothes."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.where(np.hypot(x - CENTRE[0], y - CENTRE[1]) <= RADIUS, 5, 0).astype(np.uint8)


@pytest.fixture
def camera() -> Camera:
    return Camera(K=intrinsics(300.0, 310.0, 150.0, 125.0), size=SIZE, source="made up")


@pytest.mark.parametrize("longest_px", [32, 57, 1000])
def test_a_point_on_the_person_lands_on_it_in_the_window(camera: Camera, longest_px: int) -> None:
    mask = mask_target(disc_labels(), camera, longest_px)
    assert mask.camera.size == mask.target.person.shape
    assert max(mask.camera.size) <= longest_px
    centre = unproject(torch.tensor([CENTRE]), torch.tensor([3.0]), camera.K)
    found = project(centre, mask.camera.K)[0]
    person = mask.target.person
    y, x = torch.meshgrid(*(torch.arange(n).float() for n in person.shape), indexing="ij")
    mass = person.sum()
    expected = torch.stack([(x * person).sum() / mass, (y * person).sum() / mass])
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("longest_px", [32, 57, 1000])
def test_the_outline_is_where_the_window_camera_projects_it(
    camera: Camera, longest_px: int
) -> None:
    mask = mask_target(disc_labels(), camera, longest_px)
    angle = np.arange(16) * (2 * math.pi / 16)
    away = np.stack([np.cos(angle), np.sin(angle)], 1)
    for radius, expected in [(RADIUS - 12, 1.0), (RADIUS + 12, 0.0)]:
        px = torch.from_numpy(np.array(CENTRE) + radius * away).float()
        points = unproject(px, torch.full((16,), 2.0), camera.K)
        column, row = project(points, mask.camera.K).round().long().unbind(-1)
        inside = (row >= 0) & (column >= 0)
        inside &= (row < mask.camera.size[0]) & (column < mask.camera.size[1])
        share = mask.target.person[row[inside], column[inside]]
        assert inside.any() and (share - expected).abs().max() < 1e-4


def test_the_window_keeps_the_area_and_the_size_of_the_person(camera: Camera) -> None:
    labels = disc_labels()
    mask = mask_target(labels, camera, 48)
    shrink = mask.camera.K[0, 0] / camera.K[0, 0] * mask.camera.K[1, 1] / camera.K[1, 1]
    assert float(mask.target.person.sum()) == pytest.approx(
        (labels > 0).sum() * float(shrink), rel=1e-3
    )
    assert mask.scale_px == pytest.approx(80 * math.sqrt(2) * math.sqrt(float(shrink)), rel=0.05)
    assert set(np.unique(mask.target.weight)) == {np.float32(0.15), 1.0}


def test_unknown_pixels_neither_count_nor_push(camera: Camera) -> None:
    labels = disc_labels()
    labels[:, 215:] = UNKNOWN_LABEL
    target = mask_target(labels, camera, 1000).target
    unknown = target.weight == 0
    assert unknown.any() and not target.person[unknown].any()
    assert not target.outside_px[unknown].any(), "the person may be there"
    assert target.outside_px[~unknown & (target.person == 0)].min() > 0


@pytest.mark.parametrize("rows", [slice(0, 1), slice(200, 240), slice(0, 240)])
def test_people_at_the_border_and_of_one_pixel(camera: Camera, rows: slice) -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[rows, 0:1] = 13
    mask = mask_target(labels, camera, 64)
    assert mask.target.person.sum() > 0
    assert mask.scale_px >= SMALLEST_PERSON_PX
    assert torch.isfinite(mask.target.outside_px).all()
    shrunk = max(mask.camera.size) == 64  # a person of one column may have no label left then
    assert shrunk or (mask.target.part >= 0).any()


def test_the_size_of_a_person_from_seen_joints_only() -> None:
    points = torch.tensor([[10.0, 10.0], [40.0, 50.0], [9000.0, 0.0], [math.nan, 1.0]])
    confidence = torch.tensor([1.0, 0.2, 0.0, 0.0])
    K = camera_from_focal(300.0, SIZE).K
    assert Target2D(points_px=points, confidence=confidence, K=K).scale_px == 50.0
    alone = Target2D(points_px=points[:1], confidence=confidence[:1], K=K)
    assert alone.scale_px == SMALLEST_PERSON_PX
