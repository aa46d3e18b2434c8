"""One sample as files inside a shard, and back: pictures as JPEG or PNG, numbers as `.npz`.

Nothing here is ever unpickled, and the same sample always gives the same bytes.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from meshreg.data.sample import Sample, joint_pixels
from meshreg.errors import InputError

MAPS = ("labels", "part", "instance")
# What `numbers.npz` holds, all float32 but for the last four; the rest follows from them.
FLOATS = ("K", "K_full", "box", "betas", "pose_rotmat", "transl", "joints_cam")
OTHERS = {
    "full_size": np.int64,
    "index": np.int64,
    "joints_visible": np.bool_,
    "joints_self_hidden": np.bool_,
}
DEPTH_STEPS = 1000.0  # per metre: 16 bits of millimetres reach 65.5 m, which also stands for beyond
# Colours of CIHP's label maps as Graphonomy draws them; what is unknown is white.
LABEL_COLORS = (
    ((0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51))
    + ((255, 85, 0), (0, 0, 85), (0, 119, 221), (85, 85, 0), (0, 85, 85))
    + ((85, 51, 0), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221))
    + ((0, 255, 255), (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0))
)
_UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    SyntaxError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def encode(sample: Sample, *, jpeg_quality: int | None) -> dict[str, bytes]:
    """The files of one sample by name; without a quality the picture is a lossless PNG."""
    picture = Image.fromarray(_array(sample.image.permute(1, 2, 0)))
    depth = (_array(sample.depth) * DEPTH_STEPS).round().clip(0, 2**16 - 1)
    files = {"depth.png": _png(Image.fromarray(depth.astype(np.uint16)))}
    if jpeg_quality is None:
        files["image.png"] = _png(picture)
    else:
        files["image.jpg"] = _jpeg(picture, jpeg_quality)
    for name in MAPS:
        values = Image.fromarray(_array(getattr(sample, name)))
        if name == "labels":
            values.putpalette(_palette())
        files[f"{name}.png"] = _png(values)
    files["numbers.npz"] = _numbers(sample)
    return files


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().cpu().numpy()


def _palette() -> bytes:
    colors = np.full((256, 3), 255, np.uint8)
    colors[: len(LABEL_COLORS)] = LABEL_COLORS
    return colors.tobytes()


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=4)
    return file.getvalue()


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=0)  # keep thin coloured edges
    return file.getvalue()


def _numbers(sample: Sample) -> bytes:
    arrays: dict[str, np.ndarray] = {
        name: _array(getattr(sample, name)).astype(np.float32) for name in FLOATS
    }
    arrays |= {name: _array(getattr(sample, name)).astype(kind) for name, kind in OTHERS.items()}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)  # numpy dates every member 1980
    return file.getvalue()


def decode(files: Mapping[str, bytes], what: str) -> Sample:
    """The sample that `encode` wrote; its vertices are left out (`with_vertices` adds them).

    Raises:
        InputError: naming `what` (which sample of which shard) if a file is missing or damaged.
    """
    try:
        return _sample(files)
    except _UNREADABLE as error:
        raise InputError(
            f"{what} is damaged ({error}): delete that shard and run the command that made it "
            "again."
        ) from error


def _sample(files: Mapping[str, bytes]) -> Sample:
    image_name = "image.jpg" if "image.jpg" in files else "image.png"
    image = _pixels(files[image_name], "RGB")
    with np.load(io.BytesIO(files["numbers.npz"]), allow_pickle=False) as arrays:
        numbers = {
            name: torch.from_numpy(arrays[name].astype(kind))
            for name, kind in (dict.fromkeys(FLOATS, np.float32) | OTHERS).items()
        }
    maps = {name: _pixels(files[f"{name}.png"], "P" if name == "labels" else "L") for name in MAPS}
    depth = _pixels(files["depth.png"], "I;16").astype(np.float32) / np.float32(DEPTH_STEPS)
    for values in (depth, *maps.values()):
        if values.shape != image.shape[:2]:
            raise ValueError(f"maps of {values.shape} for a picture of {image.shape[:2]}")
    joints_px = joint_pixels(numbers["joints_cam"][None], numbers["K"][None])[0]
    return Sample(
        image=torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        depth=torch.from_numpy(depth),
        joints_px=joints_px,
        vertices_cam=torch.zeros(0, 3),
        **{name: torch.from_numpy(values) for name, values in maps.items()},
        **numbers,
    )


def _pixels(content: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
        if picture.mode != mode:
            raise ValueError(f"a picture of mode {picture.mode} instead of {mode}")
        return np.array(picture)
