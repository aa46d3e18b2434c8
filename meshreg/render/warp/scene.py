"""One call's tensors and settings, and the search for the nearest faces of every pixel."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import warp as wp
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.checks import MANY, check_memory
from meshreg.render.ndc import MIN_DEPTH
from meshreg.render.warp.functions import TILE, Settings
from meshreg.render.warp.launch import Launcher, as_warp

MANY_LAYERS = 8  # from here on it pays to sort faces by depth first
# PyTorch3D never draws faces of less than this (twice the area, NDC units squared).
MIN_AREA = 1e-8


@dataclass(frozen=True)
class Options:
    """What one rasterisation is asked for."""

    size: tuple[int, int]
    layers: int = 1
    blur: float = 0.0
    perspective: bool = True
    clip: bool = False
    cull: bool = False
    closed: bool = False  # a sample on a face's outline belongs to it; tiny faces are drawn too
    constant: bool = False  # attributes belong to faces, not to vertices
    deterministic: bool = False  # the number of threads must not show in the last digits
    threads: int = 1  # on the CPU

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise InputError(f"expected an image size (H, W) of at least 1 x 1, found {self.size}.")
        if self.layers < 1 or self.blur < 0:
            raise InputError(
                "expected faces_per_pixel >= 1 and blur_radius >= 0, "
                f"found {self.layers} and {self.blur}: correct them."
            )

    def settings(self, num_faces: int, run: int) -> Any:
        s = Settings()
        s.num_faces = num_faces
        s.run = run
        s.height, s.width = self.size
        s.layers = self.layers
        s.tiles_x = -(-s.width // TILE)
        s.tiles_y = -(-s.height // TILE)
        s.perspective = int(self.perspective)
        s.clip = int(self.clip)
        s.cull = int(self.cull)
        s.closed = int(self.closed)
        s.constant = int(self.constant)
        return s


@dataclass(frozen=True)
class Scene:
    """Tensors and settings of one call, ready for kernels."""

    run: Launcher
    options: Options
    settings: Any
    verts: Tensor  # (B, V, 3) NDC
    faces: Tensor  # (B or 1, F, 3)
    verts_view: Any
    faces_view: Any
    partner_view: Any  # (B, F) the other piece of a cut face or -1; empty if no face was cut
    num_images: int
    pixels: int  # B H W

    def pixel_parts(self) -> list[tuple[int, int]]:
        return self.run.parts(self.pixels)

    def run_parts(self) -> list[tuple[int, int]]:
        """Ranges of runs: the rows of a picture on the CPU, single pixels on a GPU."""
        return self.run.parts(self.pixels // self.settings.run)

    def images_of(self, first: int, end: int) -> tuple[int, int]:
        """The range of images that a range of runs touches."""
        per_image = self.pixels // self.settings.run // self.num_images
        return first // per_image, (end - 1) // per_image + 1


def make_scene(
    verts: Tensor,
    faces: Tensor,
    options: Options,
    partner: Tensor | None = None,
    group: str = "hard",
) -> Scene:
    run = Launcher(verts, group, options.deterministic, options.threads)
    verts = verts.detach().contiguous()
    height, width = options.size
    if partner is None:
        partner = faces.new_empty(0, 0)
    return Scene(
        run=run,
        options=options,
        settings=options.settings(faces.shape[1], 1 if run.is_cuda else width),
        verts=verts,
        faces=faces,
        verts_view=as_warp(verts, run.kernels.vector),
        faces_view=as_warp(faces),
        partner_view=as_warp(partner),
        num_images=len(verts),
        pixels=len(verts) * height * width,
    )


def searches_by_pixel(run: Launcher) -> bool:
    """One thread per pixel suits a GPU's thousands of threads; tiles take fewer tests."""
    return run.is_cuda


@dataclass(frozen=True)
class Tiles:
    """Which faces may be seen in which tile of which image."""

    box_view: Any  # (B F) pixel box (x0, x1, y0, y1) of every face
    start: Tensor  # (tiles + 1) where each tile's faces begin in `listed`
    start_view: Any
    listed_view: Any  # face numbers, tile after tile
    total: int

    def shared_out(self, pieces: int) -> list[tuple[int, int]]:
        """Ranges of tiles with about as many faces to test in each."""
        cuts = [
            int(torch.searchsorted(self.start, self.total * i // pieces)) for i in range(1, pieces)
        ]
        cuts = [0, *cuts, len(self.start) - 1]
        return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]


def front_to_back(scene: Scene) -> Tensor:
    """The faces of each image by the depth of their nearest corner, (B F)."""
    depth = scene.verts[..., 2]
    corners = scene.faces.expand(scene.num_images, -1, -1).flatten(1)
    nearest = depth.gather(1, corners.long()).unflatten(1, (-1, 3)).amin(-1)
    return nearest.argsort(1).int().flatten()


def sort_into_tiles(scene: Scene, *, depth_order: bool = False) -> Tiles:
    run, s, k = scene.run, scene.settings, scene.run.kernels
    device, num_boxes = scene.verts.device, scene.num_images * s.num_faces
    num_tiles = s.tiles_x * s.tiles_y * scene.num_images
    # Whole images per thread: counters and lists of one tile are then touched by one thread only.
    parts = [(a * s.num_faces, b * s.num_faces) for a, b in run.parts(scene.num_images)]
    box = as_warp(torch.empty((num_boxes, 4), dtype=torch.int32, device=device), wp.vec4i)
    count = torch.zeros(num_tiles, dtype=torch.int32, device=device)
    limits = [
        k.scalar(math.sqrt(scene.options.blur)),
        k.scalar(0.0 if scene.options.closed else MIN_AREA),
        k.scalar(MIN_DEPTH),
    ]
    meshes, count_view = [scene.verts_view, scene.faces_view], as_warp(count)

    def bound(first: int, end: int) -> None:
        inputs = [*meshes, first, s, *limits, box, count_view]
        run.launch(k.bound_faces, end - first, inputs)

    run.run([partial(bound, *part) for part in parts])
    ends = torch.cumsum(count, 0, dtype=torch.int64)
    total = int(ends[-1])
    if total >= MANY:
        raise InputError(
            f"every face blurs over so much of the image that {total:.1e} pairs of faces and "
            "tiles would be listed: lower the blur (sigma), size or batch."
        )
    check_memory(4 * total, device, f"listing {total} pairs of faces and tiles")
    start = torch.zeros(num_tiles + 1, dtype=torch.int32, device=device)
    start[1:] = ends
    listed = as_warp(torch.empty(max(total, 1), dtype=torch.int32, device=device))
    cursor = as_warp(start[:-1].clone())

    order = as_warp(front_to_back(scene) if depth_order else count[:0])

    def fill(first: int, end: int) -> None:
        run.launch(k.list_faces, end - first, [box, first, s, order, cursor, listed])

    run.run([partial(fill, *part) for part in parts])
    return Tiles(box, start, as_warp(start), listed, total)


def find_layers(scene: Scene) -> tuple[Tensor, Tensor]:
    """The nearest faces of every pixel (packed index) and their depths, both (B H W, K)."""
    run, s, k = scene.run, scene.settings, scene.run.kernels
    like, shape = scene.verts, (scene.pixels, scene.options.layers)
    if s.num_faces * scene.num_images == 0:
        index = torch.full(shape, -1, dtype=torch.int64, device=like.device)
        return index, like.new_full(shape, -1.0)

    by_pixel = searches_by_pixel(run)
    # Long lists of layers are built fastest from the front; a GPU lists faces in any order.
    deep = not by_pixel and scene.options.layers >= MANY_LAYERS
    tiles = sort_into_tiles(scene, depth_order=deep)
    # Not filled here: the kernel clears a tile before it searches, on every thread at once.
    index = torch.empty(shape, dtype=torch.int64, device=like.device)
    depth = like.new_empty(shape)
    found = torch.empty(scene.pixels, dtype=torch.int32, device=like.device)
    meshes = [scene.verts_view, scene.faces_view]
    lists = [tiles.box_view, tiles.start_view, tiles.listed_view, scene.partner_view]
    blur = scene.options.blur
    limits = [k.scalar(math.sqrt(blur)), k.scalar(blur)]
    out = [as_warp(found), as_warp(index), as_warp(depth)]
    search = k.find_layers_by_pixel if by_pixel else k.find_layers_by_tile
    per_tile = TILE * TILE if by_pixel else 1

    def find(first: int, end: int) -> None:
        inputs = [*meshes, *lists, first * per_tile, s, *limits, *out]
        run.launch(search, (end - first) * per_tile, inputs)

    run.run([partial(find, *part) for part in tiles.shared_out(run.pieces)])
    return index, depth
