"""Describe what each pixel hits: depth, barycentrics and distance, all differentiable."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from meshreg.render.near_clip import CutMesh
from meshreg.render.rasterizer import Fragments
from meshreg.render.torch_backend.search import Hits, Options, Scene, find_hits, layer_of, locate
from meshreg.render.torch_backend.triangles import (
    edge_values,
    is_inside,
    signed_distance2,
)

# Hits that are described at once; autograd keeps one chunk's intermediate results at a time.
CHUNK = 500_000


def in_chunks(
    describe: Callable[[Tensor, Tensor], tuple[Tensor, ...]], hits: Hits
) -> list[tuple[Tensor, ...]]:
    """Results of `describe(pixel, face)` for one run of hits after the other.

    With several runs, each one's intermediate results are computed again for its gradient.
    """
    pixels, faces = hits.pixel.split(CHUNK), hits.face.split(CHUNK)
    if len(pixels) == 1:
        return [describe(pixels[0], faces[0])]
    return [
        checkpoint(describe, pixel, face, use_reentrant=False, preserve_rng_state=False)
        for pixel, face in zip(pixels, faces, strict=True)
    ]


def describe_hits(
    scene: Scene, options: Options, pixel: Int[Tensor, " N"], face: Int[Tensor, " N"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, "N 3"], Float[Tensor, " N"]]:
    """Depth, barycentrics and signed squared distance of each hit."""
    corners, sample = scene.corners_of(face), locate(pixel, options.size, scene.verts)
    edges = edge_values(corners, sample)
    weights = options.weigh(edges, corners[2])
    distance = signed_distance2(corners, sample, is_inside(edges, options.closed))
    return (weights * corners[2]).sum(0), weights.T, distance


def draw_layers(scene: Scene, options: Options) -> Fragments:
    """The nearest faces of every pixel as images."""
    assert options.layers is not None
    hits = find_hits(scene, options)

    def describe(pixel: Tensor, face: Tensor) -> tuple[Tensor, ...]:
        return describe_hits(scene, options, pixel, face)

    depth, bary, distance = map(torch.cat, zip(*in_chunks(describe, hits), strict=True))
    shape = (len(scene.verts), *options.size, options.layers)
    slot = hits.pixel * options.layers + layer_of(hits.pixel)

    def image(values: Tensor) -> Tensor:
        flat = values.new_full((shape[0] * shape[1] * shape[2] * shape[3], *values.shape[1:]), -1)
        return flat.index_copy(0, slot, values).view(*shape, *values.shape[1:])

    return Fragments(
        pix_to_face=image(hits.face), zbuf=image(depth), bary_coords=image(bary),
        dists=image(distance),
    )  # fmt: skip


def report_whole_faces(drawn: Fragments, mesh: CutMesh, num_faces: int) -> Fragments:
    """Name the pieces of a cut mesh as the faces that they were cut from."""
    hit = drawn.pix_to_face >= 0
    piece = drawn.pix_to_face[hit]
    whole = piece // mesh.faces.shape[1] * num_faces + mesh.owner.flatten()[piece]
    bary = drawn.bary_coords
    mixed = (bary[hit][:, None] @ mesh.corner_weights.flatten(0, 1)[piece])[:, 0]
    return Fragments(
        pix_to_face=drawn.pix_to_face.masked_scatter(hit, whole),
        zbuf=drawn.zbuf,
        bary_coords=bary.masked_scatter(hit[..., None].expand_as(bary), mixed),
        dists=drawn.dists,
    )
