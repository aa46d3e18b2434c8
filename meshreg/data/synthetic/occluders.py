"""Things that stand between the camera and a person: boards, poles, foliage, other arms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.data.synthetic.blur import blur_picture
from meshreg.data.synthetic.lights import Lights
from meshreg.data.synthetic.noise import fractal_noise, value_noise
from meshreg.data.synthetic.palettes import (
    EARTH,
    LEATHER,
    NEUTRAL,
    SATURATED,
    Rgb,
    pick,
    table,
)

SHAPES = ("board", "pole", "railing", "blob", "foliage", "arm")
_LEAVES = table("3c5a24 4d6b2c 2d4a1f 6b7c33 5a6b2a")
_SKINS = table("e6bfa5 c68f6b 96633f 5a3723 33211a")


@dataclass(frozen=True)
class Occluder:
    """One thing in front of the person; lengths are shares of the person's longer side."""

    shape: int  # index into SHAPES
    x: float  # its middle, from the middle of the person's box
    y: float
    width: float
    height: float
    turn: float  # radians
    color: Rgb
    other: Rgb
    nearness: float  # its depth as a share of the person's
    blur: float  # sigma, pixels
    most: float  # share of the person it may hide
    seed: int


@dataclass(frozen=True, eq=False)
class Covers:
    """What occluders look like in each picture."""

    rgb: Float[Tensor, "B H W 3"]  # linear
    alpha: Float[Tensor, "B H W"]  # 1 where only the occluder is seen; soft at blurred edges
    depth: Float[Tensor, " B"]  # metres


def sample_occluder(rng: np.random.Generator, *, most: float = 0.5) -> Occluder:
    """Draw something to stand in front; it hides at most the share `most` of the person."""
    shape = int(rng.integers(len(SHAPES)))
    name = SHAPES[shape]
    u = rng.random(8)
    palette = SATURATED + NEUTRAL + EARTH + LEATHER
    palette = _LEAVES if name == "foliage" else _SKINS if name == "arm" else palette
    width, height = 0.15 + 0.55 * u[0], 0.15 + 0.55 * u[1]
    if name == "pole":
        width, height = 0.03 + 0.10 * u[0], 4.0
    elif name == "arm":
        width, height = 0.05 + 0.05 * u[0], 0.35 + 0.4 * u[1]
    low = name in ("board", "railing") and u[2] < 0.6  # a table or a fence hides the legs
    turn = (2 * u[3] - 1) * (0.12 if name in ("pole", "board", "railing") else math.pi)
    return Occluder(
        shape=shape,
        x=float((2 * u[4] - 1) * 0.35),
        y=float(0.3 + 0.2 * u[5] if low else (2 * u[5] - 1) * 0.5),
        width=float(2.5 if low else width),
        height=float(height),
        turn=float(turn),
        color=pick(rng, palette),
        other=pick(rng, palette if name in ("foliage", "arm") else NEUTRAL),
        nearness=float(0.35 + 0.5 * u[6]),
        blur=float(max(0.0, 3.0 * u[7] - 0.8)),
        most=most,
        seed=int(rng.integers(2**30)),
    )


def render_occluders(
    occluders: Sequence[Occluder],
    person: Bool[Tensor, "B H W"],
    person_depth: Float[Tensor, " B"],
    lights: Lights,
) -> Covers:
    """Draw one occluder per picture over the given person; where nobody is, it stays away.

    Hand over only the pictures that get one: those without would cost as much.
    """
    device = person.device

    def column(name: str) -> Tensor:
        values = [getattr(one, name) for one in occluders]
        kind = torch.int64 if name in ("seed", "shape") else torch.float32
        return torch.tensor(values, dtype=kind, device=device)

    top, left, length = _extent(person)
    y = torch.arange(person.shape[1], device=device, dtype=torch.float32)[:, None]
    x = torch.arange(person.shape[2], device=device, dtype=torch.float32)
    u = (x - left[:, None, None]) / length[:, None, None] - column("x")[:, None, None]
    v = (y - top[:, None, None]) / length[:, None, None] - column("y")[:, None, None]
    cos, sin = column("turn").cos()[:, None, None], column("turn").sin()[:, None, None]
    u, v = u * cos + v * sin, v * cos - u * sin
    half = column("width")[:, None, None] / 2, column("height")[:, None, None] / 2
    seed = column("seed")[:, None, None]
    inside, tone = _shapes(u, v, half, seed, column("shape")[:, None, None])
    inside = _kept_small(inside, person, column("most"))
    alpha = (inside * length[:, None, None] + 0.5).clamp(0, 1)
    blur = column("blur")
    alpha = blur_picture(alpha[..., None].expand(-1, -1, -1, 3), blur)[..., 0]
    light = (lights.key * 0.5 + lights.fill * 0.4 + (lights.sky + lights.ground) / 2)[:, None, None]
    mix = (0.5 + 0.9 * value_noise(torch.stack([u, v], -1) * 12, seed=seed + 1)).clamp(0, 1)
    color = torch.lerp(
        column("color")[:, None, None], column("other")[:, None, None], 0.5 * mix[..., None]
    )
    color = blur_picture(color * tone[..., None] * light, blur)
    return Covers(color, alpha, person_depth * column("nearness"))


def _extent(person: Bool[Tensor, "B H W"]) -> tuple[Tensor, Tensor, Tensor]:
    """Middle (row, column) and longer side of each person's box, pixels."""
    middles, sides = [], []
    for axis in (2, 1):
        line = person.any(axis).float()
        place = torch.arange(line.shape[1], device=line.device, dtype=torch.float32)
        last = (line * place).amax(1)
        first = torch.where(line > 0, place, torch.inf).amin(1)
        first = torch.minimum(first, last)
        middles.append((first + last) / 2)
        sides.append(last - first + 1)
    return middles[0], middles[1], torch.maximum(sides[0], sides[1]).clamp(min=8)


def _shapes(
    u: Tensor, v: Tensor, half: tuple[Tensor, Tensor], seed: Tensor, shape: Tensor
) -> tuple[Tensor, Tensor]:
    """How far inside each shape a pixel lies (shares of the person's height), and its shading."""
    a, b = half
    rough = fractal_noise(torch.stack([u, v], -1) * 9, seed=seed, octaves=3)
    box = torch.minimum(a - u.abs(), b - v.abs())
    round_ = (1 - torch.hypot(u / a, v / b)) * torch.minimum(a, b)
    capsule = a * (1 - 0.35 * v / b) - torch.hypot(u, (v.abs() - b).clamp(min=0))
    gap = u / 0.09 - (u / 0.09).round()
    bars = torch.maximum(0.014 - gap.abs() * 0.09, 0.018 - (v + b).abs())
    bars = torch.minimum(bars, torch.minimum(v + b + 0.02, 1.5 - u.abs()))
    leaves = torch.minimum(round_ + 0.1 * rough, 0.09 * (rough + 0.12))
    kinds = [
        box,
        box,
        bars,
        round_ + 0.06 * rough,
        leaves,
        torch.maximum(capsule, _hand(u, v - b, a)),
    ]
    inside = torch.zeros_like(u) - 1
    for k, kind in enumerate(kinds):
        inside = torch.where(shape == k, kind, inside)
    rounded = 0.55 + 0.45 * (1 - (u / a).clamp(-1, 1).square()).sqrt() - 0.25 * (u / a).clamp(-1, 1)
    tone = torch.where((shape == 1) | (shape == 5), rounded, 1 + 0.3 * rough)
    return inside, torch.where(shape == 4, 1 + 0.9 * rough, tone).clamp(0.1, 1.6)


def _hand(u: Tensor, v: Tensor, wrist: Tensor) -> Tensor:
    """A palm with four fingers and a thumb, at the end of a wrist of this half width."""
    u, v = u / wrist, v / wrist
    palm = 1 - torch.hypot(u / 1.15, (v - 1.3) / 1.5)
    best = palm * 1.1
    for side, reach in ((-0.85, 3.6), (-0.3, 4.1), (0.28, 4.0), (0.82, 3.3)):
        along = ((v - 1.6) / (reach - 1.6)).clamp(0, 1)
        best = torch.maximum(
            best, 0.27 - torch.hypot(u - side * (1 + 0.3 * along), v - 1.6 - along * (reach - 1.6))
        )
    along = ((v - 0.6) / 1.5).clamp(0, 1)
    thumb = 0.32 - torch.hypot(u + 1.0 + 0.8 * along, v - 0.6 - 1.5 * along)
    return torch.maximum(best, thumb) * wrist


def _kept_small(
    inside: Float[Tensor, "B H W"], person: Bool[Tensor, "B H W"], most: Float[Tensor, " B"]
) -> Float[Tensor, "B H W"]:
    """Shrink each shape until it hides no more of the person than it may."""
    number = person.flatten(1).sum(1)
    allowed = (most * number).floor()
    low = torch.zeros_like(most)  # of two thresholds, one hides too much and one does not
    high = inside.flatten(1).amax(1).clamp(min=0) + 1e-3
    for _ in range(14):
        middle = (low + high) / 2
        hidden = ((inside > middle[:, None, None]) & person).flatten(1).sum(1)
        low = torch.where(hidden > allowed, middle, low)
        high = torch.where(hidden > allowed, high, middle)
    fits = ((inside > 0) & person).flatten(1).sum(1) <= allowed
    cut = torch.where(fits, 0.0, high)[:, None, None]
    return torch.where((number > 0)[:, None, None], inside - cut, -1.0)
