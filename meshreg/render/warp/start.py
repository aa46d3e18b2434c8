"""Start Warp quietly and have its kernels compiled, once per machine."""

import atexit
import functools
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import warp as wp

from meshreg.errors import InputError

LOG = logging.getLogger(__name__)


@contextmanager
def quiet() -> Iterator[None]:
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
    with quiet(), _silent_stderr():
        try:
            wp.init()
        except OSError:  # no place for compiled kernels in the home directory
            wp.config.kernel_cache_dir = _private_folder()
            wp.init()


@functools.cache
def _private_folder() -> str:
    """A folder for compiled kernels that only this process uses, and removes at its end."""
    folder = tempfile.mkdtemp(prefix="meshreg-kernels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    LOG.info("Warp's kernel cache cannot be written: compiling into %s instead.", folder)
    return folder


def _can_write(folder: str) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _compiled_files(module: Any, device: Any, block_dim: int) -> list[Path]:
    """The object files that an earlier run left for exactly these kernels."""
    try:
        name = module.get_module_identifier(block_dim)
    except TypeError:  # Warp before it kept the block size apart from the module
        module.options["block_dim"] = block_dim
        name = module.get_module_identifier()
    folder = Path(wp.config.kernel_cache_dir, name)
    endings = {".cubin", ".ptx"} if device.is_cuda else {".o"}
    return [file for file in folder.glob("*") if file.suffix in endings]


def load_kernels(module: Any, kernels: Sequence[Any], device: Any, block_dim: int) -> None:
    """Compile the kernels of a module, or take them from the cache of compiled kernels.

    An unreadable cache entry is compiled anew; a cache that cannot be written is replaced by a
    temporary folder.
    """
    files = _compiled_files(module, device, block_dim)
    try:
        _load(module, kernels, device, block_dim, cached=bool(files))
        return
    except Exception as error:  # noqa: BLE001  Warp raises plain exceptions for broken files
        LOG.info("the compiled kernels of %s cannot be used: %s", module.name, error)
    if _can_write(wp.config.kernel_cache_dir):
        for folder in {file.parent for file in files}:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        wp.config.kernel_cache_dir = _private_folder()
    module.unload()  # or Warp would repeat the error that it remembers
    try:
        _load(module, kernels, device, block_dim, cached=False)
    except Exception as error:
        raise InputError(
            f"the rasteriser's kernels could not be compiled in {wp.config.kernel_cache_dir} "
            f"({error}): point WARP_CACHE_PATH to an empty folder that can be written."
        ) from error


def _load(module: Any, kernels: Sequence[Any], device: Any, block_dim: int, cached: bool) -> None:
    if not cached:
        LOG.info("compiling the rasteriser for this machine, once (%s, %s).", module.name, device)
    # What native code says about a broken file is told better by the caller.
    with quiet(), _silent_stderr() if cached else nullcontext():
        wp.load_module(module, device=device, block_dim=block_dim)
        executable = module.load(device, block_dim)
        for kernel in kernels:  # older Warp takes half a file for a whole one
            if executable.get_kernel_hooks(kernel).forward is None:
                raise RuntimeError(f"{kernel.key} is missing")
