"""Triangle meshes as tensors: normals, areas and edges of vertices that share one face list."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def _unit(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Scale to length one; the zero vector stays zero, with a zero gradient instead of NaN."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    safe = torch.where(squared > 0, squared, torch.ones_like(squared))
    return vectors * safe.rsqrt() * (squared > 0)


def _area_vectors(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*batch F 3"]:
    """One vector per triangle: along its normal, and twice its area long."""
    a, b, c = (vertices.index_select(-2, faces[:, corner]) for corner in range(3))
    return torch.linalg.cross(b - a, c - a)


def face_normals(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*batch F 3"]:
    """Unit normal of each triangle, outward where corners run counter-clockwise seen from outside.

    A triangle without area has the zero vector.
    """
    return _unit(_area_vectors(vertices, faces))


def vertex_normals(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*batch V 3"]:
    """Unit normal of each vertex: the mean of its triangles' normals, weighted by their area.

    A vertex without triangles, or with only empty ones, has the zero vector.
    """
    area_vectors = _area_vectors(vertices, faces)
    total = torch.zeros_like(vertices)
    for corner in range(3):
        total = total.index_add(-2, faces[:, corner], area_vectors)
    return _unit(total)


def triangle_areas(
    vertices: Float[Tensor, "*batch V 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "*batch F"]:
    """Area of each triangle, in the square of the vertices' unit."""
    return torch.linalg.vector_norm(_area_vectors(vertices, faces), dim=-1) / 2


def edges(faces: Int[Tensor, "F 3"]) -> Int[Tensor, "E 2"]:
    """Every undirected edge once, as (lower, higher) vertex ids in ascending order."""
    sides = torch.cat((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    return torch.unique(sides.sort(dim=1).values, dim=0)
