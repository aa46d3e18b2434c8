"""Motion sequences: body poses over time from `.npz` files of mocap."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError, MissingFileError

_NEEDED = {"poses", "trans", "offsets", "names", "subject", "category", "fps", "licence"}
# What numpy raises for damaged files, for files of another kind and for arrays of another kind.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
)


@dataclass(frozen=True, eq=False)
class Motion:
    """Many clips of SMPL poses laid end to end."""

    poses: Float[Tensor, "N 24 3"]  # axis-angle, radians; joint 0 is the root in a y-up world
    pelvis: Float[Tensor, "N 3"]  # position of the pelvis joint, metres
    clip: Int[Tensor, " N"]  # which clip a frame belongs to
    fps: float
    names: tuple[str, ...]  # one per clip
    subject: tuple[int, ...]  # one per clip; 0 = unknown
    category: tuple[str, ...]  # one per clip, e.g. "walking"
    licence: str


def load_motion(path: str | Path) -> Motion:
    """Read an array file of retargeted motion.

    Expects `poses` (N,24,3), `trans` (N,3), `offsets` (clips+1), `names`, `subject`, `category`,
    `fps` and `licence`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file, or its arrays do not fit together or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no motion file at {path}: give the path of an .npz of SMPL poses.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return _motion(dict(arrays), path)
    except _UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a readable motion file: give an .npz of SMPL poses."
        ) from error


def _motion(arrays: dict[str, Any], path: Path) -> Motion:
    if missing := sorted(_NEEDED - set(arrays)):
        raise InputError(
            f"{path} lacks the arrays {', '.join(missing)} of a motion file: retarget it to SMPL's "
            "24 joints first."
        )
    _check(arrays, path)
    lengths = np.diff(arrays["offsets"])
    return Motion(
        poses=torch.from_numpy(arrays["poses"].astype(np.float32)),
        pelvis=torch.from_numpy(arrays["trans"].astype(np.float32)),
        clip=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        fps=float(arrays["fps"]),
        names=tuple(str(name) for name in arrays["names"]),
        subject=tuple(int(number) for number in arrays["subject"]),
        category=tuple(str(name) for name in arrays["category"]),
        licence=str(arrays["licence"]),
    )


def _check(arrays: dict[str, Any], path: Path) -> None:
    frames, offsets = len(arrays["poses"]), arrays["offsets"]
    for name, shape in {"poses": (frames, 24, 3), "trans": (frames, 3)}.items():
        if arrays[name].shape != shape:
            raise InputError(
                f"{path} has {name} of shape {arrays[name].shape}: expected {shape}, one row for "
                "every frame."
            )
        if not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{path} holds {name} that are not finite: repair or drop those clips."
            )
    if offsets[0] != 0 or offsets[-1] != frames or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{path} has offsets that do not cut its {frames} frames into clips: expected "
            "ascending numbers from 0 to the number of frames."
        )
    for name in ("names", "subject", "category"):
        if len(arrays[name]) != len(offsets) - 1:
            raise InputError(
                f"{path} has {len(arrays[name])} {name} for {len(offsets) - 1} clips: "
                "give one each."
            )
