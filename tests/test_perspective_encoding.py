"""The map of rays: against a loop, published numbers, mirrors, and inside a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from reference import perspective as plain
from torch import Tensor, nn
from turned_cameras import some_cameras

from meshreg.geometry.cameras import crop_intrinsics, flip_intrinsics, resize_intrinsics
from meshreg.geometry.ray_map import ray_map
from meshreg.models.perspective_encoding import PerspectiveEncoding


@pytest.mark.parametrize("cells", [64, 7, 1])
def test_cells_look_along_their_rays(cells: int) -> None:
    K = some_cameras(3)
    found = ray_map(K, (224, 224), (cells, cells))
    for rays, matrix in zip(found, K, strict=True):
        np.testing.assert_allclose(rays, plain.ray_map(matrix.numpy(), 224, cells), atol=1e-12)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_oblong_pictures_and_any_batch(batch: tuple[int, ...]) -> None:
    K = some_cameras(*batch)
    rays = ray_map(K, (96, 64), (6, 4))
    assert rays.shape == (*batch, 2, 6, 4)
    step = rays[..., 0, 0, 1:] - rays[..., 0, 0, :-1]
    torch.testing.assert_close(step, (16 / K[..., 0, 0, None]).expand_as(step))


def test_mirrored_pictures_have_mirrored_maps() -> None:
    K = some_cameras(4)
    rays, mirrored = (ray_map(k, (224, 224), (56, 56)) for k in (K, flip_intrinsics(K, 224)))
    torch.testing.assert_close(mirrored[:, 0], -rays[:, 0].flip(-1))
    torch.testing.assert_close(mirrored[:, 1], rays[:, 1].flip(-1))


def test_crops_and_sizes_of_a_picture_do_not_change_where_its_parts_look() -> None:
    K = some_cameras(4)
    rays = ray_map(K, (64, 64), (16, 16))
    torch.testing.assert_close(ray_map(resize_intrinsics(K, 3.0, 3.0), (192, 192), (16, 16)), rays)
    part = ray_map(crop_intrinsics(K, 16.0, 32.0), (32, 32), (8, 8))
    torch.testing.assert_close(part, rays[:, :, 8:, 4:12])


def test_unknown_cameras_give_zeros_and_no_gradient() -> None:
    K = some_cameras(3)
    K[1] = float("nan")
    K = K.requires_grad_()
    rays = ray_map(K, (64, 64), (8, 8), known=torch.tensor([True, False, False]))
    assert not rays[1:].any() and rays[0].any()
    rays.sum().backward()
    assert torch.isfinite(K.grad).all() and float(K.grad[1:].abs().max()) == 0


def test_derivatives_of_the_map() -> None:
    K = some_cameras(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda K: ray_map(K, (16, 16), (3, 2)), (K,))


def test_maps_agree_with_the_released_code(reference_fixtures: Path) -> None:
    given = torch.load(reference_fixtures / "perspose" / "pe.pt", weights_only=True)
    K = crop_intrinsics(given["K_crop"].double(), 0.5, 0.5)  # there the first pixel's centre is 0.5
    known = given["known_camera"]
    assert known.any() and not known.all()
    for name, matrix in (("map", K), ("map_flip", flip_intrinsics(K, 256))):
        rays = ray_map(matrix, (256, 256), (64, 64), known=known)
        torch.testing.assert_close(rays, given[name].double(), rtol=1e-5, atol=2e-6)


# --- in a network ---------------------------------------------------------------------------------
def test_the_module_adds_the_map_through_its_weights() -> None:
    features, K = torch.randn(2, 5, 14, 14), some_cameras(2).float()
    encoding = PerspectiveEncoding(channels=5, image_size=224)
    expected = features.clone()
    rays = ray_map(K, (224, 224), (14, 14))
    weight = encoding.project.weight[..., 0, 0]
    for channel in range(5):
        expected[:, channel] += weight[channel, 0] * rays[:, 0] + weight[channel, 1] * rays[:, 1]
    torch.testing.assert_close(encoding(features, K), expected)
    assert (
        sum(p.numel() for p in PerspectiveEncoding(channels=256, image_size=256).parameters())
        == 512
    )
    unknown = encoding(features, K, torch.tensor([True, False]))
    torch.testing.assert_close(unknown[1], features[1])
    assert not torch.equal(unknown[0], features[0])


def test_trained_networks_can_begin_without_it_and_learn() -> None:
    features, K = torch.randn(2, 5, 14, 14), some_cameras(2).float()
    encoding = PerspectiveEncoding(channels=5, image_size=(224, 224), start_at_zero=True)
    encoded = encoding(features, K)
    torch.testing.assert_close(encoded, features)
    encoded.square().sum().backward()
    assert float(encoding.project.weight.grad.abs().min()) > 0


def test_half_precision_features_stay_so() -> None:
    encoding = PerspectiveEncoding(channels=4, image_size=64)
    features, K = torch.randn(1, 4, 8, 8), some_cameras(1)
    assert encoding(features.bfloat16(), K).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert encoding(features, K.float()).dtype == torch.float32
    assert encoding.double()(features.double(), K).dtype == torch.float64


def test_the_encoding_tells_focal_lengths_apart() -> None:
    """Same pixels, other cameras: what a network without it cannot know, it learns with it."""

    def learned(encoded: bool) -> float:
        torch.manual_seed(0)
        encoding = PerspectiveEncoding(channels=8, image_size=32, start_at_zero=not encoded)
        encoding.requires_grad_(encoded)
        head = nn.Sequential(
            nn.ReLU(), nn.Conv2d(8, 16, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1)
        )
        optimiser = torch.optim.Adam([*encoding.parameters(), *head.parameters()], 1e-2)
        error = torch.tensor(1.0)
        for _ in range(200):
            tangent = 0.2 + torch.rand(32, 1)
            error = (
                (head(encoding(torch.zeros(32, 8, 8, 8), cameras(tangent))) - tangent)
                .square()
                .mean()
            )
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
        return float(error.detach())

    def cameras(tangent: Tensor) -> Tensor:
        K = torch.eye(3).expand(32, 3, 3).clone()
        K[:, 0, 0] = K[:, 1, 1] = 16 / tangent[:, 0]
        K[:, :2, 2] = 15.5
        return K

    assert learned(True) < 0.05 * learned(False)
