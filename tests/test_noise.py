"""Hashed noise: spread, smoothness, and independence of batches."""

import torch

from meshreg.data.synthetic.noise import (
    fractal_noise,
    lattice_bits,
    normal,
    to_unit,
    uniform,
    value_noise,
)


def scrambled(x: int) -> int:
    """The mixing function again, with Python's unbounded integers."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x46CA68B1) & 0xFFFFFFFF
    return x ^ (x >> 16)


def test_bits_are_those_of_exact_integer_arithmetic() -> None:
    x, y, seed = torch.tensor([0, 5, -3, 2**30]), torch.tensor([7, -9, 11, -(2**20)]), 77
    wanted = []
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        mixed = (a * 0x2545F491) ^ (b * 0x369DEA0F) ^ scrambled(seed * 0x1E35A7BD & 0xFFFFFFFF)
        wanted.append(scrambled(mixed & 0xFFFFFFFF))
    found = [int(bits) & 0xFFFFFFFF for bits in lattice_bits(x, y, seed=seed)]
    assert found == wanted


def test_numbers_are_spread_evenly_and_unrelated() -> None:
    place = torch.arange(100_000)
    values = uniform(place, seed=3)
    assert values.min() >= 0 and values.max() < 1
    counts = torch.histc(values, 20, 0, 1)
    assert (counts - 5000).abs().max() < 350  # five standard deviations
    pairs = torch.stack([values[:-1], values[1:]]) - 0.5
    assert (pairs[0] * pairs[1]).mean().abs() < 0.0015
    other = uniform(place, seed=4) - 0.5
    assert ((values - 0.5) * other).mean().abs() < 0.0015


def test_normal_numbers_have_unit_variance() -> None:
    values = normal(lattice_bits(torch.arange(200_000), seed=1))
    assert values.mean().abs() < 0.01
    assert abs(values.std() - 1) < 0.01
    assert ((values.abs() < 1).float().mean() - 0.683).abs() < 0.02


def test_value_noise_meets_the_lattice_and_is_smooth() -> None:
    corner = torch.tensor([[2.0, -3.0, 5.0]])
    bits = lattice_bits(*corner[0].int(), seed=9)
    torch.testing.assert_close(value_noise(corner, seed=9)[0], 2 * to_unit(bits) - 1)
    line = torch.linspace(-4, 4, 4001)[:, None] * torch.tensor([1.0, 0.7, -0.3])
    values = value_noise(line, seed=9)
    assert values.abs().max() <= 1
    assert values.diff().abs().max() < 0.02
    assert values.std() > 0.2


def test_seeds_may_differ_by_point() -> None:
    points = torch.rand(50, 2) * 9
    seeds = torch.arange(50)
    together = fractal_noise(points, seed=seeds)
    alone = torch.cat(
        [fractal_noise(p[None], seed=int(s)) for p, s in zip(points, seeds, strict=True)]
    )
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
