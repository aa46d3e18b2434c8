"""Crops keep pictures, cameras and bodies together, whatever is turned, mirrored or resized."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.clothing.labels import flip_labels
from meshreg.data.crops import View, Window, box_around, cut_window
from meshreg.data.images import warp_image, warp_labels
from meshreg.data.random_views import RandomViews
from meshreg.geometry.cameras import (
    crop_intrinsics,
    flip_intrinsics,
    intrinsics,
    project,
    resize_intrinsics,
)

SIZE = (480, 640)
VIEWS = [
    View(),
    View(scale=1.3),
    View(flip=True),
    View(roll=0.5),
    View(roll=-2.0, flip=True, scale=0.7, shift=(0.1, -0.2)),
    View(centred=True),
    View(centred=True, roll=0.4, flip=True, scale=1.2, shift=(0.1, 0.0)),
]


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def camera(*, square: bool = True) -> Tensor:
    """A principal point off the middle, and with `square` off also pixels that are no squares."""
    K = intrinsics(700.0, 700.0 if square else 650.0, 300.0, 260.0).double()
    if not square:
        K[0, 1] = 12.0
    return K


def person(body: Body, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    import roma

    generator = torch.Generator().manual_seed(seed)
    betas = torch.randn(1, body.num_betas, generator=generator)
    pose = roma.rotvec_to_rotmat(0.4 * torch.randn(1, 24, 3, generator=generator))
    return betas, pose, torch.tensor([[0.3, -0.1, 3.0]])


def cut(view: View, *, square: bool = True, size: int = 224) -> Window:
    return cut_window(camera(square=square), SIZE, torch.tensor([350.0, 220.0, 300.0]), size, view)


@pytest.mark.parametrize("square", [True, False])
@pytest.mark.parametrize("view", VIEWS)
def test_joints_appear_where_their_pixels_went(view: View, square: bool) -> None:
    joints = torch.rand(45, 3, dtype=torch.float64) + torch.tensor([-0.5, -0.5, 3.0])
    window = cut(view, square=square)
    pixels = project(joints, camera(square=square))
    names = SKELETONS["smplx45"]
    moved, seen = window.pixels(pixels, names), window.points(joints, names)
    assert float((project(seen, window.K) - moved).abs().max()) < 1e-9
    in_full = window.box[:2] + (moved - (224 - 1) / 2) * window.box[2] / 224
    assert float((project(seen, window.K_full) - in_full).abs().max()) < 1e-9


@pytest.mark.parametrize("view", VIEWS)
def test_the_posed_body_is_seen_in_the_window(body: Body, view: View) -> None:
    """Posing the new parameters gives the moved joints; mirrors need bodies with equal sides."""
    betas, pose, transl = person(body)
    window = cut(view)
    new_transl = window.transl(transl[0], body.rest_joints(betas)[0, 0])
    again = body(betas, window.pose(pose[0]).float()[None], new_transl.float()[None])
    moved = window.points(body(betas, pose, transl).joints[0], SKELETONS["smplx45"])
    tolerance = 2e-3 if view.flip else 2e-6
    assert float((again.joints[0] - moved).abs().max()) < tolerance
    shown = project(again.joints[0].double(), window.K) - project(moved, window.K)
    assert float(shown.abs().max()) < (1.0 if view.flip else 1e-3)
    assert torch.allclose(torch.linalg.det(window.pose(pose[0])), torch.ones(24).double())


@pytest.mark.parametrize("view", VIEWS)
def test_what_was_predicted_comes_back(body: Body, view: View) -> None:
    _, pose, transl = person(body)
    window, names = cut(view, square=False), SKELETONS["smpl24"]
    points, pelvis = torch.randn(24, 3), torch.tensor([0.1, -0.2, 0.05])
    pixels = points[:, :2] * 50 + 300
    close = {"rtol": 0, "atol": 1e-9}
    back = window.points_back(window.points(points, names), names)
    torch.testing.assert_close(back, points.double(), **close)
    back = window.pixels_back(window.pixels(pixels, names), names)
    torch.testing.assert_close(back, pixels.double(), **close)
    torch.testing.assert_close(window.pose_back(window.pose(pose[0])), pose[0].double(), **close)
    back = window.transl_back(window.transl(transl[0], pelvis), pelvis)
    torch.testing.assert_close(back, transl[0].double(), **close)


def test_a_camera_turned_towards_a_person_has_it_in_the_middle() -> None:
    box = torch.tensor([560.0, 100.0, 120.0]).double()
    window = cut_window(camera(), SIZE, box, 224, View(centred=True))
    assert float((window.pixels(box[None, :2]) - 111.5).abs().max()) < 1e-9
    torch.testing.assert_close(window.box[:2], camera()[:2, 2])
    corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).double() * 60 + box[:2]
    x, y = window.pixels(corners).unbind(-1)
    area = 0.5 * float((x * y.roll(-1) - x.roll(-1) * y).sum())  # shoelace
    assert area == pytest.approx(224.0**2, abs=1e-6)
    rolled = cut_window(camera(), SIZE, box, 224, View(centred=True, roll=0.7))
    torch.testing.assert_close(rolled.box[:2], camera()[:2, 2])
    assert float(rolled.box[2]) == pytest.approx(float(window.box[2]))
    on_axis = torch.cat([camera()[:2, 2], torch.tensor([120.0]).double()])
    same, plain = (
        cut_window(camera(), SIZE, on_axis, 224, View(centred=turned)) for turned in (True, False)
    )
    torch.testing.assert_close(same.crop_from_full, plain.crop_from_full)
    torch.testing.assert_close(same.box, plain.box)


def test_a_sphere_is_round_only_for_a_camera_that_turned_to_it() -> None:
    """Perspective stretches what is beside the axis; a drawn sphere shows by how much."""
    K = intrinsics(200.0, 200.0, 199.5, 199.5).double()
    centre, radius = torch.tensor([1.2, 0.6, 1.5]).double(), 0.2
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(400.0), indexing="ij")
    rays = torch.stack([(x - 199.5) / 200, (y - 199.5) / 200, torch.ones_like(x)], -1).double()
    along = (rays @ centre) / rays.norm(dim=-1)
    hit = (centre @ centre - along.square()) < radius**2
    image = np.repeat(hit.numpy()[..., None], 3, 2).astype(np.uint8) * 255
    box = torch.cat([project(centre[None], K)[0], torch.tensor([110.0]).double()])

    def stretch(view: View) -> float:
        window = cut_window(K, (400, 400), box, 128, view)
        drawn = warp_image(image, window.crop_from_full.numpy(), (128, 128))[..., 0]
        spread = np.linalg.eigvalsh(np.cov(np.argwhere(drawn > 127).T))
        return float(np.sqrt(spread[1] / spread[0]))

    assert stretch(View()) > 1.3
    assert stretch(View(centred=True)) < 1.02


def test_twice_mirrored_is_unchanged() -> None:
    window = cut(View(flip=True))
    points, pose = torch.randn(24, 3), torch.linalg.qr(torch.randn(24, 3, 3))[0]
    names = SKELETONS["smpl24"]
    torch.testing.assert_close(window.points(window.points(points, names), names), points.double())
    torch.testing.assert_close(window.pose(window.pose(pose)), pose.double())


def test_plain_crops_follow_the_camera_rules() -> None:
    K, window = camera(), cut(View())
    expected = resize_intrinsics(
        crop_intrinsics(K, 350 - 150 + 0.5, 220 - 150 + 0.5), *2 * [224 / 300]
    )
    torch.testing.assert_close(window.K, expected)
    torch.testing.assert_close(cut(View(flip=True)).K_full, flip_intrinsics(K, 640))
    torch.testing.assert_close(cut(View(flip=True)).box[0], torch.tensor(639 - 350.0).double())
    assert not cut(View(roll=1.0)).K.isclose(window.K).all()  # the box went round the axis


def test_the_picture_turns_clockwise() -> None:
    """Up in the picture goes to the right after a quarter turn."""
    centre = camera()[:2, 2]
    window = cut_window(camera(), SIZE, torch.tensor([*centre, 100.0]), 100, View(roll=math.pi / 2))
    above = window.pixels((centre - torch.tensor([0.0, 10.0]))[None])[0]
    torch.testing.assert_close(above, torch.tensor([49.5 + 10, 49.5]).double())


def blobs(points: Tensor) -> np.ndarray:
    """A picture with soft dots at the points."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    image = np.zeros(SIZE)
    for px, py in points.tolist():
        image += np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 4.0**2))
    return np.repeat((255 * image.clip(0, 1)).astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize("size", [96, 224, 500])
@pytest.mark.parametrize("view", VIEWS)
def test_pixels_go_where_points_go(view: View, size: int) -> None:
    window = cut(view, size=size)
    for point in torch.tensor([[350.0, 220.0], [310.0, 240.0], [380.0, 200.0]]).double():
        image = warp_image(blobs(point[None]), window.crop_from_full.numpy(), (size, size))
        weight = image[..., 0].astype(np.float64)
        y, x = np.mgrid[:size, :size]
        found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        np.testing.assert_allclose(found, window.pixels(point[None])[0].numpy(), atol=0.05)


def test_fine_patterns_become_grey() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[:, ::2] = 255
    shrink = np.array([[0.2, 0, -0.4], [0, 0.2, -0.4], [0, 0, 1]])
    small = warp_image(image, shrink, (80, 80))[2:-2, 2:-2]
    # Every pixel averages two or three white columns of five; plain sampling would see 0 or 255.
    assert set(np.unique(small)) == {102, 153}


def test_an_unchanged_picture_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(warp_image(image, np.eye(3), (40, 30)), image)
    np.testing.assert_array_equal(
        warp_labels(image[..., 0], np.eye(3), (40, 30), 255), image[..., 0]
    )
    moved = warp_image(image, np.array([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]), (40, 30))
    np.testing.assert_array_equal(moved[:, 3:], image[:, :-3])
    assert not moved[:, :3].any()


def test_labels_are_mirrored_and_never_mixed() -> None:
    labels = np.random.default_rng(1).choice(np.array([0, 14, 15, 9], np.uint8), (20, 20))
    box = torch.tensor([9.5, 9.5, 20.0])
    window = cut_window(intrinsics(30.0, 30.0, 9.5, 9.5), (20, 20), box, 20, View(flip=True))
    mirrored = warp_labels(labels, window.crop_from_full.numpy(), (20, 20), 255)
    swapped = flip_labels(torch.from_numpy(labels))
    np.testing.assert_array_equal(mirrored, labels[:, ::-1])
    assert not (swapped.numpy() == mirrored)[np.isin(mirrored, (14, 15))].any()
    wide = cut_window(intrinsics(30.0, 30.0, 9.5, 9.5), (20, 20), box * 2 - 9.5, 77, View(roll=0.3))
    turned = warp_labels(labels, wide.crop_from_full.numpy(), (77, 77), 255)
    assert set(np.unique(turned)) == {0, 9, 14, 15, 255}


def test_chance_is_bounded_and_seeded() -> None:
    settings = RandomViews(shift_spread=0.1)
    views = [settings.view(np.random.default_rng(seed)) for seed in range(400)]
    assert views == [settings.view(np.random.default_rng(seed)) for seed in range(400)]
    assert 0.4 < sum(view.flip for view in views) / 400 < 0.6
    assert 0.3 < sum(view.roll != 0 for view in views) / 400 < 0.5
    assert max(abs(view.roll) for view in views) <= math.radians(60) + 1e-9
    assert {0.75, 1.25} <= {view.scale for view in views}
    assert max(abs(value) for view in views for value in view.shift) <= 0.2 + 1e-9
    image = np.full((4, 4, 3), 200, np.uint8)
    colors = np.stack([settings.recolored(image, np.random.default_rng(s)) for s in range(50)])
    assert colors.min() >= 120 and colors.max() == 255 and len(np.unique(colors)) > 50


def test_a_box_around_points() -> None:
    points = torch.tensor([[10.0, 20.0], [30.0, 100.0], [20.0, 50.0]])
    torch.testing.assert_close(box_around(points), torch.tensor([20.0, 60.0, 96.0]))
