"""Patterns of cloth, filtered to the size of a pixel so that fine ones turn grey, not to moire.

Each function says how much of the second and of the third colour a point shows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.data.synthetic.looks import Cloths
from meshreg.data.synthetic.noise import fractal_noise, lattice_bits, to_unit, value_noise
from meshreg.data.synthetic.points import LEG, SLEEVE, TORSO, Panels

Weights = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Spot:
    """Points on one kind of cloth, with what patterns need to know about each."""

    cloth: Cloths
    flat: Panels
    rest: Float[Tensor, "N 3"]
    blur: Float[Tensor, " N"]  # width of a pixel on the surface, metres
    shoe: Float[Tensor, " N"]  # 1 on shoes

    @property
    def around(self) -> Float[Tensor, " N"]:
        return self.flat.around / self.cloth.repeat + self.cloth.shift

    @property
    def along(self) -> Float[Tensor, " N"]:
        return self.flat.along / self.cloth.repeat + self.cloth.shift


def band(t: Tensor, duty: Tensor | float, width: Tensor) -> Tensor:
    """Share of a pixel of this width (periods) that lies in the first `duty` of each period."""
    width = width.clamp(min=1e-3)

    def integral(s: Tensor) -> Tensor:
        whole = s.floor()
        inside = s - whole
        capped = torch.minimum(inside, duty) if isinstance(duty, Tensor) else inside.clamp(max=duty)
        return whole * duty + capped

    return ((integral(t + width / 2) - integral(t - width / 2)) / width).clamp(0, 1)


def step(distance: Tensor, width: Tensor) -> Tensor:
    """Share of a pixel on the positive side of an edge at this signed distance."""
    return (0.5 + distance / width.clamp(min=1e-6)).clamp(0, 1)


def _fade(pattern: Tensor, mean: Tensor | float, width: Tensor) -> Tensor:
    """The pattern, or its mean where a pixel spans most of a period."""
    return pattern + (mean - pattern) * ((width - 0.4) * 1.6).clamp(0, 1)


def plain(spot: Spot) -> Weights:
    none = torch.zeros_like(spot.blur)
    return none, none


def rings(spot: Spot) -> Weights:
    width = spot.blur / spot.cloth.repeat
    wide = band(spot.along, spot.cloth.duty, width)
    thin = band(spot.along - spot.cloth.duty - 0.1, 0.08, width)
    return wide, thin * (spot.cloth.seed % 3 == 0)


def stripes(spot: Spot) -> Weights:
    width = spot.blur / spot.cloth.repeat
    return band(spot.around, spot.cloth.duty * 0.7, width), torch.zeros_like(width)


def gingham(spot: Spot) -> Weights:
    width = spot.blur / spot.cloth.repeat
    half = (band(spot.around, 0.5, width) + band(spot.along, 0.5, width)) / 2
    return half, torch.zeros_like(half)


def tartan(spot: Spot) -> Weights:
    width = spot.blur / spot.cloth.repeat
    wide = (band(spot.around, 0.45, width) + band(spot.along, 0.45, width)) * 0.42
    fine = band(spot.around - 0.65, 0.07, width) + band(spot.along - 0.65, 0.07, width)
    fine = fine + 0.6 * (band(spot.around - 0.2, 0.05, width) + band(spot.along - 0.2, 0.05, width))
    return wide, (fine * 0.5).clamp(max=1)


def dots(spot: Spot) -> Weights:
    width = spot.blur / spot.cloth.repeat
    row = spot.along.floor()
    across = spot.around + 0.5 * (row % 2)
    u, v = across - across.floor() - 0.5, spot.along - row - 0.5
    radius = 0.14 + 0.3 * spot.cloth.duty
    inside = step(radius - torch.hypot(u, v), width)
    return _fade(inside, math.pi * radius.square(), width), torch.zeros_like(width)


def floral(spot: Spot) -> Weights:
    """Five-petalled flowers, one to a cell, with leaves from a second, finer grid."""
    width = spot.blur / spot.cloth.repeat
    flower, kind = _bloom(spot.around, spot.along, width, spot.cloth.seed, 5.0)
    leaf, _ = _bloom(
        spot.around * 1.7 + 0.4, spot.along * 1.7, width * 1.7, spot.cloth.seed + 1, 2.0
    )
    second = flower * (kind < 0.6)
    third = torch.maximum(flower * (kind >= 0.6), leaf * (1 - flower))
    return _fade(second, 0.067, width), _fade(third, 0.155, width)


def _bloom(u: Tensor, v: Tensor, width: Tensor, seed: Tensor, petals: float) -> Weights:
    column, row = u.floor(), v.floor()
    bits = lattice_bits(column.int(), row.int(), seed=seed)
    jitter = 0.36 * to_unit(bits) - 0.18, 0.36 * to_unit(bits * 40503) - 0.18
    turn, kind = to_unit(bits * 30011), to_unit(bits * 52347)
    u, v = u - column - 0.5 - jitter[0], v - row - 0.5 - jitter[1]
    radius = (0.2 + 0.1 * kind) * (0.72 + 0.28 * (petals * torch.atan2(u, v) + 6.28 * turn).cos())
    return step(radius - torch.hypot(u, v), width), kind


def camouflage(spot: Spot) -> Weights:
    cells = spot.rest / spot.cloth.repeat[:, None]
    width = spot.blur / spot.cloth.repeat
    one = fractal_noise(cells, seed=spot.cloth.seed, octaves=2)
    two = fractal_noise(cells + 9.7, seed=spot.cloth.seed + 1, octaves=2)
    third = step((two - 0.16) * 0.5, width)
    return step((one - 0.02) * 0.5, width) * (1 - third), third


def blocks(spot: Spot) -> Weights:
    """Coloured yoke and sleeves; a stripe down the trouser leg; pale soles under shoes."""
    panel, edge = spot.flat.panel, spot.flat.along - (0.13 + 0.2 * spot.cloth.shift)
    yoke = torch.where(panel == SLEEVE, 1.0, step(edge, spot.blur))
    line = step(0.016 - (edge + 0.03).abs(), spot.blur) * (panel == TORSO)
    side = step(0.014 - (spot.flat.angle.abs() - math.pi / 2).abs() * 0.08, spot.blur)
    trouser = panel == LEG
    sole = step(-0.962 - spot.rest[:, 1], spot.blur)
    slant = spot.rest[:, 2] + spot.rest[:, 1] * 0.5 + 0.44
    flash = step(0.007 - (slant.clamp(-0.05, 0.0) % 0.025 - 0.0125).abs(), spot.blur)
    second = torch.where(trouser, side, yoke)
    second = torch.where(spot.shoe > 0, sole, second)
    third = torch.where(trouser, torch.zeros_like(line), line)
    return second, torch.where(spot.shoe > 0, flash * (1 - sole) * (spot.cloth.shift > 0.5), third)


def raglan(spot: Spot) -> Weights:
    x, y, _ = spot.rest.unbind(-1)
    slanted = step(x.abs() * 0.9 + y - 0.46, spot.blur * 1.3)
    second = torch.where(spot.flat.panel == SLEEVE, torch.ones_like(slanted), slanted * (y > 0.2))
    return second, torch.zeros_like(second)


def chest_print(spot: Spot) -> Weights:
    """A motif on the chest: a disc, a ring with a star, lines of lettering or a picture."""
    size = spot.cloth.repeat
    u = spot.rest[:, 0] / size
    v = (spot.rest[:, 1] - 0.25) / size
    width = spot.blur / size
    radius, theta = torch.hypot(u, v), torch.atan2(u, v)
    disc = step(0.42 - radius, width)
    star = step(0.24 * (0.7 + 0.3 * (5 * theta).cos()) - radius, width)
    row = (v * 9).floor()
    letter = lattice_bits((u * 16).floor().int(), row.int(), seed=spot.cloth.seed)
    ink = to_unit(letter) * (band(v * 9, 0.72, width * 9))
    text = step(0.5 - u.abs(), width) * step(0.3 - v.abs(), width) * ((ink > 0.35) | (width > 0.05))
    text = text * torch.where(width > 0.05, 0.5, 1.0)
    scene = value_noise(torch.stack([u * 5, v * 5], -1), seed=spot.cloth.seed)
    frame = step(0.42 - torch.maximum(u.abs(), v.abs() * 0.8), width)
    kind = spot.cloth.seed % 4
    second = torch.where(kind == 0, disc * (1 - star), disc * step(radius - 0.34, width))
    second = torch.where(kind == 2, text, second)
    second = torch.where(kind == 3, frame * (scene > 0), second)
    third = torch.where(kind < 2, star, torch.zeros_like(star))
    third = torch.where(kind == 3, frame * (scene < -0.15), third)
    front = (spot.rest[:, 2] > 0) & (spot.flat.panel == TORSO)
    return second * front, third * front


def melange(spot: Spot) -> Weights:
    """Mixed yarns: specks of the second colour in the first."""
    cells = torch.stack([spot.flat.around, spot.flat.along * 0.6], -1)
    speck = value_noise(cells / spot.cloth.repeat[:, None], seed=spot.cloth.seed)
    visible = (1.3 - 1.5 * spot.blur / spot.cloth.repeat).clamp(0, 1)
    return 0.12 + 0.1 * speck * visible, torch.zeros_like(speck)


def denim(spot: Spot) -> Weights:
    """Slanted ribs of white weft, and wear on the thighs and knees."""
    diagonal = (spot.flat.around + spot.flat.along) / spot.cloth.repeat
    weft = band(diagonal, 0.3, spot.blur / spot.cloth.repeat)
    return 0.16 * weft, torch.zeros_like(weft)


def marble(spot: Spot) -> Weights:
    cells = spot.rest / spot.cloth.repeat[:, None]
    bend = value_noise(cells * 0.7, seed=spot.cloth.seed)
    vein = fractal_noise(cells + 1.5 * bend[:, None], seed=spot.cloth.seed + 1, octaves=2)
    second = (0.5 + 1.6 * vein).clamp(0, 1)
    return second, (0.5 + 2 * bend).clamp(0, 1) * (1 - second)


# In the order of looks.PATTERNS.
EVERY: tuple[Callable[[Spot], Weights], ...] = (
    plain, rings, stripes, gingham, tartan, dots, floral,
    camouflage, blocks, raglan, chest_print, melange, denim, marble,
)  # fmt: skip


def shares(spot: Spot, kind: int) -> Float[Tensor, "N 3"]:
    """How much of each of the three colours every point shows; rows add up to one."""
    second, third = EVERY[kind](spot)
    second = second * (1 - third)
    return torch.stack([1 - second - third, second, third], -1)


def present(kinds: Int[Tensor, " N"]) -> list[int]:
    """The pattern numbers that occur."""
    counts = torch.bincount(kinds, minlength=len(EVERY))
    return counts.nonzero()[:, 0].tolist()
