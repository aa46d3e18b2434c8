"""Start Warp quietly, build the kernels for a precision, and launch them on a tensor's device."""

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from inspect import signature
from types import SimpleNamespace
from typing import Any

import torch
import warp as wp
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.warp import binning, edge, layers, search

MAX_THREADS = 8
BLOCK_DIM = 256  # CUDA threads per block: one image tile of the search by pixel
_BUILDING = threading.Lock()
KERNELS = (
    binning.bound_faces,
    binning.list_faces,
    search.find_layers_by_tile,
    search.find_layers_by_pixel,
    layers.describe_layers,
    layers.describe_layers_adjoint,
    edge.shade,
    edge.shade_adjoint,
)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Warp's announcements to itself; the level that the user chose comes back afterwards."""
    name, level = "quiet", True  # Warp before it had log levels
    if hasattr(wp.config, "log_level"):
        name, level = "log_level", max(wp.config.log_level, wp.LOG_WARNING)
    chosen = getattr(wp.config, name)
    setattr(wp.config, name, level)
    try:
        yield
    finally:
        setattr(wp.config, name, chosen)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what native code writes to the error stream, which Python cannot redirect."""
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@functools.cache
def start_warp() -> None:
    """Initialise Warp once; on a machine without CUDA it would complain on the error stream."""
    with _quiet(), _silent_stderr():
        wp.init()


def _argument_types(scalar: Any) -> dict[str, Any]:
    """The concrete type of every generic kernel argument, by its name."""
    vector = wp.types.vector(3, scalar)
    scalars = {name: scalar for name in ("reach", "blur", "min_area", "min_depth", "gap")}
    shapes = {
        "verts": (vector, 2),
        "verts_grad": (vector, 2),
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
        "alpha_grad": (scalar, 1),
        "pixel_width": (scalar, 1),
    }
    return scalars | {
        name: wp.array(dtype=dtype, ndim=ndim) for name, (dtype, ndim) in shapes.items()
    }


@functools.cache
def kernels(dtype: torch.dtype) -> SimpleNamespace:
    """All kernels in one precision, each under its own name, plus the types `scalar`, `vector`."""
    if dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"the rasteriser takes float32 or float64 vertices, not {dtype}: convert them first."
        )
    start_warp()
    scalar = wp.float64 if dtype == torch.float64 else wp.float32
    module = wp.get_module(f"meshreg_rasterizer_{scalar.__name__}")
    module.options["enable_backward"] = False
    # Fused multiply-adds would round the two sides of a shared edge differently.
    module.options["fuse_fp"] = False
    types = _argument_types(scalar)
    built = {}
    for function in KERNELS:
        generic = wp.kernel(function, enable_backward=False, module=module)
        wanted = {name: types[name] for name in signature(function).parameters if name in types}
        built[function.__name__] = wp.overload(generic, wanted) if wanted else generic
    vector = wp.types.vector(3, scalar)
    return SimpleNamespace(module=module, scalar=scalar, vector=vector, **built)


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

    def __init__(self, like: Tensor) -> None:
        with _BUILDING:
            self.kernels = kernels(like.dtype)
        self.is_cuda = like.is_cuda
        self.threads = 1 if self.is_cuda else min(torch.get_num_threads(), MAX_THREADS)
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
        with _BUILDING, _quiet():  # compiled here, before several threads could try
            block = BLOCK_DIM if self.is_cuda else 1  # what a launch will ask for
            wp.load_module(self.kernels.module, device=self.device, block_dim=block)

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
        """Cut range(size) into one piece per thread: [(first, end), ...]."""
        cuts = [size * i // self.threads for i in range(self.threads + 1)]
        return [(a, b) for a, b in zip(cuts[:-1], cuts[1:], strict=True) if b > a]

    def run(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Run the jobs side by side and wait for them."""
        if len(jobs) <= 1:
            for job in jobs:
                job()
            return
        for future in [_pool(os.getpid(), self.threads).submit(job) for job in jobs]:
            future.result()
