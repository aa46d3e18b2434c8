"""Find the faces that every pixel hits, in chunks of bounded memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.ndc import MIN_DEPTH
from meshreg.render.torch_backend.triangles import (
    barycentric,
    edge_values,
    is_inside,
    outline_distance2,
    pixel_centres,
    signed_area,
    soft_barycentric,
)

# (face, pixel) pairs that are tested at once.
CHUNK = 2_000_000
# PyTorch3D never draws faces of less than this (twice the area, NDC units squared).
MIN_AREA = 1e-8


@dataclass(frozen=True)
class Options:
    """What one rasterisation is asked for."""

    size: tuple[int, int]
    layers: int | None = 1  # None: every face that a pixel hits
    blur: float = 0.0
    perspective: bool = True
    clip: bool = False
    cull: bool = False
    closed: bool = False  # a sample on a face's outline belongs to it; tiny faces are drawn too
    soft: bool = False  # barycentrics of samples outside a face as SoftRas defines them

    def __post_init__(self) -> None:
        if (self.layers is not None and self.layers < 1) or self.blur < 0:
            raise InputError(
                "expected faces_per_pixel >= 1 and blur_radius >= 0, "
                f"found {self.layers} and {self.blur}: correct them."
            )

    def weigh(self, edges: Float[Tensor, "3 N"], z: Float[Tensor, "3 N"]) -> Float[Tensor, "3 N"]:
        """Barycentrics, from edge values and depths of the corners."""
        if self.soft:
            return soft_barycentric(edges, z, perspective=self.perspective)
        return barycentric(edges, z, perspective=self.perspective, clip=self.clip)


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch of projected meshes as one list of faces."""

    verts: Float[Tensor, "B V 3"]  # NDC x and y, camera depth z
    corners: Int[Tensor, "3 BF"]  # corners of all faces of all images: image * V + vertex
    owner: Int[Tensor, " BF"] | None  # of cut faces: what they are pieces of; None: no face was cut

    @property
    def faces_per_image(self) -> int:
        return self.corners.shape[1] // max(len(self.verts), 1)

    def corners_of(self, face: Int[Tensor, " N"]) -> Float[Tensor, "3 3 N"]:
        """Coordinates (x y z, corner, face); differentiable."""
        chosen = self.corners[:, face].flatten()
        return self.verts.flatten(0, 1).T.index_select(1, chosen).view(3, 3, -1)


def make_scene(
    verts: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "*B F 3"],
    owner: Int[Tensor, "B F"] | None = None,
) -> Scene:
    """`faces` may be shared by all images or be each image's own."""
    num_images, num_verts, _ = verts.shape
    offset = torch.arange(num_images, device=faces.device)[:, None, None] * num_verts
    corners = (faces.long() + offset).flatten(0, 1).T.contiguous()
    if owner is not None:
        first = torch.arange(num_images, device=faces.device)[:, None] * faces.shape[-2]
        owner = (owner + first).flatten()
    return Scene(verts=verts, corners=corners, owner=owner)


@dataclass(frozen=True, eq=False)
class Hits:
    """Pairs of a pixel and a face that covers it or comes near enough."""

    pixel: Int[Tensor, " N"]  # (image * H + row) * W + column
    face: Int[Tensor, " N"]  # image * F + face
    depth: Float[Tensor, " N"]  # where the face is seen; metres
    distance: Float[Tensor, " N"]  # signed and squared; only if the scene's faces were cut, else 0

    def __getitem__(self, which: Tensor) -> "Hits":
        return Hits(self.pixel[which], self.face[which], self.depth[which], self.distance[which])


def join(parts: list[Hits]) -> Hits:
    return Hits(
        torch.cat([part.pixel for part in parts]),
        torch.cat([part.face for part in parts]),
        torch.cat([part.depth for part in parts]),
        torch.cat([part.distance for part in parts]),
    )


def locate(pixel: Int[Tensor, " N"], size: tuple[int, int], like: Tensor) -> Float[Tensor, "2 N"]:
    """NDC positions of packed pixel numbers."""
    height, width = size
    return pixel_centres(pixel % width, pixel // width % height, size, like)


@torch.no_grad()
def find_hits(scene: Scene, options: Options) -> Hits:
    """The nearest `layers` hits of every pixel by pixel, depth and face; or all, unsorted."""
    like, none = scene.verts, scene.corners.new_empty(0)
    kept = Hits(none, none, like.new_empty(0), like.new_empty(0))
    pending: list[Hits] = []
    for hits in _all_hits(scene, options):
        pending.append(hits)
        # Trimming now and then keeps memory in proportion to the picture, not to the overlaps.
        if options.layers is not None and sum(len(part.pixel) for part in pending) > CHUNK:
            kept, pending = _nearest(join([kept, *pending]), scene, options.layers), []
    return _nearest(join([kept, *pending]), scene, options.layers)


def _nearest(hits: Hits, scene: Scene, layers: int | None) -> Hits:
    if layers is None:
        return hits
    if scene.owner is not None:
        hits = hits[_nearer_piece(hits, scene.owner)]
    order = hits.depth.sort(stable=True).indices
    hits = hits[order[hits.pixel[order].sort(stable=True).indices]]
    return hits[layer_of(hits.pixel) < layers]


def layer_of(pixel: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """How many hits of the same pixel come before each hit, in a list sorted by pixel."""
    place = torch.arange(len(pixel), device=pixel.device)
    return place - torch.searchsorted(pixel, pixel)


def _nearer_piece(hits: Hits, owner: Int[Tensor, " BF"]) -> Bool[Tensor, " N"]:
    """Of the two pieces of a cut face a pixel keeps the one that it is deeper in or nearer to."""
    whole = hits.pixel * len(owner) + owner[hits.face]
    order = hits.distance.sort(stable=True).indices
    order = order[whole[order].sort(stable=True).indices]
    whole = whole[order]
    first = torch.ones_like(whole, dtype=torch.bool)
    first[1:] = whole[1:] != whole[:-1]
    return torch.zeros_like(first).index_put((order,), first)


def _all_hits(scene: Scene, options: Options) -> Iterator[Hits]:
    """Test every face at every pixel of its bounding box, about `CHUNK` pairs at a time."""
    height, width = options.size
    low, high = _pixel_boxes(scene, options)
    extent = (high - low + 1).clamp(min=0)
    count = extent[0] * extent[1]
    boxed = count.nonzero()[:, 0]
    end = count[boxed].cumsum(0)
    first = 0
    while first < len(boxed):
        before = int(end[first - 1]) if first else 0
        last = max(int(torch.searchsorted(end, before + CHUNK)), first + 1)
        chosen = boxed[first:last]
        face = chosen.repeat_interleave(count[chosen])
        place = torch.arange(len(face), device=face.device)
        place = place - (end[first:last] - count[chosen] - before).repeat_interleave(count[chosen])
        column = low[0, face] + place % extent[0, face]
        row = low[1, face] + place // extent[0, face]
        pixel = (face // scene.faces_per_image * height + row) * width + column
        yield _test(scene, options, pixel, face)
        first = last


def _test(scene: Scene, options: Options, pixel: Tensor, face: Tensor) -> Hits:
    corners = scene.corners_of(face)
    sample = locate(pixel, options.size, scene.verts)
    edges = edge_values(corners, sample)
    hit = inside = is_inside(edges, options.closed)
    distance = torch.zeros_like(edges[0])
    if options.blur > 0 or scene.owner is not None:
        distance = outline_distance2(corners, sample)
        hit = inside | (distance < options.blur)
        distance = torch.where(inside, -distance, distance)
    pixel, face, distance = pixel[hit], face[hit], distance[hit]
    z = corners[2][:, hit]
    depth = (options.weigh(edges[:, hit], z) * z).sum(0)
    # Rounding may leave slivers without an area, and so a depth that is not a number.
    return Hits(pixel, face, depth, distance)[depth >= 0]


def _pixel_boxes(scene: Scene, options: Options) -> tuple[Int[Tensor, "2 BF"], Int[Tensor, "2 BF"]]:
    """First and last (column, row) whose centre each face can reach; last < first if none."""
    corners = scene.corners_of(torch.arange(scene.corners.shape[1], device=scene.corners.device))
    area = signed_area(corners)
    seen = (corners[2].amin(0) >= MIN_DEPTH) & (area.abs() > (0 if options.closed else MIN_AREA))
    if options.cull:
        seen &= area >= 0
    extent = corners.new_tensor([options.size[1], options.size[0]])[:, None]
    reach = math.sqrt(options.blur)

    def place(ndc: Tensor) -> Tensor:
        return (extent - 1 - ndc * min(options.size)) / 2

    # NDC grows against columns and rows. The margin absorbs rounding; the exact test comes later.
    low = place(corners[:2].amax(1) + reach) - 1e-3
    high = place(corners[:2].amin(1) - reach) + 1e-3
    ones = torch.ones_like(extent)
    low = torch.minimum(low.clamp(min=0), extent).nan_to_num().ceil().long()
    high = torch.minimum(high.clamp(min=-1), extent - ones).nan_to_num().floor().long()
    return low, torch.where(seen, high, -1)
