"""Blur and loss of resolution, each sample with its own strength."""

import torch
from jaxtyping import Float
from torch import Tensor

_LONGEST = 31  # taps of the widest motion blur


def _gauss_rows(sigma: Float[Tensor, " B"], length: int) -> Float[Tensor, "B N N"]:
    """Matrices that blur a line of pixels; edges repeat the last pixel's neighbourhood."""
    place = torch.arange(length, device=sigma.device, dtype=sigma.dtype)
    gap = place[:, None] - place
    # A pixel is a box: at small sigmas the identity must come out, not a sampled spike.
    narrow = (sigma.square() + 1e-4)[:, None, None]
    weight = torch.exp(-0.5 * gap.square() / narrow)
    return weight / weight.sum(-1, keepdim=True)


def _resize_rows(factor: Float[Tensor, " B"], length: int) -> Float[Tensor, "B N N"]:
    """Matrices that average a line into larger pixels and interpolate back; factor 1 is none."""
    place = torch.arange(length, device=factor.device, dtype=factor.dtype)
    size = factor.clamp(min=1)[:, None, None]
    count = torch.ceil(length / size)
    cell = place[None, None, :]  # large pixels, as many as the line has small ones
    low, high = cell * size - 0.5, (cell + 1) * size - 0.5
    edge = place[None, :, None]
    share = torch.minimum(high, edge + 0.5) - torch.maximum(low, edge - 0.5)
    down = share.clamp(min=0).transpose(1, 2)  # (B, large, small)
    down = down / down.sum(-1, keepdim=True).clamp(min=1e-6)
    at = ((place[None, :, None] + 0.5) / size - 0.5).clamp(min=0)
    at = torch.minimum(at, count - 1)
    up = (1 - (at - cell).abs()).clamp(min=0) * (cell < count)
    up = up / up.sum(-1, keepdim=True)
    return up @ down


def _filter_lines(
    picture: Float[Tensor, "B H W 3"], rows: Float[Tensor, "B H H"], columns: Float[Tensor, "B W W"]
) -> Float[Tensor, "B H W 3"]:
    tall = torch.bmm(rows, picture.flatten(2)).unflatten(2, picture.shape[2:])
    wide = torch.bmm(columns, tall.transpose(1, 2).flatten(2))
    return wide.unflatten(2, (picture.shape[1], 3)).transpose(1, 2)


def blur_picture(
    picture: Float[Tensor, "B H W 3"], sigma: Float[Tensor, " B"]
) -> Float[Tensor, "B H W 3"]:
    """Gaussian blur of each picture by its own sigma (pixels); 0 leaves a picture as it is."""
    index = (sigma > 0.05).nonzero()[:, 0]
    if len(index) == 0:
        return picture
    some = sigma[index]
    rows = _gauss_rows(some, picture.shape[1])
    columns = _gauss_rows(some, picture.shape[2])
    return picture.index_copy(0, index, _filter_lines(picture[index], rows, columns))


def lower_resolution(
    picture: Float[Tensor, "B H W 3"], factor: Float[Tensor, " B"]
) -> Float[Tensor, "B H W 3"]:
    """Shrink each picture by its factor and enlarge it again; 1 leaves a picture as it is."""
    index = (factor > 1.01).nonzero()[:, 0]
    if len(index) == 0:
        return picture
    some = factor[index]
    rows = _resize_rows(some, picture.shape[1])
    columns = _resize_rows(some, picture.shape[2])
    return picture.index_copy(0, index, _filter_lines(picture[index], rows, columns))


def motion_blur(
    picture: Float[Tensor, "B H W 3"], length: Float[Tensor, " B"], angle: Float[Tensor, " B"]
) -> Float[Tensor, "B H W 3"]:
    """Smear each picture along a line of this length (pixels) and angle; 0 leaves it as it is."""
    index = (length > 0.5).nonzero()[:, 0]
    if len(index) == 0:
        return picture
    some = picture[index].permute(0, 3, 1, 2)
    kernel = _line_kernels(length[index], angle[index])
    half = kernel.shape[-1] // 2
    padded = torch.nn.functional.pad(some, (half,) * 4, mode="replicate")
    channels = padded.flatten(0, 1)[None]
    kernels = kernel.repeat_interleave(3, 0)[:, None]
    smeared = torch.nn.functional.conv2d(channels, kernels, groups=len(kernels))
    smeared = smeared[0].unflatten(0, (len(index), 3)).permute(0, 2, 3, 1)
    return picture.index_copy(0, index, smeared)


def _line_kernels(length: Float[Tensor, " B"], angle: Float[Tensor, " B"]) -> Tensor:
    """Anti-aliased line segments through the middle of small squares."""
    half = min(int(length.max().item() / 2) + 1, _LONGEST // 2)
    place = torch.arange(-half, half + 1, device=length.device, dtype=length.dtype)
    y, x = place[:, None], place[None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    reach = length[:, None, None].clamp(max=_LONGEST) / 2
    weight = (reach + 0.5 - along.abs()).clamp(0, 1) * (1 - across.abs()).clamp(0, 1)
    return weight / weight.sum((1, 2), keepdim=True)
