"""Faces that reach behind the camera, cut at a near plane."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.render.near_clip import cut_at_near_plane
from meshreg.render.rasterizer import rasterizer

SIZE = (11, 15)
K = torch.tensor([[[9.0, 0.0, 6.2], [0.0, 8.0, 5.5], [0.0, 0.0, 1.0]]], dtype=torch.float64)
NEAR = 0.3


def crossing_triangles(num_images: int = 2, num_faces: int = 7) -> tuple[Tensor, Tensor]:
    verts = torch.randn(num_images, 3 * num_faces, 3, dtype=torch.float64)
    verts[..., 2] += 0.4
    return verts, torch.arange(3 * num_faces).view(-1, 3)


def ray_hits(verts: Tensor, faces: Tensor) -> list[tuple[int, int, int, list]]:
    """For every pixel the (depth, face, weights) where its ray pierces a triangle beyond NEAR."""
    found = []
    for b in range(len(verts)):
        for row in range(SIZE[0]):
            for column in range(SIZE[1]):
                pixel = torch.tensor([column, row, 1.0], dtype=torch.float64)
                ray = torch.linalg.solve(K[0], pixel)  # one metre deep
                hits = []
                for f, corners in enumerate(faces):
                    # depth * ray = weights @ corners with weights that sum to one
                    system = torch.cat([verts[b, corners].T, -ray[:, None]], 1)
                    system = torch.cat([system, torch.tensor([[1.0, 1, 1, 0]]).double()])
                    right = torch.tensor([0.0, 0, 0, 1]).double()
                    *weights, depth = torch.linalg.solve(system, right)
                    if depth >= NEAR and min(weights) > 0:
                        hits.append((float(depth), b * len(faces) + f, torch.stack(weights)))
                found.append((b, row, column, sorted(hits, key=lambda hit: hit[0])))
    return found


def test_cut_faces_are_hit_where_rays_pierce_them() -> None:
    verts, faces = crossing_triangles()
    behind = (verts[:, faces][..., 2] < NEAR).sum(-1)
    assert all((behind == n).any() for n in range(3)), "the scene must hold every kind of face"
    out = rasterizer().fragments(
        verts, faces, K.expand(2, 3, 3), SIZE, faces_per_pixel=4, z_clip=NEAR
    )
    count = 0
    for b, row, column, hits in ray_hits(verts, faces):
        index = out.pix_to_face[b, row, column]
        assert index[index >= 0].tolist() == [hit[1] for hit in hits[:4]]
        for k, (depth, _, weights) in enumerate(hits[:4]):
            torch.testing.assert_close(float(out.zbuf[b, row, column, k]), depth)
            torch.testing.assert_close(out.bary_coords[b, row, column, k], weights)
            count += 1
    assert count > 100


def test_the_gradient_through_the_cut_follows_differences() -> None:
    verts, faces = crossing_triangles(1)
    weights: list[Tensor] = []

    def value(points: Tensor) -> tuple[Tensor, Tensor]:
        out = rasterizer().fragments(points, faces, K, SIZE, faces_per_pixel=2, z_clip=NEAR)
        parts = (out.zbuf, out.bary_coords, out.dists)
        if not weights:
            weights.extend(torch.rand_like(part) for part in parts)
        return sum(
            (w * part).sum() for w, part in zip(weights, parts, strict=True)
        ), out.pix_to_face

    verts.requires_grad_(True)
    total, index = value(verts)
    (slope,) = torch.autograd.grad(total, verts)
    step, tested = 1e-6, 0
    for i in range(verts.numel()):
        nudge = torch.zeros(verts.numel(), dtype=torch.float64)
        nudge[i] = step
        up, same_up = value(verts.detach() + nudge.view_as(verts))
        down, same_down = value(verts.detach() - nudge.view_as(verts))
        if torch.equal(same_up, index) and torch.equal(same_down, index):
            difference = float(up - down) / (2 * step)
            assert abs(difference - slope.view(-1)[i]) < 1e-4 * (1 + abs(difference))
            tested += 1
    assert tested > 40 and slope.isfinite().all()


def test_a_mesh_in_front_of_the_plane_is_left_alone() -> None:
    verts, faces = crossing_triangles()
    mesh = cut_at_near_plane(verts, faces, z_clip=-100.0)
    assert torch.equal(mesh.points, verts)
    assert torch.equal(mesh.faces, faces.expand(2, -1, -1)) and (mesh.partner == -1).all()


def test_cut_faces_equal_pytorch3d(reference_fixtures: Path) -> None:
    # Only without blur: in a blurred band PyTorch3D chooses between the two pieces of a face by
    # distances that are equal but for rounding.
    path = reference_fixtures / "pytorch3d" / "zclip.pt"
    cases = torch.load(path, weights_only=False)["cases"]
    sharp = [case for case in cases if case["settings"]["blur_radius"] == 0]
    assert sharp
    for case in sharp:
        settings = case["settings"]
        out = rasterizer().fragments_ndc(
            torch.stack(case["verts"]),
            case["faces"][0],
            tuple(settings["image_size"]),
            faces_per_pixel=settings["faces_per_pixel"],
            perspective_correct=settings["perspective_correct"],
            clip_barycentric_coords=settings["clip_barycentric_coords"],
            cull_backfaces=settings["cull_backfaces"],
            z_clip=settings["z_clip_value"],
        )
        sound = ~case["fragile"][..., None]
        assert torch.equal(out.pix_to_face * sound, case["pix_to_face"] * sound)
        torch.testing.assert_close(out.zbuf * sound, case["zbuf"] * sound, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            out.bary_coords * sound[..., None],
            case["bary"] * sound[..., None],
            atol=1e-5,
            rtol=1e-4,
        )
        torch.testing.assert_close(out.dists * sound, case["dists"] * sound, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("z_clip", [None, NEAR])
def test_a_mesh_behind_the_camera_draws_nothing(z_clip: float | None) -> None:
    verts, faces = crossing_triangles(1)
    verts = (verts - torch.tensor([0.0, 0.0, 9.0])).requires_grad_(True)
    out = rasterizer().fragments(verts, faces, K, SIZE, z_clip=z_clip)
    assert (out.pix_to_face == -1).all() and (out.bary_coords == -1).all()
    assert (torch.autograd.grad(out.zbuf.sum(), verts)[0] == 0).all()
