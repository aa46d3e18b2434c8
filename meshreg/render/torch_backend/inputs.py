"""Check what a user hands in, and cut and dress meshes for class images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render import checks
from meshreg.render.ndc import divide_by_depth, homogeneous_ndc
from meshreg.render.near_clip import cut_at_near_plane
from meshreg.render.torch_backend.search import Scene, make_scene


def check_inputs(
    verts: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    z_clip: float | None = None,
    *,
    planes: int,
    K: Tensor | None = None,
) -> None:
    """Refuse what cannot be drawn; without `K` the vertices are NDC.

    `planes` is how many numbers the result holds per pixel.
    """
    checks.check_mesh(verts, faces, "verts_ndc" if K is None else "verts_cam")
    if K is not None:
        checks.check_intrinsics(K, verts)
    checks.check_size(size, len(verts))
    needed = len(verts) * size[0] * size[1] * planes * verts.element_size()
    checks.check_memory(needed, verts.device, f"an image of {planes} numbers at size {size}")
    if z_clip is not None and not z_clip > 0:
        raise InputError(f"expected z_clip > 0 metres, found {z_clip}: give a distance in front.")


def planes_of(attributes: Tensor) -> int:
    """How many numbers per pixel an image of these attributes takes."""
    checks.check_tensor("attributes", attributes)
    return 6 + (attributes.shape[-1] if attributes.ndim else 0)


def check_cut(z_clip: float | None, perspective_correct: bool) -> None:
    if z_clip is not None and not perspective_correct:
        raise InputError(
            "z_clip cuts faces in space, found perspective_correct=False: leave out one."
        )


@dataclass(frozen=True, eq=False)
class Dressed:
    """Projected meshes with attributes, after faces were cut if that was wished."""

    scene: Scene
    values: Float[Tensor, "R C"]  # attributes of all images
    rows: Int[Tensor, "3 BF"]  # which row of `values` each corner of the scene's faces has
    per_face: bool  # the three rows of a face are one

    def at(self, face: Int[Tensor, " N"], bary: Float[Tensor, "N 3"]) -> Float[Tensor, "N C"]:
        """Attributes at points of faces."""
        mixed = self.values.new_zeros(len(face), self.values.shape[1])
        for corner in range(3):
            values = self.values.index_select(0, self.rows[corner, face])
            mixed = mixed + bary[:, corner, None] * values
        return mixed


def dress(
    verts: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    attributes: Float[Tensor, "A N C"],
    *,
    per_face: bool,
    z_clip: float | None = None,
    camera: tuple[Float[Tensor, "B 3 3"], tuple[int, int]] | None = None,
) -> Dressed:
    """`camera` is (K, image size); without it the vertices are NDC already."""
    attributes, faces = attributes.to(verts), faces.long()
    points = verts if camera is None else homogeneous_ndc(verts, camera[0], camera[1])
    owner = torch.arange(len(faces), device=faces.device).expand(len(verts), -1)
    if z_clip is not None:
        wanted = attributes.expand(len(verts), -1, -1)
        cut = cut_at_near_plane(
            points if per_face else torch.cat([points, wanted], -1), faces, z_clip
        )
        points, faces, owner = cut.points[..., :3], cut.faces, cut.owner
        attributes = attributes if per_face else cut.points[..., 3:]
    scene = make_scene(points if camera is None else divide_by_depth(points), faces)
    # Where each image's attributes begin in the list of all of them.
    first = torch.arange(len(verts), device=faces.device) * attributes.shape[1]
    first = (first if len(attributes) > 1 else first * 0)[:, None]
    if per_face:
        rows = (owner + first).flatten().expand(3, -1)
    else:
        rows = (faces.mT + first[..., None]).transpose(0, 1).flatten(1)
    return Dressed(scene=scene, values=attributes.flatten(0, 1), rows=rows, per_face=per_face)


def pixel_width(K: Float[Tensor, "B 3 3"]) -> Float[Tensor, " B"]:
    """Metres that one pixel spans at a depth of one metre."""
    return 2 / (K[:, 0, 0] + K[:, 1, 1]).detach()
