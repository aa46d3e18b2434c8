"""What JPEG compression does to a picture, computed in torch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

# Tables K.1 and K.2 of ITU-T T.81, row by row.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55)
    + (14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62)
    + (18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92)
    + (49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99)
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99)
    + (24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99)
    + (99,) * 32
)
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
_FROM_YCC = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def quantisation_steps(quality: Float[Tensor, " B"], table: tuple[int, ...]) -> Tensor:
    """The steps (B, 64) that libjpeg derives from a quality of 1..100."""
    quality = quality.clamp(1, 100).floor()
    scale = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality)
    steps = (quality.new_tensor(table) * scale[:, None] + 50) / 100
    return steps.floor().clamp(1, 255)


def _cosines(device: torch.device, dtype: torch.dtype) -> Float[Tensor, "64 64"]:
    """The orthonormal 8x8 cosine transform of flattened blocks."""
    k = torch.arange(8, device=device, dtype=dtype)
    line = torch.cos((2 * k[None] + 1) * k[:, None] * (math.pi / 16)) / 2
    line[0] = line[0] / math.sqrt(2)
    return torch.kron(line, line)


def _compress_plane(
    plane: Float[Tensor, "B H W"], steps: Float[Tensor, "B 64"]
) -> Float[Tensor, "B H W"]:
    """Round the blocks' cosine coefficients to whole steps; sizes are multiples of 8."""
    num, height, width = plane.shape
    blocks = plane.reshape(num, height // 8, 8, width // 8, 8).transpose(2, 3).reshape(num, -1, 64)
    cosines = _cosines(plane.device, plane.dtype)
    wanted = steps[:, None]
    coefficients = ((blocks @ cosines.T) / wanted).round() * wanted
    blocks = (coefficients @ cosines).reshape(num, height // 8, width // 8, 8, 8)
    return blocks.transpose(2, 3).reshape(num, height, width)


def jpeg(srgb: Float[Tensor, "B H W 3"], quality: Float[Tensor, " B"]) -> Float[Tensor, "B H W 3"]:
    """Pictures (0..1) as they come back from JPEG files with halved colour resolution."""
    height, width = srgb.shape[1:3]
    rgb = (srgb.clamp(0, 1) * 255).round().permute(0, 3, 1, 2)
    rgb = pad(rgb, (0, -width % 16, 0, -height % 16), mode="replicate")
    ycc = torch.einsum("ij,bjhw->bihw", rgb.new_tensor(_TO_YCC), rgb).round()
    luma = _compress_plane(ycc[:, 0] - 128, quantisation_steps(quality, _LUMA)) + 128
    steps = quantisation_steps(quality, _CHROMA)
    small = avg_pool2d(ycc[:, 1:], 2).round()
    small = torch.stack([_compress_plane(small[:, c], steps) for c in (0, 1)], 1).round()
    chroma = interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    decoded = torch.cat([luma.round().clamp(0, 255)[:, None], chroma.clamp(-128, 127)], 1)
    back = torch.einsum("ij,bjhw->bhwi", rgb.new_tensor(_FROM_YCC), decoded)
    return (back.round().clamp(0, 255) / 255)[:, :height, :width]
