"""Crops of turned cameras: everything in them stays together, and comes back."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import perspective as plain
from torch import Tensor
from turned_cameras import SIZE, some_boxes, some_cameras, some_turns

from meshreg.errors import InputError
from meshreg.geometry.cameras import Camera, crop_intrinsics, project, resize_intrinsics
from meshreg.geometry.perspective import box_corners, move_pixels, pixel_rays, roll_turn
from meshreg.geometry.turned_crop import check_intrinsics, crop_towards

WAYS = ["minimal", "pcl", "none"]
WIDE = torch.tensor([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]], dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return float((a - b).abs().max()) < tolerance


def in_front_of(box: Tensor, K: Tensor) -> Tensor:
    """Points, at all depths, that are seen in boxes."""
    share = torch.rand(*box.shape[:-1], 12, 2, dtype=torch.float64)
    px = box[..., None, :2] + share * (box[..., None, 2:] - box[..., None, :2])
    return pixel_rays(px, K) * (1 + 5 * torch.rand(*px.shape[:-1], 1, dtype=torch.float64))


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("batch", [(), (40,), (2, 3)])
def test_points_and_their_pixels_stay_together(how: str, batch: tuple[int, ...]) -> None:
    box, K = some_boxes(*batch), some_cameras(*batch)
    roll = torch.randn(batch, dtype=torch.float64) if how != "none" else None
    crop = crop_towards(box, K, 192, how=how, roll=roll, scale=1.2)
    points = in_front_of(box, K)
    px, moved = project(points, K), crop.points(points)
    assert close(project(moved, crop.K), crop.pixels(px))
    assert close(crop.points_back(moved), points, 1e-12)
    assert close(crop.pixels_back(crop.pixels(px)), px)
    if how != "pcl":  # which goes by the plane at the centre alone
        assert bool(((crop.pixels(px) > -0.5) & (crop.pixels(px) < 191.5)).all())
    assert bool((crop.K[..., 0, 0] == crop.K[..., 1, 1]).all())


@pytest.mark.parametrize("how", WAYS)
def test_the_crop_just_shows_the_box(how: str) -> None:
    box, K = some_boxes(40), some_cameras(40)
    seen = crop_towards(box, K, 100, how=how).box(box)
    reach = (seen - 49.5).abs().amax(1)
    if how == "pcl":  # nearly: boxes are as large as in the plane at their centres
        assert bool(((reach > 45) & (reach < 65)).all())
        return
    assert close(reach, torch.full((40,), 50.0).double())
    if how == "none":  # nothing is turned: the box is in the middle
        assert close(seen[:, :2] + seen[:, 2:], torch.full((40, 2), 99.0).double())


@pytest.mark.parametrize("half", [(1e-3, 2e-4), (2e-4, 1e-3)])
def test_pcl_fits_tiny_boxes_exactly(half: tuple[float, float]) -> None:
    """Its rule for the size holds in the plane at the box's centre, along both axes."""
    K, centre = some_cameras(40), some_boxes(40)[:, :2]
    K[:, 0, 1] = 0
    reach = torch.tensor(half).double()
    crop = crop_towards(torch.cat([centre - reach, centre + reach], 1), K, 100, how="pcl")
    axis = int(half[1] > half[0])
    ends = torch.stack([centre, centre], 1)
    ends[:, 0, axis] -= half[axis]
    ends[:, 1, axis] += half[axis]
    start, end = crop.pixels(ends)[..., axis].unbind(1)
    assert close(end - start, torch.full((40,), 100.0).double(), 0.01)


def test_crops_are_those_of_the_slow_way() -> None:
    for box, K in zip(some_boxes(20), some_cameras(20), strict=True):
        crop = crop_towards(box, K, 64)
        centre, corners = ((box[:2] + box[2:]) / 2).numpy(), box_corners(box).numpy()
        axis = np.array([0.0, 0.0, 1.0])
        R = plain.turn_by_angle(plain.ray(centre, K.numpy()), axis)
        np.testing.assert_allclose(crop.R_crop_full, R, atol=1e-9)
        expected = plain.crop_intrinsics(corners, K.numpy(), R, 64)
        np.testing.assert_allclose(crop.K, expected, atol=1e-6)


def test_without_a_turn_it_is_the_usual_crop() -> None:
    K = torch.tensor([[500.0, 3, 300], [0, 500, 200], [0, 0, 1]], dtype=torch.float64)
    K[0, 1] = 0
    crop = crop_towards(torch.tensor([100.0, 60, 180, 180]).double(), K, 240, how="none")
    expected = resize_intrinsics(crop_intrinsics(K, 80 + 0.5, 60 + 0.5), 2.0, 2.0)
    assert close(crop.K, expected) and torch.equal(crop.R_crop_full, torch.eye(3).double())


def test_people_on_the_axis_are_seen_as_in_the_usual_crop() -> None:
    for how in ("minimal", "pcl"):
        box = torch.tensor([320.0 - 40, 240 - 60, 320 + 40, 240 + 60]).double()
        turned, usual = (crop_towards(box, WIDE, 128, how=way) for way in (how, "none"))
        assert close(turned.crop_from_full, usual.crop_from_full, 1e-12)


def test_only_known_cameras_turn() -> None:
    box, K = some_boxes(6), some_cameras(6)
    turned = torch.tensor([True, False] * 3)
    mixed = crop_towards(box, K, 64, turned=turned)
    for which, how in ((turned, "minimal"), (~turned, "none")):
        alone = crop_towards(box[which], K[which], 64, how=how)
        assert close(mixed.crop_from_full[which], alone.crop_from_full, 1e-12)


def test_jittered_targets_and_rolls() -> None:
    box, K = some_boxes(20), some_cameras(20)
    centre = (box[:, :2] + box[:, 2:]) / 2
    target = K[:, :2, 2] + 15 * torch.randn(20, 2).double()
    crop = crop_towards(box, K, 64, target_px=target)
    in_turned_picture = K @ torch.linalg.inv(crop.K)
    arrived = move_pixels(crop.pixels(centre[:, None]), in_turned_picture)[:, 0]
    assert close(arrived, target) and close(crop.K[:, :2, 2], torch.full((20, 2), 31.5).double())
    angle = torch.rand(20).double()
    rolled = crop_towards(box, K, 64, roll=angle)
    assert close(rolled.R_crop_full, roll_turn(angle) @ crop_towards(box, K, 64).R_crop_full)


@pytest.mark.parametrize("how", WAYS)
def test_parameters_and_boxes_come_back(how: str) -> None:
    box, K = some_boxes(10), some_cameras(10)
    crop = crop_towards(box, K, 64, how=how)
    pose, transl, pelvis = (
        some_turns(10, 24),
        torch.randn(10, 3).double(),
        torch.randn(10, 3).double(),
    )
    assert close(crop.pose_back(crop.pose(pose)), pose, 1e-12)
    assert close(crop.transl_back(crop.transl(transl, pelvis), pelvis), transl, 1e-12)
    whole = crop.box_back(crop.box(box))
    assert bool((whole[:, :2] <= box[:, :2] + 1e-9).all())
    assert bool((whole[:, 2:] >= box[:, 2:] - 1e-9).all())


def test_the_crops_camera_stands_where_the_pictures_does() -> None:
    T = torch.eye(4).double()
    T[:3, :3], T[:3, 3] = some_turns(), torch.randn(3).double()
    camera = Camera(K=WIDE, size=SIZE, source="made up", T_cam_world=T)
    crop = crop_towards(torch.tensor([400.0, 100, 500, 300]).double(), WIDE, 64)
    found = crop.camera(camera)
    assert found.size == (64, 64) and found.source.startswith("made up; turned")
    world = torch.randn(5, 3).double()
    there = (world @ found.T_cam_world[:3, :3].T) + found.T_cam_world[:3, 3]
    assert close(there, crop.points(world @ T[:3, :3].T + T[:3, 3]), 1e-12)
    assert crop.camera(Camera(K=WIDE, size=SIZE, source="s")).T_cam_world is None


def test_gradients_reach_boxes_and_cameras() -> None:
    box = torch.tensor([[400.0, 100, 500, 330]], dtype=torch.float64, requires_grad=True)
    focal = torch.tensor([400.0], dtype=torch.float64, requires_grad=True)
    points = torch.tensor([[[410.0, 120], [470, 300]]], dtype=torch.float64)

    def seen(box: Tensor, focal: Tensor) -> Tensor:
        K = torch.zeros(1, 3, 3).double() + WIDE * (WIDE < 300)
        K = K + torch.diag(torch.tensor([1.0, 1, 0])).double() * focal
        K = K + torch.tensor([[0, 0, 320.0], [0, 0, 0], [0, 0, 0]]).double()
        return crop_towards(box, K, 64).pixels(points)

    assert torch.autograd.gradcheck(seen, (box, focal))


# --- refusals -------------------------------------------------------------------------------------
def refused(box: list[float], K: Tensor = WIDE, **options: object) -> str:
    with pytest.raises(InputError) as error:
        crop_towards(torch.tensor(box, dtype=torch.float64), K, 64, **options)
    text = str(error.value)
    assert text.endswith(".") and ". " not in text  # one sentence
    return text


@pytest.mark.parametrize("focal", [0.0, -300.0, math.nan])
def test_focal_lengths_that_are_none(focal: float) -> None:
    K = WIDE.clone()
    K[1, 1] = focal
    assert f"found {focal:g}" in refused([0, 0, 10, 10], K)
    assert "found" in refused([[0, 0, 10, 10]] * 2, torch.stack([WIDE, K]))


@pytest.mark.parametrize("place", [(1, 0), (2, 0), (2, 1), (2, 2)])
def test_matrices_that_are_no_intrinsics(place: tuple[int, int]) -> None:
    K = WIDE.clone()
    K[place] = 0.5
    with pytest.raises(InputError, match="not a matrix of intrinsics"):
        check_intrinsics(K)


def test_boxes_that_no_turned_camera_can_show() -> None:
    far = 320 + 300 * math.tan(math.radians(83))
    assert "the box is 83 degrees from the optical axis" in refused([far - 10, 230, far + 10, 250])
    assert "reaches" in refused([-3000, -3000, 3640, 3480])
    assert "is none" in refused([10, 10, 5, 20])
    assert "is none" in refused([10, math.nan, 50, 20])
    assert "box 1 is none" in refused([[10, 10, 50, 20], [10, 10, 5, 20]], WIDE.expand(2, 3, 3))


def test_a_box_that_reaches_behind_the_turned_camera() -> None:
    far = 320 + 300 * math.tan(math.radians(79))
    left = 320 - 2 * (far - 320)
    right = 2 * far - left
    assert "reaches" in refused([left, 230, right, 250])


def test_what_does_not_turn_may_be_anywhere() -> None:
    far = 320 + 300 * math.tan(math.radians(83))
    box = torch.tensor([far - 10, 230, far + 10, 250]).double()
    assert torch.isfinite(crop_towards(box, WIDE, 64, how="none").K).all()
    crop_towards(box, WIDE, 64, turned=torch.tensor(False))


# --- published numbers ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cases(reference_fixtures: Path) -> dict[str, Tensor]:
    path = reference_fixtures / "perspose" / "pr.pt"
    found: dict[str, Tensor] = torch.load(path, weights_only=True)["cases"]
    return found


def released_focal(px: Tensor, K: Tensor) -> Tensor:
    """Fits width and height before it stretches the pixels, so the crop may lose the sides."""
    reach = (px - K[:, None, :2, 2]).abs().amax(1)
    return (128 / reach).amin(1) * torch.maximum(K[:, 0, 0], K[:, 1, 1])


def test_crops_agree_with_the_released_code(cases: dict[str, Tensor]) -> None:
    rows = (cases["kind"] == 0) & (cases["group"] == 0)
    c = {name: values[rows] for name, values in cases.items()}
    box = torch.cat([c["bbox_in"][:, :2], c["bbox_in"][:, :2] + c["bbox_in"][:, 2:]], 1)
    crop = crop_towards(box, c["K"], 256)
    turned = crop.crop_from_full.clone()
    ratio = c["K_crop"][:, 0, 0] / crop.K[:, 0, 0]
    square = (c["stretch"] - 1).abs() < 1e-9
    assert square.sum() >= 20 and bool(((ratio - 1).abs()[square] < 1e-5).all())
    in_turned = move_pixels(crop.pixels(box_corners(box)), c["K"] @ torch.linalg.inv(crop.K))
    expected = released_focal(in_turned, c["K"])
    assert close(c["K_crop"][:, 0, 0] / expected, torch.ones(len(box)).double(), 1e-5)
    # Half a pixel: there the middle of 256 pixels is 128, here it is 127.5.
    shift = torch.eye(3).double()
    shift[:2, 2] = 0.5
    official = c["perspective_2d"][square]
    moved = move_pixels(box_corners(box)[square], official)
    assert close(moved, move_pixels(box_corners(box)[square], shift @ turned[square]), 2e-3)


def test_many_crops_of_a_picture_are_quick() -> None:
    """A batch is one warp: 64 crops cost little more than their samples."""
    picture = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    box, K = some_boxes(64).float(), WIDE.float().expand(64, 3, 3)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        crops = crop_towards(box, K, 224).pictures(picture)
        times.append(time.perf_counter() - start)
    assert crops.shape == (64, 3, 224, 224) and crops.dtype == torch.uint8
    assert min(times) < 3.0


@pytest.mark.parametrize("how", ["minimal", "none"])
def test_subjects_keep_their_size_when_the_crop_keeps_its_area(how: str) -> None:
    box = torch.tensor([[20.0, 30, 140, 150], [500, 20, 620, 140]]).double()
    K = WIDE.expand(2, 3, 3)
    crop = crop_towards(box, K, 100, how=how, fit="area")
    x, y = crop.pixels(box_corners(box)).unbind(-1)
    area = 0.5 * (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1)  # shoelace
    assert close(area, torch.full_like(area, 100.0**2), 1e-6)
    whole = crop_towards(box, K, 100, how=how)
    assert bool((crop.K[:, 0, 0] >= whole.K[:, 0, 0] - 1e-9).all())


@pytest.mark.parametrize("options", [{"how": "bogus"}, {"fit": "half"}])
def test_unknown_ways_are_refused(options: dict[str, str]) -> None:
    box = torch.tensor([10.0, 10, 50, 50], dtype=torch.float64)
    with pytest.raises(Exception, match=r"how is minimal|bogus|half"):
        crop_towards(box, WIDE, 64, **options)
