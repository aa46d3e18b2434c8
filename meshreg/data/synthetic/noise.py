"""Noise that is a pure function of place and seed, the same on every device.

Random bits come from an integer hash of lattice coordinates, never from a generator's state: a
pixel's noise depends neither on its batch nor on the order of work.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Seed = int | Tensor
# Odd multipliers that spread the lattice's axes, as signed 32-bit numbers: torch's int32 wraps.
_AXES = (0x2545F491, 0x369DEA0F, 0x1B873593, 0x27D4EB2F)
_MIX_1, _MIX_2 = 0x7FEB352D, 0x46CA68B1
_SEED = 0x1E35A7BD


def scramble(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit integers so that neighbours become unrelated."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * _MIX_1
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _MIX_2
    return x ^ ((x >> 16) & 0xFFFF)


def _seeded(seed: Seed, like: Tensor) -> Tensor | int:
    if isinstance(seed, Tensor):
        return scramble(seed.to(torch.int32) * _SEED)
    return int(scramble(torch.tensor(seed, dtype=torch.int32) * _SEED))


def uniform(*coordinates: Int[Tensor, "..."], seed: Seed = 0) -> Float[Tensor, "..."]:
    """One number in [0, 1) for each lattice point; a tensor of seeds must broadcast."""
    return to_unit(lattice_bits(*coordinates, seed=seed))


def lattice_bits(*coordinates: Int[Tensor, "..."], seed: Seed = 0) -> Int[Tensor, "..."]:
    """32 random bits for each lattice point."""
    total = coordinates[0].to(torch.int32) * _AXES[0]
    for axis, coordinate in zip(_AXES[1:], coordinates[1:], strict=False):
        total = total ^ (coordinate.to(torch.int32) * axis)
    return scramble(total ^ _seeded(seed, total))


def to_unit(bits: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The upper 24 of 32 bits as a float in [0, 1)."""
    return ((bits >> 8) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def normal(bits: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Roughly Gaussian numbers of unit variance: the sum of eight groups of four random bits."""
    total = sum((((bits >> shift) & 15) for shift in range(4, 32, 4)), start=bits & 15)
    return (total.to(torch.float32) - 60.0) * (1 / 13.0384)


def value_noise(points: Float[Tensor, "*n D"], *, seed: Seed = 0) -> Float[Tensor, "*n"]:
    """Smooth noise in -1..1 that varies over a distance of about one unit."""
    cell = points.floor()
    t = points - cell
    t = t * t * (3 - 2 * t)
    base = cell.to(torch.int32)
    dims = points.shape[-1]
    start = _seeded(seed, base)
    partial = [torch.zeros_like(base[..., 0]) ^ start]
    for d in range(dims):  # hashes of the 2^D corners, built axis by axis
        low = base[..., d] * _AXES[d]
        partial = [p ^ step for p in partial for step in (low, low + _AXES[d])]
    values = [((scramble(p) >> 8) & 0xFFFFFF).to(points.dtype) for p in partial]
    for d in reversed(range(dims)):
        values = [
            torch.lerp(low, high, t[..., d])
            for low, high in zip(values[::2], values[1::2], strict=True)
        ]
    return values[0] * 2.0**-23 - 1


def fractal_noise(
    points: Float[Tensor, "*n D"], *, seed: Seed = 0, octaves: int = 3
) -> Float[Tensor, "*n"]:
    """Value noise at several scales, each half as wide and half as strong as the one before."""
    total = value_noise(points, seed=seed)
    for octave in range(1, octaves):
        finer = value_noise(points * 2.03**octave + 17.3 * octave, seed=seed)
        total = total + finer * 0.5**octave
    return total * (0.5 / (1 - 0.5**octaves))
