"""Tubes of rings of vertices: the connectivity of skirts, hanging hair and hat brims."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def tube_faces(rows: int, columns: int) -> Int[Tensor, "F 3"]:
    """Triangles between successive rings; diagonals mirror each other about the first column."""
    faces = []
    for row in range(rows - 1):
        for column in range(columns):
            after = (column + 1) % columns
            a, b = row * columns + column, row * columns + after
            c, d = a + columns, b + columns
            first_half = column < columns // 2
            faces += [(a, c, d), (a, d, b)] if first_half else [(a, c, b), (b, c, d)]
    return torch.tensor(faces)


def evened(values: Float[Tensor, "P N 3"], columns: int, steps: int) -> Float[Tensor, "P N 3"]:
    """Values over a tube, each step mixed with those of the neighbours in all directions."""
    grid = values.unflatten(1, (-1, columns))
    for _ in range(steps):
        around = 0.5 * (grid.roll(1, 2) + grid.roll(-1, 2))
        above = torch.cat([grid[:, :1], grid[:, :-1]], 1)
        below = torch.cat([grid[:, 1:], grid[:, -1:]], 1)
        grid = 0.5 * grid + 0.25 * around + 0.125 * (above + below)
    return grid.flatten(1, 2)


def push_out(
    points: Float[Tensor, "P N 3"],
    obstacle: Float[Tensor, "P O 3"],
    outward: Float[Tensor, "P O 3"],
    margin: float | Float[Tensor, "P N"],
    farthest: float,
) -> Float[Tensor, "P N 3"]:
    """How to move each point so that it keeps a margin outside of the nearest obstacle point."""
    nearest = torch.cdist(points, obstacle).argmin(2)[..., None].expand(-1, -1, 3)
    point, normal = obstacle.gather(1, nearest), outward.gather(1, nearest)
    height = ((points - point) * normal).sum(2)
    return (margin - height).clamp(0, farthest)[..., None] * normal
