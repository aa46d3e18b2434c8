"""The camera's faults: each one alone, and JPEG against a real encoder."""

import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from meshreg.data.synthetic.blur import blur_picture, lower_resolution, motion_blur
from meshreg.data.synthetic.degrade import Degradation, degrade, sample_degradation
from meshreg.data.synthetic.develop import quantised, soften_highlights, to_linear, to_srgb
from meshreg.data.synthetic.jpeg import jpeg
from meshreg.data.synthetic.noise import fractal_noise
from meshreg.data.synthetic.streams import stream


def scene(height: int = 64, width: int = 80, seed: int = 0) -> Tensor:
    """A picture in 0..1 with soft and hard parts."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    cells = torch.stack([x, y], -1) / 17.0
    channels = [0.5 + 0.45 * fractal_noise(cells, seed=seed + c) for c in range(3)]
    picture = torch.stack(channels, -1)
    picture[20:40, 30:55] = torch.tensor([0.8, 0.25, 0.15])
    return picture.clamp(0, 1)


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * torch.log10((a - b).square().mean()))


def real_jpeg(picture: Tensor, quality: int) -> Tensor:
    buffer = io.BytesIO()
    Image.fromarray(quantised(picture).numpy()).save(
        buffer, "JPEG", quality=quality, subsampling="4:2:0"
    )
    return torch.from_numpy(np.array(Image.open(buffer))).float() / 255


@pytest.mark.parametrize("quality", [20, 50, 75, 92])
@pytest.mark.parametrize("size", [(64, 80), (51, 67)])
def test_jpeg_is_that_of_a_real_encoder(quality: int, size: tuple[int, int]) -> None:
    picture = scene(*size)
    ours = jpeg(picture[None], torch.tensor([float(quality)]))[0]
    real = real_jpeg(picture, quality)
    assert psnr(ours, real) > 40
    assert psnr(ours, real) > psnr(picture, real) + 6
    wrong = jpeg(picture[None], torch.tensor([quality - 8.0]))[0]
    assert psnr(wrong, real) < psnr(ours, real) - 4  # a planted error is noticed


def test_jpeg_qualities_do_not_mix() -> None:
    pictures = torch.stack([scene(seed=0), scene(seed=4)])
    together = jpeg(pictures, torch.tensor([30.0, 90.0]))
    for k, quality in enumerate((30.0, 90.0)):
        alone = jpeg(pictures[k : k + 1], torch.tensor([quality]))[0]
        assert (alone - together[k]).abs().max() <= 1.01 / 255


def test_srgb_round_trip_and_known_values() -> None:
    values = torch.linspace(0, 1, 300)[:, None].expand(300, 3)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, atol=1e-5, rtol=0)
    assert to_linear(torch.full((1, 3), 0.5))[0, 0].item() == pytest.approx(0.21404, abs=1e-5)


def test_highlights_roll_off_without_touching_the_rest() -> None:
    light = torch.linspace(0, 20, 2000)[:, None].expand(2000, 3)
    soft = soften_highlights(light)
    torch.testing.assert_close(soft[light <= 0.5], light[light <= 0.5])
    assert (soft.diff(dim=0) > -1e-7).all() and soft.max() < 1


def test_a_perfect_camera_only_develops() -> None:
    light = to_linear(scene())[None]
    wanted = to_srgb(soften_highlights(light))
    torch.testing.assert_close(degrade(light, [Degradation()]), wanted, atol=1e-5, rtol=0)


def test_samples_do_not_see_their_neighbours() -> None:
    light = torch.stack([to_linear(scene(seed=k)) for k in range(4)])
    cameras = [
        dataclasses.replace(
            sample_degradation(stream(2, k, "camera")),
            motion=1.0 * k,
            defocus=0.3 * k,
            shrink=1 + k / 2,
        )
        for k in range(4)
    ]
    together = degrade(light, cameras)
    assert torch.equal(together, degrade(light, cameras))
    assert together.min() >= 0 and together.max() <= 1
    for k, camera in enumerate(cameras):
        alone = degrade(light[k : k + 1], [camera])[0]
        # Rounding may tip a compressed coefficient over to the next step, here and there.
        assert ((alone - together[k]).abs() > 0.02).float().mean() < 0.01


def test_noise_is_as_strong_as_said() -> None:
    light = torch.full((2, 128, 128, 3), 0.04)
    light[1] = 0.36
    camera = Degradation(read_noise=0.003, shot_noise=0.04, seed=5)
    seen = to_linear(degrade(light, [camera, camera]))
    for k, level in enumerate((0.04, 0.36)):
        wanted = math.sqrt(0.003**2 + 0.04**2 * level)
        assert seen[k].std().item() == pytest.approx(wanted, rel=0.05)
        assert seen[k].mean().item() == pytest.approx(level, abs=0.001)
    other = degrade(light[:1], [dataclasses.replace(camera, seed=6)])
    assert (other - degrade(light[:1], [camera])).abs().mean() > 0.005


def test_gaussian_blur_spreads_by_sigma() -> None:
    picture = torch.zeros(3, 65, 81, 3)
    picture[:, 32, 40] = 1
    sigma = torch.tensor([0.0, 1.5, 4.0])
    blurred = blur_picture(picture, sigma)
    assert torch.equal(blurred[0], picture[0])
    x = torch.arange(81.0) - 40
    for k in (1, 2):
        assert blurred[k].sum().item() == pytest.approx(3, rel=1e-4)
        line = blurred[k, ..., 0].sum(0)
        assert (line * x.square()).sum().sqrt().item() == pytest.approx(sigma[k].item(), rel=0.01)
    flat = blur_picture(torch.full((1, 9, 9, 3), 0.7), torch.tensor([3.0]))
    torch.testing.assert_close(flat, torch.full_like(flat, 0.7))


def test_motion_blur_runs_along_its_angle() -> None:
    picture = torch.zeros(3, 41, 41, 3)
    picture[:, 20, 20] = 1
    smeared = motion_blur(
        picture, torch.tensor([0.0, 8.0, 8.0]), torch.tensor([0.0, 0.0, math.pi / 2])
    )
    assert torch.equal(smeared[0], picture[0])
    along = smeared[1, 20, :, 0]
    assert (along > 0.05).sum() == 9 and smeared[1].sum().item() == pytest.approx(3, rel=1e-4)
    torch.testing.assert_close(smeared[1].transpose(0, 1), smeared[2], atol=1e-5, rtol=0)


def test_lower_resolution_averages_large_pixels() -> None:
    picture = scene(48, 64)[None]
    same = lower_resolution(picture, torch.ones(1))
    assert torch.equal(same, picture)
    small = torch.nn.functional.avg_pool2d(picture.permute(0, 3, 1, 2), 4)
    wanted = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear")
    found = lower_resolution(picture, torch.tensor([4.0])).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    ragged = lower_resolution(torch.full((1, 50, 37, 3), 0.3), torch.tensor([2.7]))
    torch.testing.assert_close(ragged, torch.full_like(ragged, 0.3))


def test_white_balance_vignette_and_saturation() -> None:
    grey = torch.full((1, 33, 33, 3), 0.2)
    warm = degrade(grey, [Degradation(warmth=0.1)])[0, 16, 16]
    assert warm[0] > warm[1] > warm[2]
    dark = to_linear(degrade(grey, [Degradation(vignette=0.3)]))[0]
    assert dark[16, 16, 0].item() == pytest.approx(0.2, abs=1e-3)
    assert dark[0, 0, 0].item() == pytest.approx(0.14, abs=1e-3)
    red = torch.tensor([0.4, 0.1, 0.1]).expand(1, 8, 8, 3)
    plain = degrade(red, [Degradation(saturation=0.0)])
    torch.testing.assert_close(plain[..., 0], plain[..., 2])


def test_strength_zero_is_a_perfect_camera() -> None:
    for k in range(5):
        camera = sample_degradation(stream(0, k, "camera"), strength=0.0)
        assert dataclasses.replace(camera, seed=0, motion_angle=0.0) == Degradation()
