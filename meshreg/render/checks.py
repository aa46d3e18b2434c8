"""Refuse input that a rasteriser cannot draw, in one sentence that names the argument."""

import math
import os
from pathlib import Path

import torch
from torch import Tensor

from meshreg.errors import InputError

MANY = 1 << 31  # kernels count in 32 bits
SMALL = 1 << 28  # bytes; requests below are not compared with the memory that is left


def check_mesh(verts: Tensor, faces: Tensor, name: str = "verts_cam") -> None:
    """Vertices (B, V, 3), finite, float32 or float64; faces (F, 3) that name them."""
    check_floats(name, verts)
    check_tensor("faces", faces)
    if verts.ndim != 3 or verts.shape[-1] != 3:
        raise InputError(f"expected {name} of shape (B, V, 3), found {tuple(verts.shape)}.")
    if len(verts) == 0:
        raise InputError(f"expected {name} of at least one image, found a batch of none.")
    if faces.ndim != 2 or faces.shape[-1] != 3:
        raise InputError(f"expected faces of shape (F, 3), found {tuple(faces.shape)}.")
    if faces.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8):
        raise InputError(f"expected faces of whole numbers, found {faces.dtype}: use faces.long().")
    if verts.device != faces.device:
        raise InputError(
            f"{name} is on {verts.device} but faces are on {faces.device}: move them together."
        )
    # A kernel would read whatever lies in memory there.
    if faces.numel() and not 0 <= int(faces.amin()) <= int(faces.amax()) < verts.shape[1]:
        raise InputError(
            f"expected face corners between 0 and {verts.shape[1] - 1}, found {int(faces.amin())} "
            f"to {int(faces.amax())}: use the faces that belong to these vertices."
        )
    check_finite(name, verts)


def check_tensor(name: str, values: object) -> None:
    if not isinstance(values, Tensor):
        kind = type(values)
        remedy = ": use torch.from_numpy" if kind.__module__ == "numpy" else ""
        raise InputError(f"expected {name} as a torch tensor, found {kind.__name__}{remedy}.")


def check_floats(name: str, values: Tensor) -> None:
    check_tensor(name, values)
    if values.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"expected {name} in float32 or float64, found {values.dtype}: use {name}.float()."
        )


def check_finite(name: str, values: Tensor) -> None:
    values = values.detach()
    # A sum is finite only if all are, and takes a fraction of the time; it may also overflow.
    if not math.isfinite(float(values.sum())) and not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise InputError(
            f"expected finite {name}, found {bad} numbers that are NaN or infinite: "
            "look for the step that made them."
        )


def check_intrinsics(K: Tensor, verts: Tensor) -> None:
    """One 3 x 3 matrix per image, or one for all, beside the vertices."""
    check_floats("K", K)
    if K.ndim != 3 or K.shape[1:] != (3, 3) or len(K) not in (1, len(verts)):
        raise InputError(
            f"expected K of shape ({len(verts)}, 3, 3), found {tuple(K.shape)}: one per image."
        )
    if K.device != verts.device:
        raise InputError(
            f"K is on {K.device} but verts_cam is on {verts.device}: move them together."
        )
    check_finite("K", K)
    focal = K[:, [0, 1], [0, 1]]
    if bool((focal == 0).any()):
        raise InputError("expected K with focal lengths, found 0 on its diagonal: give pixels.")


def check_threads(threads: int | None) -> None:
    if threads is not None and not (hasattr(threads, "__index__") and threads >= 1):
        raise InputError(f"expected threads >= 1, found {threads!r}: leave it out for torch's.")


def check_size(size: tuple[int, int], num_images: int) -> None:
    whole = hasattr(size, "__len__") and len(size) == 2
    whole = whole and all(hasattr(side, "__index__") for side in size)
    if not whole or min(size) < 1:
        raise InputError(f"expected an image size (H, W) of at least 1 x 1, found {size}.")
    if size[0] * size[1] * max(num_images, 1) >= MANY:
        raise InputError(
            f"expected fewer than 2^31 pixels, found size {size} for {num_images} images: "
            "draw fewer at a time."
        )


def check_attributes(
    attributes: Tensor, verts: Tensor, faces: Tensor, per_face: bool
) -> bool:  # whether they belong to faces
    """One row per vertex or per face; decided by their number unless `per_face` says it."""
    check_floats("attributes", attributes)
    vertices, num_faces = verts.shape[1], len(faces)
    rows = attributes.shape[1] if attributes.ndim == 3 else -1
    per_face = per_face or (rows == num_faces and rows != vertices)
    wanted = num_faces if per_face else vertices
    if rows != wanted or len(attributes) not in (1, len(verts)) or attributes.shape[2] < 1:
        rest = "" if per_face else f", or one per face ({num_faces})"
        raise InputError(
            f"expected attributes of shape (1 or {len(verts)}, {wanted}, C), found "
            f"{tuple(attributes.shape)}: give one row per {'face' if per_face else 'vertex'}{rest}."
        )
    if attributes.device != verts.device:
        raise InputError(
            f"attributes are on {attributes.device} but vertices are on {verts.device}: "
            "move them together."
        )
    return per_face


def check_memory(bytes_needed: int, device: torch.device, what: str) -> None:
    """Refuse pictures that cannot fit before the system stops the whole program."""
    if bytes_needed < SMALL:
        return
    free = free_memory(device)
    if free is not None and bytes_needed > free:
        raise InputError(
            f"{what} needs about {bytes_needed / 2**30:.1f} GiB but {device} has "
            f"{free / 2**30:.1f} GiB left: lower size, batch or faces_per_pixel."
        )


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on a device, or None where nobody tells."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return table["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return _physical_memory()


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
