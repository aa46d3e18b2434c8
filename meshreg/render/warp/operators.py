"""The differentiable operators: autograd functions whose both directions are kernels."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from meshreg.render.ndc import MIN_DEPTH
from meshreg.render.warp.launch import Launcher, as_warp
from meshreg.render.warp.scene import Options, find_layers, make_scene
from meshreg.render.warp.sums import ThreadSums

# Neighbouring pixels belong to two surfaces if they lie more than this many pixel widths apart.
GAP = 2.0


def given(grad: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """An output's gradient in the kernels' shape; zeros if the loss did not use the output."""
    return like.new_zeros(shape) if grad is None else grad.contiguous().view(shape)


class Project(torch.autograd.Function):
    """Camera space (B, V, 3) and the rows of `ndc_rows` -> NDC (B, V, 3)."""

    @staticmethod
    def forward(ctx: Any, verts: Tensor, rows: Tensor, threads: int) -> Tensor:
        verts, rows = verts.detach().contiguous(), rows.contiguous()
        projected = torch.empty_like(verts)
        run = Launcher(verts, threads=threads)
        _per_vertex(run, run.kernels.project, [verts, rows], [projected])
        ctx.save_for_backward(projected, rows)
        ctx.threads = threads
        return projected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        projected, rows = ctx.saved_tensors
        run, verts_grad = Launcher(projected, threads=ctx.threads), torch.empty_like(projected)
        outputs = [grads[0].contiguous(), verts_grad]
        _per_vertex(run, run.kernels.project_adjoint, [projected, rows], outputs)
        return verts_grad, None, None


def _per_vertex(
    run: Launcher, kernel: Any, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> None:
    k = run.kernels
    before, after = ([as_warp(each, k.vector) for each in group] for group in (inputs, outputs))

    def work(first: int, end: int) -> None:
        run.launch(kernel, end - first, [*before, first, k.scalar(MIN_DEPTH), *after])

    run.run([partial(work, a, b) for a, b in run.parts(inputs[0].shape[0] * inputs[0].shape[1])])


class Layers(torch.autograd.Function):
    """NDC vertices -> (index, depth, barycentrics, distances), each (B, H, W, K, ...)."""

    @staticmethod
    def forward(
        ctx: Any, verts: Tensor, faces: Tensor, partner: Tensor | None, options: Options
    ) -> tuple[Tensor, ...]:
        scene = make_scene(verts, faces, options, partner)
        run, k = scene.run, scene.run.kernels
        index, depth = find_layers(scene)
        bary, dist = depth.new_empty((*depth.shape, 3)), torch.empty_like(depth)
        views = [as_warp(index), as_warp(bary, k.vector), as_warp(dist)]

        def describe(first: int, end: int) -> None:
            inputs = [scene.verts_view, scene.faces_view, first, scene.settings, *views]
            run.launch(k.describe_layers, end - first, inputs)

        run.run([partial(describe, a, b) for a, b in scene.run_parts()])
        shape = (scene.num_images, *options.size, options.layers)
        index = index.view(shape)
        ctx.save_for_backward(verts, faces, index)
        ctx.options = options
        ctx.set_materialize_grads(False)  # or torch would fill a gradient of `index` with zeros
        ctx.mark_non_differentiable(index)
        return index, depth.view(shape), bary.view(*shape, 3), dist.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        verts, faces, index = ctx.saved_tensors
        scene = make_scene(verts, faces, ctx.options)
        run, k = scene.run, scene.run.kernels
        flat = (scene.pixels, ctx.options.layers)
        views = [
            as_warp(index.view(flat)),
            as_warp(given(grads[1], flat, verts)),
            as_warp(given(grads[2], (*flat, 3), verts), k.vector),
            as_warp(given(grads[3], flat, verts)),
        ]
        verts_grad = ThreadSums(verts.shape, scene.verts, shared=False)
        jobs = []
        for first, end in scene.run_parts():
            begin, stop = scene.images_of(first, end)
            inputs = [scene.verts_view, scene.faces_view, first, begin, scene.settings, *views]
            inputs.append(as_warp(verts_grad.part(begin, stop), k.vector))
            jobs.append(partial(run.launch, k.describe_layers_adjoint, end - first, inputs))
        run.run(jobs)
        return verts_grad.sum(), None, None, None


class Shade(torch.autograd.Function):
    """NDC vertices and attributes -> (classes, alpha, depth), each (B, H, W, ...)."""

    @staticmethod
    def forward(
        ctx: Any,
        verts: Tensor,
        attributes: Tensor,
        faces: Tensor,
        rows: Tensor,
        pixel_width: Tensor,
        background: float,
        options: Options,
    ) -> tuple[Tensor, ...]:
        scene = make_scene(verts, faces, options)
        run, k = scene.run, scene.run.kernels
        index, depth = find_layers(scene)
        attributes = attributes.detach().contiguous()
        classes = depth.new_empty((scene.pixels, attributes.shape[-1]))
        alpha, seen_depth = depth.new_empty(scene.pixels), depth.new_empty(scene.pixels)
        views = [as_warp(out) for out in (index, depth, classes, alpha, seen_depth)]
        meshes = [scene.verts_view, scene.faces_view, as_warp(rows), as_warp(attributes)]

        def shade(first: int, end: int) -> None:
            inputs = [*meshes, first, scene.settings, k.scalar(background), *views]
            run.launch(k.shade, end - first, inputs)

        run.run([partial(shade, a, b) for a, b in scene.run_parts()])
        ctx.save_for_backward(verts, attributes, faces, rows, pixel_width, index, depth, classes)
        ctx.options = options
        shape = (scene.num_images, *options.size)
        seen_depth = seen_depth.view(shape)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(seen_depth)
        return classes.view(*shape, -1), alpha.view(shape), seen_depth

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        verts, attributes, faces, rows, pixel_width, index, depth, classes = ctx.saved_tensors
        scene = make_scene(verts, faces, ctx.options)
        run, k = scene.run, scene.run.kernels
        views = [
            k.scalar(GAP),
            as_warp(index),
            as_warp(depth),
            as_warp(classes),
            as_warp(given(grads[0], classes.shape, verts)),
            as_warp(given(grads[1], (scene.pixels,), verts)),
        ]
        meshes = [scene.verts_view, scene.faces_view, as_warp(rows), as_warp(attributes)]
        widths = as_warp(pixel_width.contiguous())
        wanted = ctx.needs_input_grad[1]
        verts_grad = ThreadSums(verts.shape, scene.verts, shared=False)
        attributes_grad = ThreadSums(attributes.shape, attributes, shared=len(attributes) == 1)
        jobs = []
        for first, end in scene.run_parts():
            begin, stop = scene.images_of(first, end)
            out = attributes_grad.part(begin, stop) if wanted else attributes[:0]
            inputs = [*meshes, widths, first, begin, scene.settings]
            inputs += [*views, as_warp(verts_grad.part(begin, stop), k.vector), as_warp(out)]
            jobs.append(partial(run.launch, k.shade_adjoint, end - first, inputs))
        run.run(jobs)
        return verts_grad.sum(), attributes_grad.sum() if wanted else None, *[None] * 5
