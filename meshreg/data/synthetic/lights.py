"""Light that falls on people: a key, a fill and the glow of sky and ground, in linear units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.data.synthetic.fabric import Skin
from meshreg.data.synthetic.palettes import Rgb

SETTINGS = ("sun", "overcast", "indoor", "evening", "flash")
OUTDOOR = ("sun", "overcast", "evening")


@dataclass(frozen=True)
class Light:
    """One picture's light as plain numbers; angles in radians, strengths linear RGB.

    A white wall square to the key alone has radiance `key`. Azimuth 0 shines from behind the
    camera, a quarter turn from the right of the picture.
    """

    azimuth: float
    elevation: float
    key: Rgb
    fill_azimuth: float
    fill_elevation: float
    fill: Rgb
    sky: Rgb
    ground: Rgb
    hardness: float  # 1: sharp shadows of the key; 0: hardly any


@dataclass(frozen=True, eq=False)
class Lights:
    """The light on each person, in the camera's frame; directions lead towards the light."""

    key_direction: Float[Tensor, "P 3"]
    key: Float[Tensor, "P 3"]
    fill_direction: Float[Tensor, "P 3"]
    fill: Float[Tensor, "P 3"]
    sky: Float[Tensor, "P 3"]
    ground: Float[Tensor, "P 3"]
    up: Float[Tensor, "P 3"]
    hardness: Float[Tensor, " P"]


# Strength of key, fill, sky and ground light; warmth of key and sky; elevation of the key in
# degrees; hardness. Warmth 0 is neutral, positive is orange, negative is blue.
_RECIPES = {
    "sun": ((1.1, 1.6), 0.10, (0.30, 0.50), (0.10, 0.3), 0.07, -0.20, (18.0, 70.0), (0.85, 1.0)),
    "overcast": ((0.20, 0.50), 0.1, (0.85, 1.1), (0.2, 0.45), 0.0, -0.06, (40.0, 85.0), (0.1, 0.3)),
    "indoor": ((0.55, 1.0), 0.3, (0.40, 0.65), (0.15, 0.4), 0.09, 0.03, (15.0, 65.0), (0.3, 0.8)),
    "evening": ((0.7, 1.2), 0.2, (0.32, 0.5), (0.1, 0.25), 0.28, -0.12, (5.0, 22.0), (0.6, 0.9)),
    "flash": ((0.8, 1.1), 0.1, (0.12, 0.25), (0.05, 0.15), 0.0, 0.1, (0.0, 14.0), (0.8, 1.0)),
}


def _tint(rng: np.random.Generator, strength: float, warmth: float) -> Rgb:
    warmth = warmth + 0.10 * (2 * rng.random() - 1)
    green = 0.03 * (2 * rng.random() - 1)
    return (
        float(strength * (1 + 0.55 * warmth)),
        float(strength * (1 + green)),
        float(strength * (1 - 0.8 * warmth)),
    )


def sample_light(rng: np.random.Generator, setting: str) -> Light:
    """Draw a picture's light; `setting` is one of SETTINGS."""
    key, fill, sky, ground, warm_key, warm_sky, elevation, hard = _RECIPES[setting]

    def between(low: float, high: float) -> float:
        return float(low + (high - low) * rng.random())

    # Photographers mostly keep the light behind them or to one side.
    azimuth = between(-1.0, 1.0)
    azimuth = azimuth * (0.35 if setting == "flash" else 1.9 if rng.random() < 0.8 else 3.14)
    sky_rgb = _tint(rng, between(*sky), warm_sky)
    ground_rgb = _tint(rng, between(*ground), 0.12)
    return Light(
        azimuth=azimuth,
        elevation=float(np.radians(between(*elevation))),
        key=_tint(rng, between(*key), warm_key),
        fill_azimuth=float(-np.sign(azimuth)) * between(0.3, 1.8),
        fill_elevation=between(-0.2, 0.6),
        fill=_tint(rng, fill * between(0.4, 1.6), 0.05),
        sky=sky_rgb,
        ground=ground_rgb,
        hardness=between(*hard),
    )


def level_axes(up: Float[Tensor, "P 3"]) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """The horizontal directions to the picture's right and away from the camera."""
    axis = up.new_tensor((0.0, 0.0, 1.0)).expand_as(up)
    forward = axis - torch.linalg.vecdot(axis, up)[:, None] * up
    upward = up.new_tensor((0.0, -1.0, 0.0)).expand_as(up)  # for cameras that look straight down
    forward = normalize(torch.where(forward.norm(dim=1, keepdim=True) > 1e-3, forward, upward))
    return torch.linalg.cross(forward, up), forward


def _towards(azimuth: Tensor, elevation: Tensor, up: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3"]:
    """Unit vectors from angles around the vertical; the camera's axis is azimuth pi."""
    right, forward = level_axes(up)
    flat = azimuth.sin()[:, None] * right - azimuth.cos()[:, None] * forward
    return elevation.cos()[:, None] * flat + elevation.sin()[:, None] * up


def place_lights(lights: Sequence[Light], up: Float[Tensor, "P 3"]) -> Lights:
    """Bring lights into the frame of cameras for which `up` is the world's vertical (unit)."""

    def column(name: str) -> Tensor:
        values = [getattr(light, name) for light in lights]
        return torch.tensor(values, dtype=up.dtype, device=up.device)

    return Lights(
        key_direction=_towards(column("azimuth"), column("elevation"), up),
        key=column("key"),
        fill_direction=_towards(column("fill_azimuth"), column("fill_elevation"), up),
        fill=column("fill"),
        sky=column("sky"),
        ground=column("ground"),
        up=up,
        hardness=column("hardness"),
    )


def shade(  # noqa: PLR0913
    skin: Skin,
    normal: Float[Tensor, "N 3"],
    toward_eye: Float[Tensor, "N 3"],
    lights: Lights,
    person: Tensor,
    lit: Float[Tensor, " N"],
    openness: Float[Tensor, " N"],
) -> Float[Tensor, "N 3"]:
    """Radiance of points towards the eye.

    `lit` is the share of the key that reaches a point, `openness` that of the sky and ground.
    """
    hard = lights.hardness[person]
    lit = 1 - hard.sqrt() * (1 - lit)
    key, fill = lights.key[person] * lit[:, None], lights.fill[person]
    to_key, to_fill = lights.key_direction[person], lights.fill_direction[person]
    upward = 0.5 + 0.5 * torch.linalg.vecdot(normal, lights.up[person])
    around = torch.lerp(lights.ground[person], lights.sky[person], upward[:, None])
    # Light that leaves skin elsewhere than it came in reddens the terminator.
    soft = skin.softness[:, None] * normal.new_tensor((0.30, 0.12, 0.07))
    wrap = soft + (0.08 + 0.30 * (1 - hard))[:, None]
    cosine = torch.linalg.vecdot(normal, to_key)[:, None]
    diffuse = key * ((cosine + wrap) / (1 + wrap)).clamp(min=0)
    fill_cosine = (torch.linalg.vecdot(normal, to_fill) + 0.3).clamp(min=0) / 1.3
    diffuse = diffuse + (fill * fill_cosine[:, None] + around) * _bounce(skin.albedo, openness)
    facing = torch.linalg.vecdot(normal, toward_eye).clamp(0.02, 1)
    fresnel = (1 - facing) ** 5
    gloss = skin.specular + (1 - skin.roughness) ** 2 * fresnel * 0.6
    rim = gloss + skin.sheen * (1 - facing) ** 3
    shine = _highlight(normal, toward_eye, to_key, skin)[:, None] * key
    mirror = (rim * openness)[:, None] * (0.5 * around + 0.5 * lights.sky[person])
    return skin.albedo * diffuse + shine + mirror


def _bounce(albedo: Tensor, openness: Tensor) -> Tensor:
    """Openness per channel: light bounced inside hollows takes on the surface's colour."""
    closed = (1 - openness)[:, None]
    return openness[:, None] + 0.55 * albedo * closed * openness[:, None]


def _highlight(normal: Tensor, toward_eye: Tensor, to_key: Tensor, skin: Skin) -> Tensor:
    """The key's reflection: microfacets (GGX) with Kelemen's visibility."""
    half = normalize(toward_eye + to_key, dim=1)
    alpha = skin.roughness.square().square()
    across = torch.linalg.vecdot(normal, half).clamp(0, 1).square()
    spread = alpha / (across * (alpha - 1) + 1).square().clamp(min=1e-5)
    grazing = torch.linalg.vecdot(to_key, half).clamp(0.1, 1)
    fresnel = skin.specular + (1 - skin.specular) * (1 - grazing) ** 5
    cosine = torch.linalg.vecdot(normal, to_key).clamp(0, 1)
    return (spread * fresnel * cosine / (4 * grazing.square())).clamp(max=4)
