"""Between linear light and the sRGB numbers of picture files."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_linear(srgb: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Linear light of sRGB values in 0..1."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """The sRGB transfer curve; light outside 0..1 is cut off."""
    light = linear.clamp(0, 1)
    curved = 1.055 * light.clamp(min=0.003) ** (1 / 2.4) - 0.055
    return torch.where(light <= 0.0031308, light * 12.92, curved)


def soften_highlights(linear: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Roll bright light off below 1 as cameras do; light up to one half stays as it is."""
    over = (linear - 0.5).clamp(min=0)
    return linear.clamp(max=0.5) + over / (1 + over / 0.5)


def quantised(srgb: Float[Tensor, "*n 3"]) -> Tensor:
    """Whole numbers 0..255, as files store them."""
    return (srgb.clamp(0, 1) * 255).round().to(torch.uint8)
