"""Changed pictures for training: mirrored, moved, recoloured, partly hidden; labels follow along.

All functions take whole batches and return new ones. Chance is drawn on the CPU, so that it is the
same on every device. Chance in how people are first cut out of full pictures is in `random_views`.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.centred import centred
from meshreg.data.chance import chance
from meshreg.data.mirror import mirrored
from meshreg.data.sample import HIDDEN_LABEL, NO_PART, OCCLUDER, Batch
from meshreg.geometry.turned_crop import How

GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue look


@runtime_checkable
class NumberedBatches(Protocol):
    """Batches by number, such as those of a mixture."""

    def at(self, number: int) -> Batch: ...


@dataclass(frozen=True)
class Augmented:
    """Batches of another source, changed by chance: batch number n always in the same way."""

    batches: NumberedBatches
    settings: AugmentSettings
    seed: int = 0
    rank: int = 0
    how: How = "none"  # how cameras turn towards the people, after the boxes were moved

    def at(self, number: int) -> Batch:
        """Batch number n with its changes."""
        batch = self.batches.at(number)
        rng = chance(self.seed, self.rank, number)
        return augmented(batch, self.settings, rng, how=self.how)


def augmented(
    batch: Batch, settings: AugmentSettings, rng: torch.Generator, *, how: How = "none"
) -> Batch:
    """All changes in turn; for cameras that turn, a moved box is what they turn towards."""
    number = len(batch)
    mirror = _uniform(rng, number) < settings.mirror
    zoom = 1 + settings.zoom * _either_way(rng, number)
    shift = settings.shift * _either_way(rng, number, 2)
    batch, zoom, shift = mirrored(batch, mirror), zoom.to(batch.K), shift.to(batch.K)
    batch = moved(batch, zoom, shift) if how == "none" else centred(batch, how, zoom, shift)
    batch = replace(batch, image=recoloured(batch.image, settings, rng))
    if settings.erase > 0:
        batch = hidden(batch, _rectangles(batch, settings, rng))
    return batch


def _uniform(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=rng)


def _either_way(rng: torch.Generator, *shape: int) -> Tensor:
    """Between -1 and 1."""
    return 2 * _uniform(rng, *shape) - 1


# --- the box --------------------------------------------------------------------------------------
def moved(batch: Batch, zoom: Float[Tensor, " B"], shift: Float[Tensor, "B 2"]) -> Batch:
    """The batch seen through boxes `zoom` times as large, moved by shares of their sides.

    What the old picture does not hold is black in the new one, and unknown in its maps.
    """
    size = batch.image.shape[-1]
    # Where the new pixels lie in the old picture: u_old = zoom * u_new + start
    start = (size * shift) + (1 - zoom)[:, None] * (size - 1) / 2
    steps = torch.arange(size, device=zoom.device, dtype=zoom.dtype)
    u = zoom[:, None] * steps + start[:, :1]  # (B, W)
    v = zoom[:, None] * steps + start[:, 1:]  # (B, H)
    K = batch.K.clone()
    K[:, :2, 2] -= start
    K[:, :2] /= zoom[:, None, None]
    # Not projected again: of photographs the pixels may be known and the body not.
    joints_px = (batch.joints_px - start[:, None]) / zoom[:, None, None]
    inside = ((joints_px > -0.5) & (joints_px < size - 0.5)).all(-1)
    box = torch.cat(
        [batch.box[:, :2] + shift * batch.box[:, 2:], batch.box[:, 2:] * zoom[:, None]], 1
    )
    return replace(
        batch,
        image=_sampled(batch.image, u, v),
        K=K,
        box=box,
        joints_px=joints_px,
        joints_visible=batch.joints_visible & inside,
        keypoints_px=(batch.keypoints_px - start[:, None]) / zoom[:, None, None],
        labels=_picked(batch.labels, u, v, HIDDEN_LABEL),
        depth=_picked(batch.depth, u, v, 0),
        part=_picked(batch.part, u, v, NO_PART),
        instance=_picked(batch.instance, u, v, 0),
    )


def _sampled(
    image: UInt8[Tensor, "B 3 H W"], u: Float[Tensor, "B W"], v: Float[Tensor, "B H"]
) -> UInt8[Tensor, "B 3 H W"]:
    size = image.shape[-1]
    x, y = ((places + 0.5) / size * 2 - 1 for places in (u, v))
    grid = torch.stack([x[:, None].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], -1)
    sampled = torch.nn.functional.grid_sample(image.float(), grid, align_corners=False)
    return sampled.round().clamp(0, 255).to(torch.uint8)


def _picked(values: Tensor, u: Tensor, v: Tensor, outside: int) -> Tensor:
    """A map at the nearest pixels; ids never mix."""
    size = values.shape[-1]
    column, row = u.round().long(), v.round().long()
    there = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None]
    row, column = row.clamp(0, size - 1), column.clamp(0, size - 1)
    sample = torch.arange(len(values), device=values.device)[:, None, None]
    return torch.where(there, values[sample, row[:, :, None], column[:, None]], outside).to(
        values.dtype
    )


# --- colours --------------------------------------------------------------------------------------
def recoloured(
    image: UInt8[Tensor, "B 3 H W"], settings: AugmentSettings, rng: torch.Generator
) -> UInt8[Tensor, "B 3 H W"]:
    """Other brightness, contrast, saturation, tint, and some noise."""
    number, device = len(image), image.device

    def factors(most: float, channels: int = 1) -> Float[Tensor, "B C 1 1"]:
        return (1 + most * _either_way(rng, number, channels, 1, 1)).to(device)

    x = image.float() * factors(settings.brightness) * factors(settings.tint, 3)
    weights = x.new_tensor(GREY)[:, None, None]
    grey = (x * weights).sum(1, keepdim=True)
    middle = grey.mean((2, 3), keepdim=True)
    x = grey + factors(settings.saturation) * (x - grey)
    x = middle + factors(settings.contrast) * (x - middle)
    spread = settings.noise * _uniform(rng, number, 1, 1, 1)
    if settings.noise > 0:
        x = x + (spread * torch.randn(image.shape, generator=rng)).to(device)
    return x.round().clamp(0, 255).to(torch.uint8)


# --- things in front ------------------------------------------------------------------------------
def hidden(batch: Batch, covered: Bool[Tensor, "B H W"]) -> Batch:
    """Something plain stands in front there: the pixels turn grey, what was there is unknown."""
    size = batch.image.shape[-1]
    colour = batch.image.float().mean((2, 3), keepdim=True).to(torch.uint8)
    u, v = batch.joints_px.round().long().clamp(0, size - 1).unbind(-1)
    sample = torch.arange(len(batch), device=u.device)[:, None]
    return replace(
        batch,
        image=torch.where(covered[:, None], colour, batch.image),
        joints_visible=batch.joints_visible & ~covered[sample, v, u],
        labels=batch.labels.masked_fill(covered, HIDDEN_LABEL),
        depth=batch.depth.masked_fill(covered, 0),
        part=batch.part.masked_fill(covered, NO_PART),
        instance=batch.instance.masked_fill(covered, OCCLUDER),
    )


def _rectangles(
    batch: Batch, settings: AugmentSettings, rng: torch.Generator
) -> Bool[Tensor, "B H W"]:
    """A rectangle anywhere in some of the pictures, nothing in the others."""
    number, size = len(batch), batch.image.shape[-1]
    there = _uniform(rng, number) < settings.erase
    sides = settings.erase_size * (0.25 + 0.75 * _uniform(rng, number, 2)) * size
    first = _uniform(rng, number, 2) * size - sides / 2
    steps = torch.arange(size)
    within = (steps >= first[:, :, None]) & (steps < (first + sides)[:, :, None])  # (B, 2, size)
    covered = within[:, 1, :, None] & within[:, 0, None] & there[:, None, None]
    return covered.to(batch.image.device)
