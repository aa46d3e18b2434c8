"""Pictures and label maps under homographies, in batches and differentiable.

Everything is drawn once, straight from the full pictures: crops are never resampled twice.
"""

import math

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F

MAX_OCTAVES = 5  # pictures that shrink more than 64-fold start to show chance patterns
_NO_SHRINKING = -1  # instead of an octave
_ALMOST = 1e-3  # octaves: rounding must not cost four times the samples
_FAR = 4.0  # in the units of `grid_sample`: beyond every picture
_IN_FRONT = 1e-6  # of the third coordinate; behind, pictures would appear upside down


def warp_pictures(
    pictures: Float[Tensor, "P C H W"] | UInt8[Tensor, "P C H W"],
    to_from: Float[Tensor, "B 3 3"],
    size: tuple[int, int],
) -> Tensor:  # (B, C, h, w), of the pictures' type
    """Pictures under homographies of their pixels, black where they show nothing.

    One picture for each homography, or one for all. Where pictures shrink, their pixels are
    averaged first: by octaves over the source, and over four samples per pixel for the rest.
    Bytes are rounded; for gradients give floats.
    """
    assert len(pictures) in (1, len(to_from)), (pictures.shape, to_from.shape)
    octaves = _octaves(to_from.detach(), size)
    levels = sorted(set(octaves))
    if len(levels) == 1:
        return _warp_level(pictures, to_from, size, levels[0])
    order = [torch.tensor([i for i, o in enumerate(octaves) if o == level]) for level in levels]
    parts = [
        _warp_level(pictures if len(pictures) == 1 else pictures[rows], to_from[rows], size, level)
        for rows, level in zip(order, levels, strict=True)
    ]
    return torch.cat(parts)[torch.cat(order).argsort()]


def warp_labels(
    labels: Shaped[Tensor, "P H W"],
    to_from: Float[Tensor, "B 3 3"],
    size: tuple[int, int],
    outside: int,
) -> Shaped[Tensor, "B h w"]:  # of the labels' type
    """Label maps under homographies of their pixels: nearest labels, never a mix."""
    assert len(labels) in (1, len(to_from)), (labels.shape, to_from.shape)
    places = _places(torch.linalg.inv(to_from), size, 1)
    column, row = (places[..., axis].add(0.5).floor() for axis in (0, 1))
    height, width = labels.shape[1:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    row, column = (torch.where(inside, index, 0.0).long() for index in (row, column))
    which = torch.arange(len(to_from), device=labels.device) if len(labels) > 1 else 0
    which = torch.as_tensor(which, device=labels.device).reshape(-1, 1, 1)
    return torch.where(inside, labels[which, row, column], outside).to(labels.dtype)


def _octaves(to_from: Float[Tensor, "B 3 3"], size: tuple[int, int]) -> list[int]:
    """How often each picture can be halved before it has fewer pixels than its crop, there.

    What counts is the middle of the crop; a homography shrinks elsewhere more or less.
    """
    middle = to_from.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2, 1.0])
    back = torch.linalg.inv(to_from)
    # det(J) of a homography is det(H) / w^3; here how many source pixels make one of the crop.
    area = torch.linalg.det(back).abs() / (back @ middle)[:, 2].abs().clamp_min(_IN_FRONT) ** 3
    octave = (area.log2() / 2 + _ALMOST).floor().clamp(0, MAX_OCTAVES)
    octave = torch.where(area.log2() / 2 > _ALMOST, octave, _NO_SHRINKING)
    return [int(level) for level in octave.tolist()]


def _warp_level(
    pictures: Tensor, to_from: Float[Tensor, "B 3 3"], size: tuple[int, int], octave: int
) -> Tensor:
    """Crops that all shrink by 2^octave to 2^(octave + 1), or all do not."""
    source = pictures if pictures.is_floating_point() else pictures.float()
    back = torch.linalg.inv(to_from)
    if octave > 0:
        factor = 2**octave
        source = F.avg_pool2d(_padded(source, factor), factor)
        coarser = back.new_tensor(
            [[1, 0, (1 - factor) / 2], [0, 1, (1 - factor) / 2], [0, 0, factor]]
        )
        back = coarser @ back
    times = 1 if octave == _NO_SHRINKING else 2
    height, width = source.shape[-2:]
    grid = _grid(_places(back, size, times), (height, width)).to(source.dtype)
    shared = len(source) == 1  # one tall picture of all crops spares copies of the source
    sampled = F.grid_sample(
        source, grid.flatten(0, 1)[None] if shared else grid, align_corners=False
    )
    if shared:
        sampled = sampled[0].unflatten(1, (len(to_from), -1)).transpose(0, 1)
    drawn = F.avg_pool2d(sampled, times)
    return drawn if pictures.is_floating_point() else drawn.round().clamp(0, 255).to(pictures.dtype)


def _padded(pictures: Float[Tensor, "P C H W"], factor: int) -> Float[Tensor, "P C h w"]:
    """Black pixels to the right and below, for a size that can be divided."""
    height, width = pictures.shape[-2:]
    return F.pad(pictures, (0, -width % factor, 0, -height % factor))


def _places(
    back: Float[Tensor, "B 3 3"], size: tuple[int, int], times: int
) -> Float[Tensor, "B h w 2"]:
    """Where in the source each sample of the crops is; `times` squared samples per pixel.

    Samples that look behind the source's camera are far outside.
    """
    y, x = (
        (torch.arange(length * times, dtype=back.dtype, device=back.device) + 0.5) / times - 0.5
        for length in size
    )
    rows = y[:, None, None] * back[:, None, None, :, 1] + back[:, None, None, :, 2]
    places = rows + x[None, None, :, None] * back[:, None, None, :, 0]
    in_front = places[..., 2:] > _IN_FRONT
    depth = torch.where(in_front, places[..., 2:], 1.0)
    return torch.where(in_front, places[..., :2] / depth, -math.inf)


def _grid(places: Float[Tensor, "B h w 2"], size: tuple[int, int]) -> Float[Tensor, "B h w 2"]:
    """Pixels as `grid_sample` counts them, kept away from its undefined far distances."""
    height, width = size
    sides = places.new_tensor([width, height])
    return ((2 * places + 1) / sides - 1).clamp(-_FAR, _FAR)
