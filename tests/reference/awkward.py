"""Scenes that rasterisers get wrong: slivers, shared edges, things behind or beside the camera."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

# Exact in binary, off the image's centre, with different focal lengths.
INTRINSICS = [[16.0, 0.0, 6.25], [0.0, 8.0, 3.75], [0.0, 0.0, 1.0]]


@dataclass(frozen=True, eq=False)
class Scene:
    name: str
    verts: Tensor  # (B, V, 3) camera space, metres, float64
    faces: Tensor  # (F, 3)
    K: Tensor  # (B, 3, 3)
    size: tuple[int, int]
    least_hits: int  # over all settings of a test, so that it cannot pass by drawing nothing
    smooth: bool = True  # no sample lies where a value has no derivative


def scene(name: str, points: Tensor, faces: Tensor, size: tuple[int, int], hits: int) -> Scene:
    """`points` (B, V, 3) are columns, rows and depths; behind the camera too."""
    K = torch.tensor(INTRINSICS, dtype=torch.float64).expand(len(points), 3, 3).clone()
    rays = torch.cat([points[..., :2], torch.ones_like(points[..., :1])], -1)
    verts = rays @ torch.linalg.inv(K).mT * points[..., 2:]
    return Scene(name=name, verts=verts, faces=faces, K=K, size=size, least_hits=hits)


def triangles(images: int, count: int, draw: Callable[[int, int], Tensor]) -> tuple[Tensor, Tensor]:
    return draw(images, 3 * count), torch.arange(3 * count).view(-1, 3)


def around(size: tuple[int, int], near: float, far: float) -> Callable[[int, int], Tensor]:
    """Random points over the image and somewhat beyond, at depths from near to far."""
    generator = torch.Generator().manual_seed(sum(size))

    def draw(images: int, count: int) -> Tensor:
        points = torch.rand(images, count, 3, generator=generator, dtype=torch.float64)
        span = torch.tensor([size[1] + 6.0, size[0] + 6.0, far - near], dtype=torch.float64)
        return points * span + torch.tensor([-3.0, -3.0, near], dtype=torch.float64)

    return draw


def degenerate() -> Scene:
    """Faces that are points, lines, doubled, or smaller than PyTorch3D's least area."""
    points, faces = triangles(1, 8, around((8, 11), 1.0, 3.0))
    points[0, :3] = torch.tensor([[4.25, 2.75, 2], [4.25, 2.75, 2], [7.5, 5.25, 2]])  # a line
    points[0, 4] = points[0, 5] = points[0, 3]  # all three
    points[0, 6:9, ::2] = torch.tensor([INTRINSICS[0][2], 2.0])  # a line in the image, exactly
    points[0, 12:15] = points[0, 9:12]  # the same face twice
    points[0, 16:18, :2] = points[0, 15, :2] + torch.tensor([[0.0, 1e-5], [1e-5, 0.0]])
    return scene("degenerate", points, faces, (8, 11), 400)


def slivers() -> Scene:
    """Faces seen almost edge-on, some of them very long, and steep in depth."""
    points, faces = triangles(2, 7, around((9, 7), 1.0, 4.0))
    width = torch.tensor([1e-1, 1e-2, 1e-3, 1e-4, 3e-5, 1e-2, 1e-3], dtype=torch.float64)
    middle = (points[:, 0::3, :2] + points[:, 1::3, :2]) / 2
    points[:, 2::3, :2] = middle + width[:, None] * torch.tensor([0.6, -0.8])
    return scene("slivers", points, faces, (9, 7), 150)


def shared_edges() -> Scene:
    """A flat grid whose edges and corners pass exactly through pixel centres."""
    x, y = torch.meshgrid(torch.arange(0.0, 13, 3), torch.arange(-1.0, 9, 3), indexing="ij")
    points = torch.stack([x, y, torch.full_like(x, 2.0)], -1).double().view(1, -1, 3)
    corner = (torch.arange(4)[:, None] * 4 + torch.arange(3)).flatten()
    a, b, c, d = corner, corner + 1, corner + 4, corner + 5
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([b, d, c], -1)])
    return replace(scene("shared edges", points, faces, (8, 13), 400), smooth=False)


def off_screen() -> Scene:
    """Faces beside the image, some reaching into it by less than a pixel or only by their blur."""
    points, faces = triangles(1, 6, around((6, 6), 1.0, 2.0))
    shift = torch.tensor([[4.0, 0], [-4, 0], [0, 4], [0, -4], [2, 2], [60, 60]]).double()
    points[..., :2] += shift.repeat_interleave(3, 0)
    return scene("off screen", points, faces, (6, 6), 30)


SCENES = [
    scene("random", *triangles(2, 12, around((9, 14), 1.0, 4.0)), (9, 14), 2_000),
    scene("tall image", *triangles(1, 12, around((15, 6), 1.0, 2.0)), (15, 6), 1_000),
    scene("behind the camera", *triangles(2, 10, around((9, 9), -2.0, 2.5)), (9, 9), 200),
    scene("nothing in front", *triangles(1, 4, around((5, 5), -3.0, -1.0)), (5, 5), 0),
    scene("one pixel", *triangles(3, 9, around((1, 1), 1.0, 2.0)), (1, 1), 20),
    degenerate(),
    slivers(),
    shared_edges(),
    off_screen(),
]
