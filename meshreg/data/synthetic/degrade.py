"""What a camera does to light: exposure, lens, sensor, processing and compression."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.data.synthetic.blur import blur_picture, lower_resolution, motion_blur
from meshreg.data.synthetic.develop import soften_highlights, to_srgb
from meshreg.data.synthetic.jpeg import jpeg
from meshreg.data.synthetic.noise import lattice_bits, normal


@dataclass(frozen=True)
class Degradation:
    """One picture's camera as plain numbers; the defaults are a perfect one."""

    exposure: float = 1.0  # factor of linear light
    warmth: float = 0.0  # white balance: positive is orange, negative blue
    green: float = 0.0  # white balance: positive is green, negative magenta
    vignette: float = 0.0  # share of light lost in the corners
    defocus: float = 0.0  # sigma of the whole picture's blur, pixels
    motion: float = 0.0  # length of motion blur, pixels
    motion_angle: float = 0.0  # radians
    shrink: float = 1.0  # factor by which the resolution was lowered
    read_noise: float = 0.0  # standard deviation in darkness, linear light
    shot_noise: float = 0.0  # standard deviation at full light beyond that, linear light
    contrast: float = 1.0
    saturation: float = 1.0
    gamma: float = 1.0
    quality: float = 101.0  # of JPEG compression, 1..100; above 100: none
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Degradations:
    """The cameras of a batch; fields as in `Degradation`."""

    exposure: Float[Tensor, " B"]
    warmth: Float[Tensor, " B"]
    green: Float[Tensor, " B"]
    vignette: Float[Tensor, " B"]
    defocus: Float[Tensor, " B"]
    motion: Float[Tensor, " B"]
    motion_angle: Float[Tensor, " B"]
    shrink: Float[Tensor, " B"]
    read_noise: Float[Tensor, " B"]
    shot_noise: Float[Tensor, " B"]
    contrast: Float[Tensor, " B"]
    saturation: Float[Tensor, " B"]
    gamma: Float[Tensor, " B"]
    quality: Float[Tensor, " B"]
    seed: Int[Tensor, " B"]


def sample_degradation(
    rng: np.random.Generator, *, strength: float = 1.0, size: int = 224
) -> Degradation:
    """Draw a camera; `strength` 0 is nearly perfect, 1 as bad as pictures from the internet."""
    u = rng.random(20)
    pixels = size / 224  # blur is a matter of angles, not of pixels

    def sometimes(k: int, probability: float, low: float, high: float) -> float:
        worth = u[k] < probability * strength
        return (
            float(low + (high - low) * u[k] / max(probability * strength, 1e-9)) if worth else 0.0
        )

    return Degradation(
        exposure=float(2 ** ((2 * u[0] - 1) * 0.6 * strength)),
        warmth=float((2 * u[1] - 1) * 0.14 * strength),
        green=float((2 * u[2] - 1) * 0.04 * strength),
        vignette=sometimes(3, 0.4, 0.02, 0.4),
        defocus=sometimes(4, 0.35, 0.3, 1.6) * pixels,
        motion=sometimes(5, 0.15, 1.5, 7.0) * pixels,
        motion_angle=float(u[6] * np.pi),
        shrink=1.0 + sometimes(7, 0.25, 0.2, 2.5),
        read_noise=float(0.010 * u[8] ** 3 * strength),
        shot_noise=float(0.05 * u[9] ** 2.5 * strength),
        contrast=float(1 + (2 * u[10] - 1) * 0.25 * strength),
        saturation=float(1 + (2 * u[11] - 1) * 0.35 * strength),
        gamma=float(2 ** ((2 * u[12] - 1) * 0.25 * strength)),
        quality=float(np.floor(28 + 70 * u[13] ** 0.7)) if u[14] < 0.8 * strength else 101.0,
        seed=int(rng.integers(2**30)),
    )


def stack_degradations(
    degradations: Sequence[Degradation], device: torch.device | str = "cpu"
) -> Degradations:
    """The cameras of a batch as tensors."""

    def column(name: str) -> Tensor:
        values = [getattr(one, name) for one in degradations]
        kind = torch.int64 if name == "seed" else torch.float32
        return torch.tensor(values, dtype=kind, device=device)

    return Degradations(**{f.name: column(f.name) for f in fields(Degradations)})


def degrade(
    linear: Float[Tensor, "B H W 3"], degradations: Sequence[Degradation]
) -> Float[Tensor, "B H W 3"]:
    """Photograph linear light: sRGB in 0..1."""
    camera = stack_degradations(degradations, linear.device)
    light = linear * _lens(camera, (linear.shape[1], linear.shape[2]))
    light = blur_picture(light, camera.defocus)
    light = motion_blur(light, camera.motion, camera.motion_angle)
    light = lower_resolution(light, camera.shrink)
    light = light + _sensor_noise(light, camera)
    picture = _processed(to_srgb(soften_highlights(light)), camera)
    index = (camera.quality <= 100).nonzero()[:, 0]
    if len(index) == 0:
        return picture
    return picture.index_copy(0, index, jpeg(picture[index], camera.quality[index]))


def _lens(camera: Degradations, size: tuple[int, int]) -> Float[Tensor, "B H W 3"]:
    """Exposure, white balance and the light lost towards the corners."""
    gain = (
        torch.stack([1 + camera.warmth, 1 + camera.green, 1 - 1.2 * camera.warmth], -1)
        * camera.exposure[:, None]
    )
    y = torch.linspace(-1, 1, size[0], device=gain.device)
    x = torch.linspace(-1, 1, size[1], device=gain.device)
    corner = (y[:, None].square() + x.square()) / 2
    fall = 1 - camera.vignette[:, None, None] * corner
    return fall[..., None] * gain[:, None, None]


def _sensor_noise(
    light: Float[Tensor, "B H W 3"], camera: Degradations
) -> Float[Tensor, "B H W 3"]:
    """Noise that grows with the square root of light, over a floor; hashed from pixel and seed."""
    _, height, width, _ = light.shape
    place = torch.arange(height * width * 3, device=light.device, dtype=torch.int32)
    seeds = camera.seed[:, None]
    grain = normal(lattice_bits(place[None], seed=seeds)).view_as(light)
    read, shot = (s[:, None, None, None] for s in (camera.read_noise, camera.shot_noise))
    return grain * (read.square() + shot.square() * light.clamp(0, 1)).sqrt()


def _processed(picture: Float[Tensor, "B H W 3"], camera: Degradations) -> Float[Tensor, "B H W 3"]:
    """Gamma, contrast about middle grey and saturation."""
    gamma, contrast, saturation = (
        s[:, None, None, None] for s in (camera.gamma, camera.contrast, camera.saturation)
    )
    changed = (camera.gamma - 1).abs().max() > 0
    picture = picture.clamp(min=1e-4) ** gamma if changed else picture
    picture = 0.45 + contrast * (picture - 0.45)
    grey = (picture @ picture.new_tensor((0.299, 0.587, 0.114)))[..., None]
    return (grey + saturation * (picture - grey)).clamp(0, 1)
