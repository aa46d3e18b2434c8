"""Meshes made ready for kernels: projected, cut at the near plane, with attributes per corner."""

from dataclasses import dataclass

import torch
from torch import Tensor

from meshreg.render.ndc import divide_by_depth, homogeneous_ndc, ndc_rows
from meshreg.render.near_clip import cut_at_near_plane
from meshreg.render.warp.operators import Project


@dataclass(frozen=True, eq=False)
class View:
    """The camera of one call, and the threads that may work for it."""

    K: Tensor  # (B or 1, 3, 3)
    size: tuple[int, int]
    z_clip: float | None
    threads: int

    def project(self, verts_cam: Tensor) -> Tensor:
        if self.K.requires_grad:  # the kernel gives no gradient to the camera
            return divide_by_depth(homogeneous_ndc(verts_cam, self.K, self.size))
        projected: Tensor = Project.apply(verts_cam, ndc_rows(self.K, self.size), self.threads)
        return projected


@dataclass(frozen=True, eq=False)
class DressedMesh:
    """A mesh with attributes, after faces were cut if that was wished."""

    verts_ndc: Tensor  # (B, V, 3) as given, or with more points
    faces: Tensor  # (1 or B, F, 3) 32-bit corners
    attributes: Tensor  # (A, N, C)
    rows: Tensor  # (1 or B, F, 3) 32-bit: which row of `attributes` each corner has


def dress(
    verts_cam: Tensor,
    faces: Tensor,
    attributes: Tensor,
    per_face: bool,
    view: View,
) -> DressedMesh:
    """Project a mesh with its attributes; faces that cross the near plane are cut there."""
    z_clip = view.z_clip
    if z_clip is None or bool((verts_cam[..., 2] >= z_clip).all()):
        return dress_whole(view.project(verts_cam), faces, attributes, per_face)
    points = homogeneous_ndc(verts_cam, view.K, view.size)
    if per_face:
        mesh = cut_at_near_plane(points, faces, z_clip)
        rows = mesh.owner.int()[..., None].expand(-1, -1, 3).contiguous()
        corners, points = mesh.faces.int().contiguous(), mesh.points
        return DressedMesh(divide_by_depth(points), corners, attributes, rows)
    dressed = torch.cat([points, attributes.expand(len(points), -1, -1)], -1)
    mesh = cut_at_near_plane(dressed, faces, z_clip)
    corners, points = mesh.faces.int().contiguous(), mesh.points[..., :3]
    return DressedMesh(divide_by_depth(points), corners, mesh.points[..., 3:], corners)


def dress_whole(
    verts_ndc: Tensor, faces: Tensor, attributes: Tensor, per_face: bool
) -> DressedMesh:
    """A projected mesh none of whose faces is cut."""
    corners = rows = topologies(faces)
    if per_face:
        own = torch.arange(len(faces), dtype=torch.int32, device=faces.device)
        rows = own[None, :, None].expand(-1, -1, 3).contiguous()
    return DressedMesh(verts_ndc, corners, attributes, rows)


def topologies(faces: Tensor) -> Tensor:
    """Faces as the kernels want them: 32-bit, under an axis of one topology for all images."""
    return faces.to(torch.int32).contiguous()[None]
