"""Motion sequences: body poses over time from `.npz` files of mocap."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError, MissingFileError


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


def load_motion(path: Path) -> Motion:
    """Read an array file of retargeted motion.

    Expects `poses` (N,24,3), `trans` (N,3), `offsets` (clips+1), `names`, `subject`, `category`,
    `fps` and `licence`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if arrays are missing or not finite.
    """
    if not path.is_file():
        raise MissingFileError(f"no motion file at {path}: give the path of an .npz of SMPL poses.")
    with np.load(path, allow_pickle=False) as arrays:
        needed = {"poses", "trans", "offsets", "names", "subject", "category", "fps", "licence"}
        if missing := sorted(needed - set(arrays)):
            raise InputError(f"{path} lacks the arrays {', '.join(missing)} of a motion file.")
        poses = torch.from_numpy(arrays["poses"].astype(np.float32))
        lengths = np.diff(arrays["offsets"])
        if not torch.isfinite(poses).all():
            raise InputError(f"{path} holds poses that are not finite: repair or drop those clips.")
        return Motion(
            poses=poses,
            pelvis=torch.from_numpy(arrays["trans"].astype(np.float32)),
            clip=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
            fps=float(arrays["fps"]),
            names=tuple(str(name) for name in arrays["names"]),
            subject=tuple(int(number) for number in arrays["subject"]),
            category=tuple(str(name) for name in arrays["category"]),
            licence=str(arrays["licence"]),
        )
