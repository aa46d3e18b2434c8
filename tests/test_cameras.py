"""Cameras: projection against loops and finite differences, K against real crops and resizes."""

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from meshreg.errors import InputError
from meshreg.geometry.cameras import (
    Camera,
    camera_from_focal,
    camera_from_fov,
    crop_intrinsics,
    flip_intrinsics,
    guess_camera,
    image_centre,
    intrinsics,
    project,
    resize_intrinsics,
    unproject,
)

BATCHES = [(), (5,), (2, 3)]
SIZE = (120, 160)  # height, width


def some_K(*batch: int) -> Tensor:
    """Different focal lengths, principal points and a little skew."""
    K = torch.zeros(*batch, 3, 3, dtype=torch.float64)
    K[..., 0, 0] = 100 + 50 * torch.rand(batch)
    K[..., 1, 1] = 100 + 50 * torch.rand(batch)
    K[..., 0, 1] = torch.rand(batch)
    K[..., :2, 2] = 50 + 20 * torch.rand(*batch, 2)
    K[..., 2, 2] = 1
    return K


def some_points(*batch: int) -> Tensor:
    points = torch.randn(*batch, 7, 3, dtype=torch.float64)
    points[..., 2] = 1 + 4 * torch.rand(*batch, 7)
    return points


@pytest.mark.parametrize("batch", BATCHES)
def test_projection_is_the_pinhole_formula(batch: tuple[int, ...]) -> None:
    points, K = some_points(*batch), some_K(*batch)
    found = project(points, K).reshape(-1, 7, 2)
    for camera, (some, matrix) in enumerate(
        zip(points.reshape(-1, 7, 3), K.reshape(-1, 3, 3), strict=True)
    ):
        for index, (x, y, z) in enumerate(some.tolist()):
            (fx, skew, cx), (_, fy, cy), _ = matrix.tolist()
            expected = [fx * x / z + skew * y / z + cx, fy * y / z + cy]
            assert found[camera, index].tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("batch", BATCHES)
def test_unprojection_undoes_projection(batch: tuple[int, ...]) -> None:
    points, K = some_points(*batch), some_K(*batch)
    torch.testing.assert_close(unproject(project(points, K), points[..., 2], K), points)


@pytest.mark.parametrize("depth", [2.0, -2.0, 3e-6, -3e-6])
def test_derivatives_of_the_projection(depth: float) -> None:
    points = torch.tensor([[0.3, -0.2, depth]], dtype=torch.float64, requires_grad=True)
    near = abs(depth) < 1e-3  # where rounding drowns the differences for K
    K = some_K().requires_grad_(not near)
    step = min(1e-6, abs(depth) * 1e-3)
    assert torch.autograd.gradcheck(project, (points, K), eps=step, atol=1e-3, rtol=1e-3)


def test_a_point_on_the_camera_plane_stays_finite() -> None:
    points = torch.tensor([[0.3, -0.2, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    px = project(points, intrinsics(100.0, 100.0, 50.0, 50.0))
    px.sum().backward()
    assert torch.isfinite(px).all() and torch.isfinite(points.grad).all()


def test_a_point_behind_comes_out_mirrored() -> None:
    K = intrinsics(100.0, 100.0, 50.0, 40.0)
    px = project(torch.tensor([[0.5, 0.2, 2.0], [0.5, 0.2, -2.0]]), K)
    torch.testing.assert_close(px[0] - px.new_tensor([50, 40]), px.new_tensor([50, 40]) - px[1])


def test_derivatives_of_the_unprojection() -> None:
    px = (torch.rand(3, 2, dtype=torch.float64) * 100).requires_grad_()
    depth = (1 + torch.rand(3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(unproject, (px, depth, some_K().requires_grad_()))


# --- K follows what is done to the pixels -----------------------------------------------------


def blob(centre: tuple[float, float], size: tuple[int, int], sigma: float = 4.0) -> np.ndarray:
    """A soft dot at a place between the pixels: its centre of mass is `centre`."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    return np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))


def centre_of_mass(image: np.ndarray) -> list[float]:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float64)
    return [float((x * image).sum() / image.sum()), float((y * image).sum() / image.sum())]


POINT = torch.tensor([[0.25, 0.1, 2.0]])


def pixel(camera: Camera) -> list[float]:
    return project(POINT, camera.K)[0].tolist()


@pytest.fixture
def camera() -> Camera:
    return Camera(K=intrinsics(130.0, 140.0, 78.3, 61.2), size=SIZE, source="made up")


def test_the_blob_stands_where_the_point_is_projected(camera: Camera) -> None:
    x, y = pixel(camera)
    assert centre_of_mass(blob((x, y), SIZE)) == pytest.approx([x, y], abs=1e-6)


@pytest.mark.parametrize("how", [cv2.INTER_AREA, cv2.INTER_LINEAR])
@pytest.mark.parametrize("size", [(60, 80), (40, 32), (240, 320), (120, 320)])
def test_resizing_the_picture_moves_the_dot_to_the_resized_camera(
    camera: Camera, size: tuple[int, int], how: int
) -> None:
    if how == cv2.INTER_AREA and size[0] > SIZE[0]:
        pytest.skip("averaging over areas is for smaller pictures")
    picture = cv2.resize(blob(tuple(pixel(camera)), SIZE), size[::-1], interpolation=how)
    resized = camera.resize(size)
    assert resized.size == size
    assert centre_of_mass(picture) == pytest.approx(pixel(resized), abs=0.02)


def test_resizing_is_the_rule_of_pixel_centres(camera: Camera) -> None:
    x, y = pixel(camera)
    K = resize_intrinsics(camera.K, 0.5, 3.0)
    expected = [(x + 0.5) * 0.5 - 0.5, (y + 0.5) * 3 - 0.5]
    assert project(POINT, K)[0].tolist() == pytest.approx(expected, abs=1e-4)


def test_cropping_the_picture_moves_the_dot_to_the_cropped_camera(camera: Camera) -> None:
    picture = blob(tuple(pixel(camera)), SIZE)[40:110, 60:150]
    cropped = camera.crop(60.0, 40.0, (70, 90))
    assert cropped.size == picture.shape
    assert centre_of_mass(picture) == pytest.approx(pixel(cropped), abs=1e-4)


def test_flipping_the_picture_moves_the_mirrored_point(camera: Camera) -> None:
    picture = blob(tuple(pixel(camera)), SIZE)[:, ::-1]
    mirrored = POINT * torch.tensor([-1.0, 1.0, 1.0])
    flipped = project(mirrored, camera.flip().K)[0].tolist()
    assert centre_of_mass(picture) == pytest.approx(flipped, abs=1e-4)


def test_flipping_keeps_skew_consistent_and_is_its_own_inverse() -> None:
    K = some_K(4)
    points = some_points(4)
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    px, flipped = project(points, K), project(mirrored, flip_intrinsics(K, 160))
    torch.testing.assert_close(159 - px[..., 0], flipped[..., 0])
    torch.testing.assert_close(px[..., 1], flipped[..., 1])
    torch.testing.assert_close(flip_intrinsics(flip_intrinsics(K, 160), 160), K)


def test_flipping_a_placed_camera_is_refused(camera: Camera) -> None:
    placed = Camera(K=camera.K, size=SIZE, source="", T_cam_world=torch.eye(4))
    with pytest.raises(ValueError, match="mirror"):
        placed.flip()


@pytest.mark.parametrize("batch", BATCHES)
def test_crop_then_resize_in_a_batch(batch: tuple[int, ...]) -> None:
    K, points = some_K(*batch), some_points(*batch)
    both = resize_intrinsics(crop_intrinsics(K, 7.0, -3.0), 0.5, 0.25)
    px = project(points, K) - torch.tensor([7.0, -3.0])
    expected = (px + 0.5) * torch.tensor([0.5, 0.25]) - 0.5
    torch.testing.assert_close(project(points, both), expected)


# --- where K comes from -----------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["x", "y", "diagonal"])
@pytest.mark.parametrize("fov_deg", [20.0, 60.0, 110.0])
def test_the_field_of_view_spans_the_image(axis: str, fov_deg: float) -> None:
    camera = camera_from_fov(fov_deg, SIZE, axis=axis)
    middle = image_centre(SIZE)
    ends = {
        "x": [(-0.5, middle[1]), (SIZE[1] - 0.5, middle[1])],
        "y": [(middle[0], -0.5), (middle[0], SIZE[0] - 0.5)],
        "diagonal": [(-0.5, -0.5), (SIZE[1] - 0.5, SIZE[0] - 0.5)],
    }[axis]
    a, b = unproject(torch.tensor(ends), torch.ones(2), camera.K)
    angle = math.degrees(math.acos(float(torch.cosine_similarity(a, b, dim=0))))
    assert angle == pytest.approx(fov_deg, abs=1e-3)
    assert f"{fov_deg:g}" in camera.source and axis in camera.source


def test_the_guess_is_one_diagonal_and_says_so() -> None:
    camera = guess_camera((300, 400))
    expected = torch.tensor([[500.0, 0, 199.5], [0, 500, 149.5], [0, 0, 1]])
    torch.testing.assert_close(camera.K, expected)
    assert "guess" in camera.source
    diagonal = math.degrees(2 * math.atan(0.5))
    torch.testing.assert_close(camera_from_fov(diagonal, (300, 400), axis="diagonal").K, expected)


@pytest.mark.parametrize("focal_px", [0.0, -100.0, math.nan, math.inf])
def test_focal_lengths_that_cannot_be(focal_px: float) -> None:
    with pytest.raises(InputError, match="focal length"):
        camera_from_focal(focal_px, SIZE)


@pytest.mark.parametrize("fov_deg", [0.0, 180.0, -30.0, math.nan])
def test_fields_of_view_that_cannot_be(fov_deg: float) -> None:
    with pytest.raises(InputError, match="field of view"):
        camera_from_fov(fov_deg, SIZE)


def test_moving_a_camera_keeps_everything() -> None:
    camera = Camera(K=some_K(2), size=SIZE, source="s", T_cam_world=torch.eye(4).expand(2, 4, 4))
    moved = camera.to("meta")
    assert moved.K.device.type == moved.T_cam_world.device.type == "meta"
    assert (moved.size, moved.source) == (camera.size, camera.source)
    assert guess_camera(SIZE).to("meta").T_cam_world is None
