"""Normals, areas and edges of meshes whose answers are known."""

import math

import pytest
import torch
import trimesh
from torch import Tensor

from meshreg.geometry.mesh import edges, face_normals, triangle_areas, vertex_normals


def cube() -> tuple[Tensor, Tensor]:
    box = trimesh.creation.box(extents=(2.0, 2.0, 2.0))
    return torch.from_numpy(box.vertices.copy()), torch.from_numpy(box.faces.copy())


def sphere() -> tuple[Tensor, Tensor]:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    return torch.from_numpy(ball.vertices.copy()), torch.from_numpy(ball.faces.copy())


def test_cube_faces_point_along_the_axes() -> None:
    vertices, faces = cube()
    normals = face_normals(vertices, faces)
    centres = vertices[faces].mean(1)
    outward = torch.where(centres.abs() > 0.999, centres.sign(), 0.0)
    torch.testing.assert_close(normals, outward)
    torch.testing.assert_close(triangle_areas(vertices, faces), torch.full((12,), 2.0).double())


def test_vertex_normals_match_a_loop_over_faces() -> None:
    vertices, faces = cube()
    vertices = vertices + 0.3 * torch.randn_like(vertices)
    expected = torch.zeros_like(vertices)
    for a, b, c in faces.tolist():
        area_vector = torch.linalg.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for corner in (a, b, c):
            expected[corner] += area_vector
    expected /= expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(vertex_normals(vertices, faces), expected)


def test_sphere_normals_are_radial_and_its_area_is_known() -> None:
    vertices, faces = sphere()
    radial = vertices / vertices.norm(dim=1, keepdim=True)
    assert (vertex_normals(vertices, faces) * radial).sum(1).min() > 0.999
    assert triangle_areas(vertices, faces).sum() == pytest.approx(math.pi, rel=0.02)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_leading_dimensions(batch: tuple[int, ...]) -> None:
    vertices, faces = cube()
    many = vertices + 0.1 * torch.randn(*batch, *vertices.shape, dtype=torch.float64)
    flat = many.reshape(-1, *vertices.shape)
    for function, tail in (
        (vertex_normals, (8, 3)),
        (face_normals, (12, 3)),
        (triangle_areas, (12,)),
    ):
        expected = torch.stack([function(one, faces) for one in flat]).reshape(*batch, *tail)
        torch.testing.assert_close(function(many, faces), expected)


def test_empty_triangles_and_lonely_vertices_give_zero_and_finite_gradients() -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0], [9, 9, 9]])
    vertices.requires_grad_()
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 0, 1]])
    normals = vertex_normals(vertices, faces)
    assert torch.equal(normals[4], torch.zeros(3))
    assert torch.equal(face_normals(vertices, faces)[1:], torch.zeros(2, 3))
    total = normals.sum() + face_normals(vertices, faces).sum()
    total = total + triangle_areas(vertices, faces).sum()
    (gradient,) = torch.autograd.grad(total, vertices)
    assert gradient.isfinite().all()


def test_derivatives() -> None:
    vertices, faces = cube()
    vertices = (vertices + 0.1 * torch.randn_like(vertices)).requires_grad_()
    for function in (vertex_normals, face_normals, triangle_areas):
        assert torch.autograd.gradcheck(lambda v, f=function: f(v, faces), (vertices,))


def test_edges_of_closed_meshes_obey_euler() -> None:
    for vertices, faces in (cube(), sphere()):
        found = edges(faces)
        assert len(vertices) - len(found) + len(faces) == 2
        assert (found[:, 0] < found[:, 1]).all()
    tetrahedron = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    expected = torch.tensor([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    assert torch.equal(edges(tetrahedron), expected)
