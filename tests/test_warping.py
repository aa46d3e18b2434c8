"""Pictures of turned cameras against loops over pixels, exact rays, and OpenCV."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from reference import perspective as plain
from torch import Tensor
from turned_cameras import SIZE, some_boxes, some_cameras

from meshreg.data.images import warp_image
from meshreg.data.images import warp_labels as warp_labels_numpy
from meshreg.geometry.perspective import homography, pixel_rays, turn_points, turn_towards
from meshreg.geometry.turned_crop import crop_towards
from meshreg.geometry.warping import warp_labels, warp_pictures

K_SMALL = torch.tensor([[30.0, 2, 21], [0, 33, 14], [0, 0, 1]], dtype=torch.float64)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def test_every_pixel_shows_what_is_in_its_direction() -> None:
    pictures = noise(4, 2, 32, 48)
    point = torch.tensor([[40.0, 5], [3, 30], [21, 14], [50, 10]]).double()
    K = K_SMALL.expand(4, 3, 3)
    R = turn_towards(point, K)
    K_new = torch.tensor([[90.0, 0, 11.5], [0, 90, 11.5], [0, 0, 1]]).double().expand(4, 3, 3)
    found = warp_pictures(pictures, homography(R, K, K_new), (24, 24))
    for crop, picture, turn in zip(found, pictures.permute(0, 2, 3, 1), R, strict=True):
        slow = plain.turned_picture(
            picture.numpy(), K_SMALL.numpy(), turn.numpy(), K_new[0].numpy(), 24
        )
        np.testing.assert_allclose(crop.permute(1, 2, 0), slow, atol=1e-9)
    assert float((found[3] == 0).double().mean()) > 0.3  # half of it lies beyond the picture


def test_what_was_behind_the_camera_is_black() -> None:
    """A homography alone would show the picture once more there, upside down."""
    picture = torch.ones(1, 1, 400, 400).double()
    K = torch.tensor([[40.0, 0, 199.5], [0, 40, 199.5], [0, 0, 1]]).double()
    K_new = torch.tensor([[8.0, 0, 31.5], [0, 8, 31.5], [0, 0, 1]]).double()
    R = turn_towards(K[:2, 2] + torch.tensor([40 * math.tan(1.2), 0]).double(), K)
    H = homography(R, K, K_new)
    rays = turn_points(
        R.T, pixel_rays(torch.tensor([[x, 31.0] for x in range(64)]).double(), K_new)
    )
    behind = rays[:, 2] <= 0
    assert 5 < int(behind.sum()) < 60
    drawn = warp_pictures(picture, H[None], (64, 64))[0, 0, 31]
    twice = warp_image(np.full((400, 400, 3), 200, np.uint8), H.numpy(), (64, 64))[31]
    labels = warp_labels(torch.ones(1, 400, 400, dtype=torch.uint8), H[None], (64, 64), 255)[0, 31]
    other = warp_labels_numpy(np.ones((400, 400), np.uint8), H.numpy(), (64, 64), 255)[31]
    inner = torch.nn.functional.max_pool1d(behind[None].double(), 5, 1, 2)[0] == 0
    assert float(drawn[behind].abs().max()) == 0 and not twice[behind.numpy()].any()
    assert bool((labels[behind] == 255).all()) and (other[behind.numpy()] == 255).all()
    assert float(drawn[inner & (rays[:, 0].abs() < 4 * rays[:, 2])].min()) > 0.99


def smooth(size: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]] / 40.0
    waves = [np.sin(x + 0.3 * k) * np.cos(y - 0.2 * k) for k in range(3)]
    return (127 + 120 * np.stack(waves, -1)).astype(np.uint8)


@pytest.mark.parametrize("side", [40.0, 160.0, 330.0, 900.0])
def test_both_ways_to_draw_agree(side: float) -> None:
    """In a smooth picture, enlarged and shrunk by octaves, one at a time and in a batch."""
    size = (1400, 1800)
    image = smooth(size)
    K = torch.tensor([[900.0, 0, 890], [0, 880, 760], [0, 0, 1]]).double()
    box = torch.tensor(
        [[1000 - side / 2, 690 - side / 2, 1000 + side / 2, 690 + side / 2]]
    ).double()
    crop = crop_towards(box, K[None], 96)
    single = warp_image(image, crop.crop_from_full[0].numpy(), (96, 96))
    batch = crop.pictures(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert batch.dtype == torch.uint8
    difference = np.abs(batch[0].permute(1, 2, 0).numpy().astype(int) - single)
    assert difference[2:-2, 2:-2].max() <= 3 and difference.mean() < 1.0


@pytest.mark.parametrize("shared", [True, False])
def test_a_batch_is_its_samples(shared: bool) -> None:
    """Also of sizes that shrink differently, and of one picture for all."""
    pictures = noise(1 if shared else 6, 3, *SIZE).float()
    K = some_cameras(6).float()
    centre = torch.tensor([300.0, 200.0])
    half = torch.tensor([10.0, 30, 300, 20, 900, 90])[:, None]
    crop = crop_towards(torch.cat([centre - half, centre + half], 1), K, 40, how="none")
    H = crop.crop_from_full
    together = warp_pictures(pictures, H, (40, 40))
    for index in range(6):
        alone = warp_pictures(pictures[:1] if shared else pictures[[index]], H[[index]], (40, 40))
        torch.testing.assert_close(together[[index]], alone, rtol=0, atol=1e-5)


def test_identity_changes_nothing_and_fine_patterns_turn_grey() -> None:
    picture = noise(1, 3, 30, 40)
    same = warp_pictures(picture, torch.eye(3).double()[None], (30, 40))
    torch.testing.assert_close(same, picture, rtol=0, atol=1e-12)
    board = (torch.arange(512)[:, None] + torch.arange(512)) % 2 * 1.0
    for shrink in (3.0, 7.3, 16.0):
        H = torch.diag(torch.tensor([1 / shrink, 1 / shrink, 1.0]))
        small = warp_pictures(board[None, None], H[None], (30, 30))[..., 2:-2, 2:-2]
        assert float((small - 0.5).abs().max()) < 0.15


def test_what_a_turn_shrinks_turns_grey_too() -> None:
    """Far from the axis flat pictures are stretched, so their turned crops have fewer pixels."""
    picture = (torch.rand(1, 600, 800) > 0.5).to(torch.uint8).mul(255).expand(3, 600, 800)
    K = torch.tensor([[180.0, 0, 60], [0, 180, 60], [0, 0, 1]]).double()
    R = turn_towards(torch.tensor([480.0, 400.0]).double(), K)
    H = homography(R, K, torch.tensor([[190.0, 0, 20], [0, 190, 20], [0, 0, 1]]).double())
    batch = warp_pictures(picture[None], H[None], (41, 41))[0, 0].numpy()
    single = warp_image(picture.permute(1, 2, 0).contiguous().numpy(), H.numpy(), (41, 41))[..., 0]
    for drawn in (batch, single):
        assert drawn[13:28, 13:28].std() < 30  # 127.5 before; each shows some 30 pixels


def test_pixels_keep_their_places_when_pictures_shrink() -> None:
    """The weight of a soft dot is where the homography puts its centre."""
    y, x = torch.meshgrid(torch.arange(400.0), torch.arange(400.0), indexing="ij")
    for shrink in (0.5, 1.0, 1.7, 2.0, 5.0):
        dot = torch.exp(-((x - 203.3) ** 2 + (y - 187.6) ** 2) / 2 / (6 * shrink) ** 2)
        middle = 30.0
        H = torch.tensor(
            [
                [1 / shrink, 0, middle - 203.3 / shrink],
                [0, 1 / shrink, middle - 187.6 / shrink],
                [0, 0, 1],
            ]
        )
        drawn = warp_pictures(dot[None, None], H[None], (61, 61))[0, 0]
        columns, rows = drawn.sum(0), drawn.sum(1)
        for weights in (columns, rows):
            centre = float((weights * torch.arange(61)).sum() / weights.sum())
            assert centre == pytest.approx(middle, abs=0.05)


def test_labels_are_those_of_the_nearest_pixels() -> None:
    labels = torch.randint(0, 20, (5, *SIZE), dtype=torch.uint8)
    crop = crop_towards(some_boxes(5), some_cameras(5), 64)
    found = crop.labels(labels, 255)
    for index in range(5):
        H = crop.crop_from_full[index].numpy()
        expected = warp_labels_numpy(labels[index].numpy(), H, (64, 64), 255)
        assert (found[index].numpy() == expected).mean() > 0.999  # rounding between two pixels
    one_for_all = crop.labels(labels[:1], 255)
    torch.testing.assert_close(one_for_all[0], found[0])


def test_derivatives_of_the_warp() -> None:
    """By the picture and by the camera's turn, in a picture that bilinear steps cannot kink."""
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    ramp = (0.03 * x + 0.02 * y)[None, None].double().requires_grad_()
    point = torch.tensor([[12.3, 11.1]], dtype=torch.float64, requires_grad=True)
    K = torch.tensor([[30.0, 0, 11.5], [0, 30, 11.5], [0, 0, 1]]).double()[None]

    def drawn(picture: Tensor, point: Tensor) -> Tensor:
        K_new = torch.tensor([[80.0, 0, 3.5], [0, 80, 3.5], [0, 0, 1]]).double()[None]
        return warp_pictures(picture, homography(turn_towards(point, K), K, K_new), (8, 8))

    assert torch.autograd.gradcheck(drawn, (ramp, point))


def test_pictures_agree_with_the_released_code(reference_fixtures: Path) -> None:
    """Its pictures are drawn without averaging, by another version of OpenCV."""
    path = reference_fixtures / "perspose" / "pr.pt"
    for case in torch.load(path, weights_only=True)["image_cases"]:
        H, image = case["perspective_2d"], case["image_rgb"]
        found = warp_image(image.numpy(), H.numpy(), (256, 256)).astype(int)
        shrinks = float(case["K_crop"][0, 0] / case["K"][0, 0]) < 1
        difference = np.abs(found - case["crop_rgb_u8"].numpy())
        batch = warp_pictures(image.permute(2, 0, 1)[None], H[None], (256, 256))[0]
        other = np.abs(batch.permute(1, 2, 0).numpy().astype(int) - case["crop_rgb_u8"].numpy())
        for error in (difference, other):
            assert error.mean() < (20.0 if shrinks else 1.0)
