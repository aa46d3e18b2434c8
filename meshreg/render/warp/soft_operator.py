"""The soft class image as an autograd function whose both directions are kernels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from meshreg.errors import InputError
from meshreg.render.warp.launch import CHUNK, as_warp
from meshreg.render.warp.operators import given
from meshreg.render.warp.scene import (
    TILE,
    Options,
    Scene,
    Tiles,
    make_scene,
    searches_by_pixel,
    sort_into_tiles,
)
from meshreg.render.warp.sums import ThreadSums


@dataclass(frozen=True)
class Softness:
    """How faces are blended; see `meshreg.render.warp.soft` for the formula."""

    sigma: float
    gamma: float
    dist_eps: float  # faces that cover a pixel with less than this probability are left out
    z_near: float  # metres; only depths from near to far count in the classes
    z_far: float
    eps: float  # weight of the background
    background: float

    def __post_init__(self) -> None:
        for name in ("sigma", "gamma"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"expected {name} > 0, found {getattr(self, name)}: correct it.")
        if not 0 < self.dist_eps < 0.5:
            raise InputError(f"expected dist_eps between 0 and 0.5, found {self.dist_eps}.")
        if not self.z_near < self.z_far:
            raise InputError(
                f"expected z_near < z_far, found {self.z_near} and {self.z_far}: exchange them."
            )

    @property
    def blur(self) -> float:
        """Squared distance at which the probability falls to `dist_eps`."""
        return self.sigma * math.log(1 / self.dist_eps - 1)

    def arguments(self, scalar: Any) -> list[Any]:
        """What the kernels take: reach, blur, sharpness, rate, near, far."""
        rate = 1 / (self.gamma * (self.z_far - self.z_near))
        numbers = [math.sqrt(self.blur), self.blur, 1 / self.sigma, rate, self.z_near, self.z_far]
        return [scalar(number) for number in numbers]

    @property
    def behind(self) -> float:
        """The depth whose weight is that of the background."""
        return self.z_far - 2 * self.eps * (self.z_far - self.z_near)


def chunked(channels: Tensor) -> Tensor:
    """Pad the last axis with zeros to whole chunks, and split it: (..., chunks, CHUNK)."""
    missing = -channels.shape[-1] % CHUNK
    if missing:
        channels = pad(channels, (0, missing))
    return channels.contiguous().unflatten(-1, (-1, CHUNK))


class Soften(torch.autograd.Function):
    """NDC vertices and attributes -> (classes, alpha, nearest depth), each (B, H, W, ...)."""

    @staticmethod
    def forward(
        ctx: Any,
        verts: Tensor,
        attributes: Tensor,
        faces: Tensor,
        rows: Tensor,
        options: Options,
        soft: Softness,
    ) -> tuple[Tensor, ...]:
        scene = make_scene(verts, faces, options, group="soft")
        channels = attributes.shape[-1]
        values = chunked(attributes.detach())
        shape = (scene.num_images, *options.size)
        blend = values.new_zeros(scene.pixels, values.shape[-2] * CHUNK)
        blend[:, :channels] = soft.background
        nothing = values.new_tensor([soft.behind, 1.0, 1.0])
        ctx.tiles = None
        if scene.settings.num_faces * scene.num_images > 0:
            state = nothing.new_empty(scene.pixels, 3)
            ctx.tiles = sort_into_tiles(scene)
            _blend(scene, ctx.tiles, soft, rows, values, blend, state)
        else:
            state = nothing.repeat(scene.pixels, 1)
        classes = blend[:, :channels].view(*shape, channels)
        ctx.save_for_backward(verts, attributes, faces, rows, blend, state)
        ctx.options, ctx.soft = options, soft
        nearest, _, uncovered = state.unbind(-1)
        depth = torch.where(nearest < nothing[0], nearest, 0.0).view(shape)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(depth)
        return classes, (1 - uncovered).view(shape), depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        verts, attributes, faces, rows, blend, state = ctx.saved_tensors
        scene = make_scene(verts, faces, ctx.options, group="soft")
        values = chunked(attributes)
        wanted = ctx.needs_input_grad[1]
        verts_grad = ThreadSums(verts.shape, scene.verts, shared=False)
        values_grad = ThreadSums(values.shape, values, shared=len(values) == 1)
        k, channels = scene.run.kernels, (scene.pixels, attributes.shape[-1])
        packed = _packed(scene, given(grads[0], channels, verts), blend)
        alpha_grad = as_warp(given(grads[1], (scene.pixels,), verts))
        views = [as_warp(state, k.vector), *packed, alpha_grad]
        meshes = _meshes(scene, rows, values)
        numbers = ctx.soft.arguments(k.scalar)
        jobs = []
        for kernel, lists, first, end, begin, stop in _tasks(scene, ctx.tiles):
            out = values_grad.part(begin, stop) if wanted else values[:0]
            inputs = [*meshes, *lists, first, begin, scene.settings, *numbers, *views]
            inputs.append(as_warp(verts_grad.part(begin, stop), k.vector))
            inputs.append(as_warp(out, k.chunk))
            jobs.append(partial(scene.run.launch, kernel, end - first, inputs))
        scene.run.run(jobs)
        slopes = None
        if wanted:
            slopes = values_grad.sum().flatten(-2)[..., : attributes.shape[-1]].contiguous()
        return verts_grad.sum(), slopes, None, None, None, None


def _packed(scene: Scene, classes_grad: Tensor, blend: Tensor) -> list[Any]:
    """The gradient of the classes in chunks, and its product with the classes of each pixel."""
    run, k = scene.run, scene.run.kernels
    blend_grad, mean_grad = torch.empty_like(blend), blend.new_empty(scene.pixels)
    chunks = [as_warp(each.view(scene.pixels, -1, CHUNK), k.chunk) for each in (blend, blend_grad)]
    views = [as_warp(classes_grad), *chunks, as_warp(mean_grad)]

    def pack(first: int, end: int) -> None:
        run.launch(k.pack_gradients, end - first, [first, *views])

    run.run([partial(pack, *part) for part in scene.pixel_parts()])
    return views[-2:]


def _meshes(scene: Scene, rows: Tensor, values: Tensor) -> list[Any]:
    chunks = as_warp(values, scene.run.kernels.chunk)
    return [scene.verts_view, scene.faces_view, as_warp(rows), chunks]


def _blend(
    scene: Scene,
    tiles: Tiles,
    soft: Softness,
    rows: Tensor,
    values: Tensor,
    blend: Tensor,
    state: Tensor,
) -> None:
    run, k = scene.run, scene.run.kernels
    meshes = _meshes(scene, rows, values)
    lists = [tiles.box_view, tiles.start_view, tiles.listed_view]
    numbers = [*soft.arguments(k.scalar), k.scalar(soft.behind)]
    chunks = as_warp(blend.view(scene.pixels, -1, CHUNK), k.chunk)
    out = [chunks, as_warp(state, k.vector)]
    by_pixel = searches_by_pixel(run)
    kernel = k.blend_by_pixel if by_pixel else k.blend_by_tile
    per_tile = TILE * TILE * values.shape[-2] if by_pixel else 1

    def fill(first: int, end: int) -> None:
        inputs = [*meshes, *lists, first * per_tile, scene.settings, *numbers, *out]
        run.launch(kernel, (end - first) * per_tile, inputs)

    run.run([partial(fill, *part) for part in tiles.shared_out(run.pieces)])


def _tasks(
    scene: Scene, tiles: Tiles | None
) -> Sequence[tuple[Any, list[Any], int, int, int, int]]:
    """Launches of the backward pass: kernel, its lists, range of tasks and of images."""
    if tiles is None or tiles.total == 0:
        return []
    run, k = scene.run, scene.run.kernels
    if searches_by_pixel(run):
        pairs = torch.arange(tiles.total, dtype=torch.int32, device=tiles.start.device)
        tile_of = torch.searchsorted(tiles.start[1:], pairs, right=True, out_int32=True)
        lists = [tiles.box_view, as_warp(tile_of), tiles.listed_view]
        return [(k.blend_adjoint_by_pair, lists, 0, tiles.total, 0, scene.num_images)]
    lists = [tiles.box_view, tiles.start_view, tiles.listed_view]
    per_image = scene.settings.tiles_x * scene.settings.tiles_y
    return [
        (k.blend_adjoint_by_tile, lists, a, b, a // per_image, (b - 1) // per_image + 1)
        for a, b in tiles.shared_out(run.pieces)
    ]
