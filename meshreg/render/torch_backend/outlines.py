"""Let the class image's gradient move outlines, whatever rasteriser found the front faces.

Where a nearer surface ends in front of something else, the border between two neighbouring pixels
p and q moves with the surface point of the nearer one. Moving that point by one pixel from p
towards q changes the loss by (g_p + g_q) / 2 . (C_p - C_q), where C are the pixels' values and g
the loss's gradients. The idea is that of the edge gradients of Pidhorskyi et al., "Rasterized Edge
Gradients", ECCV 2024.

Two neighbouring pixels see one surface, which has no outline between them, if their faces share a
corner, or if one face's plane, continued to the other pixel, comes close to the depth found there.
Attributes that are constant on each face have no other gradient: there every pair of different
values is an outline.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from meshreg.render.rasterizer import SemanticImage
from meshreg.render.torch_backend.inputs import Dressed
from meshreg.render.torch_backend.layers import describe_hits
from meshreg.render.torch_backend.search import Hits, Options, Scene, locate
from meshreg.render.torch_backend.triangles import edge_values

# Neighbouring pixels belong to two surfaces if they lie more than this many pixel widths apart.
GAP = 2.0
# Right, left, down and up, in columns and rows.
NEIGHBOURS = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True, eq=False)
class Front:
    """The faces in front of everything else."""

    scene: Scene
    face: Int[Tensor, "B H W"]  # image * F + face, -1 where there is none
    depth: Float[Tensor, "B H W"]  # metres; anything where there is no face
    pixel_width: Float[Tensor, " B"]  # metres that a pixel spans at a depth of one metre
    constant: bool  # attributes are constant on each face: all borders of values are outlines


def draw_front(
    mesh: Dressed, hits: Hits, size: tuple[int, int], width: Tensor, background: float
) -> SemanticImage:
    """The class image of at most one hit per pixel; `width` is `Front.pixel_width`."""
    scene = mesh.scene
    # Clipping matters only if the hits were found a trifle outside their faces.
    options = Options(size, clip=True, closed=True)
    depth, bary, _ = describe_hits(scene, options, hits.pixel, hits.face)
    shape = (len(scene.verts), *size)

    def image(values: Tensor, empty: float | int) -> Tensor:
        flat = values.new_full((shape[0] * shape[1] * shape[2], *values.shape[1:]), empty)
        return flat.index_copy(0, hits.pixel, values).view(*shape, *values.shape[1:])

    front = Front(scene, image(hits.face, -1), image(depth.detach(), 0.0), width, mesh.per_face)
    classes = image(mesh.at(hits.face, bary), background)
    classes, alpha = MovingOutlines.apply(
        scene.verts, classes, (front.face >= 0).to(classes), front
    )
    return SemanticImage(classes=classes, alpha=alpha, depth=front.depth)


class MovingOutlines(torch.autograd.Function):
    """Returns the images as they are, and gives the vertices the gradient of the outlines."""

    @staticmethod
    def forward(
        ctx: Any, verts: Tensor, classes: Tensor, alpha: Tensor, front: Front
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(classes)
        ctx.front = front
        return classes.clone(), alpha.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (classes,) = ctx.saved_tensors
        front: Front = ctx.front
        pull = _pull(front, classes.flatten(0, 2), grads[0].flatten(0, 2), grads[1].flatten())
        return _spread(front, pull), grads[0], None, None


def _pull(
    front: Front,
    classes: Float[Tensor, "P C"],
    classes_grad: Float[Tensor, "P C"],
    alpha_grad: Float[Tensor, " P"],
) -> Float[Tensor, "P 2"]:
    """Gradient with respect to the place (column, row) of the surface point that a pixel sees."""
    face, depth = front.face.flatten(), front.depth.flatten()
    pull = classes.new_zeros(len(face), 2)
    for columns, rows in NEIGHBOURS:
        p, q = _neighbours(front.face, columns, rows)
        behind = (face[q] < 0) | (depth[p] < depth[q]) | (
            (depth[p] == depth[q]) & (face[p] < face[q])
        )  # fmt: skip
        border = (face[p] >= 0) & (face[p] != face[q]) & behind
        p, q = p[border], q[border]
        gain = ((classes_grad[p] + classes_grad[q]) * (classes[p] - classes[q])).sum(-1)
        gain = (gain + torch.where(face[q] < 0, alpha_grad[p] + alpha_grad[q], 0.0)) / 2
        if not front.constant:
            gain = torch.where(_breaks(front, face, depth, p, q), gain, 0.0)
        pull.index_add_(0, p, gain[:, None] * pull.new_tensor([columns, rows]))
    return pull


def _neighbours(
    images: Int[Tensor, "B H W"], columns: int, rows: int
) -> tuple[Int[Tensor, " N"], Int[Tensor, " N"]]:
    """All pixels (packed) that have a neighbour in that direction, and those neighbours."""
    _, height, width = images.shape
    pixel = torch.arange(images.numel(), device=images.device).view(images.shape)
    here = pixel[
        :, max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)
    ]
    return here.flatten(), (here + rows * width + columns).flatten()


def _breaks(
    front: Front, face: Int[Tensor, " P"], depth: Float[Tensor, " P"], p: Tensor, q: Tensor
) -> Bool[Tensor, " N"]:
    """Whether the surface seen at p ends before q."""
    ends = face[q] < 0
    both = (~ends).nonzero()[:, 0]
    p, q = p[both], q[both]
    corners = front.scene.corners[:, face[p]], front.scene.corners[:, face[q]]
    apart = (corners[0][:, None] != corners[1][None]).all(0).all(0)
    both, p, q = both[apart], p[apart], q[apart]
    width = front.pixel_width[face[p] // max(front.scene.faces_per_image, 1)]
    limit = GAP * width * depth[p]
    far = _plane_misses(front, face[p], q, depth[q], limit)
    far &= _plane_misses(front, face[q], p, depth[p], limit)
    ends[both] = far
    return ends


def _plane_misses(
    front: Front,
    face: Int[Tensor, " N"],
    pixel: Int[Tensor, " N"],
    depth: Float[Tensor, " N"],
    limit: Float[Tensor, " N"],
) -> Bool[Tensor, " N"]:
    """Whether a face's plane, seen at a pixel, is farther than `limit` from a depth."""
    corners = front.scene.corners_of(face)
    edges = edge_values(corners, _place(front, pixel))
    # 1 / z is linear in the image; where it is not positive the plane is not in view at all.
    inverse = (edges / corners[2]).sum(0)
    return (inverse <= 0) | ((edges.sum(0) / inverse - depth).abs() > limit)


def _spread(front: Front, pull: Float[Tensor, "P 2"]) -> Float[Tensor, "B V 3"]:
    """Share the motion of surface points between their faces' corners."""
    scene, size = front.scene, front.face.shape[1:]
    pixel = (pull != 0).any(-1).nonzero()[:, 0]
    face = front.face.flatten()[pixel]
    edges = edge_values(scene.corners_of(face), _place(front, pixel))
    # Columns and rows grow against NDC's axes.
    share = edges / edges.sum(0) * (-min(size) / 2)
    grad = torch.zeros_like(scene.verts)
    flat = grad.view(-1, 3)
    for corner in range(3):
        moved = share[corner, :, None] * pull[pixel]
        flat.index_add_(0, scene.corners[corner, face], torch.nn.functional.pad(moved, (0, 1)))
    return grad


def _place(front: Front, pixel: Int[Tensor, " N"]) -> Float[Tensor, "2 N"]:
    _, height, width = front.face.shape
    return locate(pixel, (height, width), front.scene.verts)
