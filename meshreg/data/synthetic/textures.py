"""Surfaces of places: planks, bricks, windows, grass and the like, by place in the scene."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.data.synthetic.noise import fractal_noise, lattice_bits, to_unit, value_noise
from meshreg.data.synthetic.patterns import band
from meshreg.data.synthetic.scenery import TEXTURES, Material


@dataclass(frozen=True, eq=False)
class Materials:
    """Many materials, one row each; fields as in `Material`."""

    texture: Int[Tensor, " M"]
    color: Float[Tensor, "M 3"]
    other: Float[Tensor, "M 3"]
    scale: Float[Tensor, " M"]
    seed: Int[Tensor, " M"]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Points on the surfaces of scenes."""

    row: Int[Tensor, " N"]  # which material
    point: Float[Tensor, "N 3"]  # in the scene's frame, metres
    face: Int[Tensor, " N"]  # axis of the surface's normal: 0 x, 1 y, 2 z
    blur: Float[Tensor, " N"]  # metres that a pixel spans


def stack_materials(
    rows: Sequence[Sequence[Material]], device: torch.device | str = "cpu"
) -> Materials:
    """Everything that occurs in a batch of scenes, one after another."""
    every = [material for row in rows for material in row]

    def column(name: str) -> Tensor:
        values = [getattr(material, name) for material in every]
        whole = isinstance(values[0], int)
        return torch.tensor(values, dtype=torch.int64 if whole else torch.float32, device=device)

    return Materials(**{f.name: column(f.name) for f in fields(Materials)})


@dataclass(frozen=True, eq=False)
class _Spot:
    """Points of one texture: place on the surface in metres and in periods."""

    u: Tensor
    v: Tensor
    width: Tensor  # of a pixel, periods
    seed: Tensor
    point: Tensor
    scale: Tensor


def textured(seen: Surfaces, materials: Materials) -> Float[Tensor, "N 3"]:
    """The albedo of surface points."""
    kind = materials.texture[seen.row]
    mix = torch.zeros_like(seen.blur)
    tone = torch.ones_like(seen.point)
    for number in torch.bincount(kind, minlength=len(TEXTURES)).nonzero()[:, 0].tolist():
        index = (kind == number).nonzero()[:, 0]
        row, face, point = seen.row[index], seen.face[index], seen.point[index]
        scale = materials.scale[row]
        u = torch.where(face == 0, point[:, 2], point[:, 0])
        v = torch.where(face == 1, point[:, 2], point[:, 1])
        spot = _Spot(
            u / scale, v / scale, seen.blur[index] / scale, materials.seed[row], point, scale
        )
        mix[index], tint = _TEXTURES[number](spot)
        tone[index] = tint if tint.ndim == 2 else tint[:, None]
    first, other = materials.color[seen.row], materials.other[seen.row]
    return (torch.lerp(first, other, mix.clamp(0, 1)[:, None]) * tone).clamp(0.003, 0.95)


def _cell_tone(column: Tensor, row: Tensor, seed: Tensor, strength: float) -> Tensor:
    """Every plank, tile or brick a little lighter or darker."""
    return 1 + strength * (2 * to_unit(lattice_bits(column.int(), row.int(), seed=seed)) - 1)


def _grain(spot: _Spot, per_metre: float, strength: float, octaves: int = 2) -> Tensor:
    noise = fractal_noise(spot.point * per_metre, seed=spot.seed, octaves=octaves)
    return 1 + strength * noise


def _plain(spot: _Spot) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(spot.u), _grain(spot, 1.3, 0.12)


def _planks(spot: _Spot) -> tuple[Tensor, Tensor]:
    column = spot.u.floor()
    length = spot.v * 0.12 + to_unit(lattice_bits(column.int(), seed=spot.seed))
    joint = band(spot.u, 0.05, spot.width) + band(length, 0.01, spot.width * 0.12)
    wood = value_noise(torch.stack([spot.u * 6, spot.v * 0.7], -1), seed=spot.seed)
    tone = _cell_tone(column, length.floor(), spot.seed, 0.18) * (1 + 0.12 * wood)
    return 0.6 * joint, tone


def _tiles(spot: _Spot) -> tuple[Tensor, Tensor]:
    joint = band(spot.u, 0.05, spot.width) + band(spot.v, 0.05, spot.width)
    return 0.7 * joint, _cell_tone(spot.u.floor(), spot.v.floor(), spot.seed, 0.08)


def _bricks(spot: _Spot) -> tuple[Tensor, Tensor]:
    v = spot.v * 3
    u = spot.u + 0.5 * (v.floor() % 2)
    joint = band(u, 0.06, spot.width) + band(v, 0.15, spot.width * 3)
    return 0.7 * joint, _cell_tone(u.floor(), v.floor(), spot.seed, 0.22)


def _windows(spot: _Spot) -> tuple[Tensor, Tensor]:
    pane = band(spot.u - 0.2, 0.5, spot.width) * band(spot.v - 0.25, 0.55, spot.width)
    tone = torch.lerp(
        _grain(spot, 0.5, 0.1), _cell_tone(spot.u.floor(), spot.v.floor(), spot.seed, 0.7), pane
    )
    return pane, tone


def _stripes(spot: _Spot) -> tuple[Tensor, Tensor]:
    return 0.5 * band(spot.u, 0.5, spot.width), _grain(spot, 1.0, 0.08)


def _grass(spot: _Spot) -> tuple[Tensor, Tensor]:
    patch = fractal_noise(spot.point[:, ::2] * 0.7, seed=spot.seed, octaves=3)
    blades = value_noise(spot.point[:, ::2] * 38, seed=spot.seed + 1)
    blades = blades * (1.3 - spot.width * spot.scale * 30).clamp(0.15, 1)
    return (0.25 + 0.5 * patch).clamp(0, 0.8), 1 + 0.35 * blades + 0.2 * patch


def _asphalt(spot: _Spot) -> tuple[Tensor, Tensor]:
    patch = fractal_noise(spot.point[:, ::2] * 0.5, seed=spot.seed, octaves=3)
    grit = value_noise(spot.point[:, ::2] * 60, seed=spot.seed + 1)
    grit = grit * (1.3 - spot.width * spot.scale * 50).clamp(0.1, 1)
    return 0.3 + 0.3 * patch, 1 + 0.15 * grit + 0.12 * patch


def _foliage(spot: _Spot) -> tuple[Tensor, Tensor]:
    mass = fractal_noise(spot.point / spot.scale[:, None], seed=spot.seed, octaves=4)
    leaf = value_noise(spot.point * 5 / spot.scale[:, None], seed=spot.seed + 1)
    return (0.5 + mass).clamp(0, 1), (1 + 0.9 * mass + 0.5 * leaf).clamp(0.12, 2)


def _hues(column: Tensor, row: Tensor, seed: Tensor, strength: float) -> Tensor:
    """A random tint per cell."""
    bits = lattice_bits(column.int(), row.int(), seed=seed)
    channels = [to_unit(bits * odd) for odd in (1, 30011, 52347)]
    return 1 + strength * (2 * torch.stack(channels, -1) - 1)


def _shelf(spot: _Spot) -> tuple[Tensor, Tensor]:
    """Boards with things of all colours between them."""
    board = band(spot.v, 0.1, spot.width)
    column = (spot.u * 5 + 0.3 * (spot.u * 2).floor()).floor()
    things = _hues(column, spot.v.floor(), spot.seed, 0.5)
    return 0.5 * (1 - board), torch.lerp(things, torch.ones_like(things), board[:, None])


def _picture(spot: _Spot) -> tuple[Tensor, Tensor]:
    cells = torch.stack([spot.u, spot.v], -1) * 2
    shapes = fractal_noise(cells, seed=spot.seed, octaves=3)
    hue = _hues((shapes * 6).floor(), spot.seed % 97, spot.seed, 0.5)
    return (0.5 + 3 * shapes).clamp(0, 1), hue


def _glow(spot: _Spot) -> tuple[Tensor, Tensor]:
    """A window or a lamp: bright, with a frame."""
    frame = torch.maximum(band(spot.u, 0.06, spot.width), band(spot.v, 0.06, spot.width))
    return torch.zeros_like(frame), (1 - 0.8 * frame) * _grain(spot, 0.8, 0.25)


# In the order of scenery.TEXTURES.
_TEXTURES: tuple[Callable[[_Spot], tuple[Tensor, Tensor]], ...] = (
    _plain, _planks, _tiles, _bricks, _windows, _stripes,
    _grass, _asphalt, _foliage, _shelf, _picture, _glow,
)  # fmt: skip
