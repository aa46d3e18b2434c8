"""Build the kernels for a precision and launch them on a tensor's device."""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from types import SimpleNamespace
from typing import Any

import torch
import warp as wp
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.warp import binning, edge, layers, projection, search, soft, soft_adjoint
from meshreg.render.warp.start import load_kernels, start_warp

MAX_THREADS = 8
BLOCK_DIM = 256  # CUDA threads per block: one image tile of the search by pixel
_BUILDING = threading.Lock()
_LOADED: set[tuple[str, str]] = set()  # modules and devices whose kernels are ready
CHUNK = 4  # channels that kernels of the soft image handle at once; `pack_gradients` knows it
# A fifth faster on the CPU. Only where neighbouring faces need not agree on the last digit.
LOOSE_ARITHMETIC = (
    "-ffp-contract=fast -mreassociate -fno-signed-zeros -freciprocal-math -fapprox-func"
)
# Each group is compiled when it is first used.
KERNELS: dict[str, tuple[Callable[..., None], ...]] = {
    "hard": (
        projection.project,
        projection.project_adjoint,
        binning.bound_faces,
        binning.list_faces,
        search.find_layers_by_tile,
        search.find_layers_by_pixel,
        layers.describe_layers,
        layers.describe_layers_adjoint,
        edge.shade,
        edge.shade_adjoint,
    ),
    "soft": (
        binning.bound_faces,
        binning.list_faces,
        soft.blend_by_tile,
        soft.blend_by_pixel,
        soft_adjoint.pack_gradients,
        soft_adjoint.blend_adjoint_by_tile,
        soft_adjoint.blend_adjoint_by_pair,
    ),
}


def _argument_types(scalar: Any) -> dict[str, Any]:
    """The concrete type of every generic kernel argument, by its name."""
    vector = wp.types.vector(3, scalar)
    chunk = wp.types.vector(CHUNK, scalar)
    names: tuple[str, ...] = ("reach", "blur", "min_area", "min_depth", "gap", "background")
    names += ("sharpness", "rate", "near", "far", "behind")
    scalars = {name: scalar for name in names}
    shapes = {
        "verts": (vector, 2),
        "verts_grad": (vector, 2),
        "rows_ndc": (vector, 2),
        "projected": (vector, 2),
        "projected_grad": (vector, 2),
        "bary": (vector, 2),
        "bary_grad": (vector, 2),
        "depth": (scalar, 2),
        "depth_grad": (scalar, 2),
        "dist": (scalar, 2),
        "dist_grad": (scalar, 2),
        "classes": (scalar, 2),
        "classes_grad": (scalar, 2),
        "attributes": (scalar, 3),
        "attributes_grad": (scalar, 3),
        "alpha": (scalar, 1),
        "alpha_grad": (scalar, 1),
        "seen_depth": (scalar, 1),
        "pixel_width": (scalar, 1),
        "values": (chunk, 3),
        "values_grad": (chunk, 3),
        "blend": (chunk, 2),
        "blend_grad": (chunk, 2),
        "mean_grad": (scalar, 1),
        "state": (vector, 1),
    }
    return scalars | {
        name: wp.array(dtype=dtype, ndim=ndim) for name, (dtype, ndim) in shapes.items()
    }


@functools.cache
def kernels(dtype: torch.dtype, group: str) -> SimpleNamespace:
    """A group's kernels in one precision by name, plus the types `scalar`, `vector`, `chunk`."""
    if dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"the rasteriser takes float32 or float64 vertices, not {dtype}: convert them first."
        )
    start_warp()
    scalar = wp.float64 if dtype == torch.float64 else wp.float32
    module = wp.get_module(f"meshreg_rasterizer_{group}_{scalar.__name__}")
    module.options["enable_backward"] = False
    # Fused multiply-adds would round the two sides of a shared edge differently.
    module.options["fuse_fp"] = group != "hard"
    if group == "soft" and hasattr(wp.config, "cpu_compiler_flags"):
        flags = wp.config.cpu_compiler_flags or "-march=native"
        module.options["cpu_compiler_flags"] = f"{flags} {LOOSE_ARITHMETIC}"
    types = _argument_types(scalar)
    built = {}
    for function in KERNELS[group]:
        generic = wp.kernel(function, enable_backward=False, module=module)
        wanted = {name: types[name] for name in signature(function).parameters if name in types}
        built[function.__name__] = wp.overload(generic, wanted) if wanted else generic
    vector = wp.types.vector(3, scalar)
    chunk = wp.types.vector(CHUNK, scalar)
    return SimpleNamespace(module=module, scalar=scalar, vector=vector, chunk=chunk, **built)


def as_warp(tensor: Tensor, dtype: Any = None) -> wp.array:
    """View a contiguous tensor as a Warp array, without a copy."""
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False)


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    # Keyed by the process: a forked worker inherits the object but not its threads.
    return ThreadPoolExecutor(threads, thread_name_prefix=f"rasterizer-{process}")


class Launcher:
    """Runs kernels on one device: in order on the current CUDA stream, or split over CPU threads.

    Warp runs a CPU launch on the calling thread alone but lets go of the interpreter meanwhile, so
    that several launches over parts of the range do run side by side.
    """

    def __init__(
        self,
        like: Tensor,
        group: str = "hard",
        deterministic: bool = False,
        threads: int = 1,
    ) -> None:
        with _BUILDING:
            self.kernels = kernels(like.dtype, group)
        self.is_cuda = like.is_cuda
        self.threads = 1 if self.is_cuda else min(threads, MAX_THREADS)
        # Sums of gradients are rounded piece by piece: their number must not follow the threads.
        self.pieces = MAX_THREADS if deterministic else self.threads
        if like.device.type not in ("cpu", "cuda"):
            raise InputError(
                f"the warp rasteriser runs on cpu and cuda, not {like.device}: move the vertices."
            )
        try:
            self.device = wp.device_from_torch(like.device)
        except (RuntimeError, KeyError, ValueError) as error:
            raise InputError(
                f"torch uses {like.device} but Warp does not find it: update the NVIDIA driver, "
                "install an older warp-lang, or move the vertices to the CPU."
            ) from error
        self.stream = wp.stream_from_torch(like.device) if self.is_cuda else None
        with _BUILDING:  # compiled here, before several threads could try
            block = BLOCK_DIM if self.is_cuda else 1  # what a launch will ask for
            ready = (self.kernels.module.name, str(self.device))
            if ready not in _LOADED:
                built = [k for k in vars(self.kernels).values() if isinstance(k, wp.Kernel)]
                load_kernels(self.kernels.module, built, self.device, block)
                _LOADED.add(ready)

    def launch(self, kernel: wp.Kernel, size: int, inputs: Sequence[Any]) -> None:
        if size > 0:
            wp.launch(
                kernel,
                dim=size,
                inputs=inputs,
                device=self.device,
                stream=self.stream,
                block_dim=BLOCK_DIM,
                record_tape=False,
            )

    def parts(self, size: int) -> list[tuple[int, int]]:
        """Cut range(size) into pieces that threads may share out: [(first, end), ...]."""
        cuts = [size * i // self.pieces for i in range(self.pieces + 1)]
        return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Run the jobs side by side, this thread helping, and wait for them."""
        waiting = deque(jobs)

        def work() -> None:
            while True:
                try:
                    job = waiting.popleft()
                except IndexError:
                    return
                job()

        helpers = min(self.threads, len(jobs)) - 1
        futures = []
        if helpers > 0:
            pool = _pool(os.getpid(), self.threads - 1)
            futures = [pool.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:
            for future in futures:
                future.result()
