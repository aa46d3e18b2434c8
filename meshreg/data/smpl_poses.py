"""Plain arrays of SMPL poses, `.npz` or `.npy`, in the layouts people save them in."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from meshreg.data.motion import Motion, read_arrays
from meshreg.data.motion_checks import (
    UP_FROM_Z,
    fps_or_assumed,
    one_clip,
    shape_error,
    turned_up,
)
from meshreg.errors import InputError, MissingFileError

_LICENCE = "not told"
_LAYOUTS = (
    "(N, 72), (N, 66), (N, 69) or (N, 63), or the same as (N, joints, 3); the last two have no root"
)


def load_smpl_poses(path: str | Path, *, z_up: bool = False) -> Motion:
    """Read one clip of SMPL poses from an `.npz` or `.npy` file.

    An `.npz` holds `poses`, or `body_pose` and perhaps `global_orient`; it may hold `trans` (or
    `transl`), which is taken as the pelvis's position, `fps`, `betas` and `gender`. The world is
    taken to have y up unless `z_up`. Poses without a root stand upright and face +z.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if fields are missing, misshapen or not finite, or there are no frames.
    """
    path = Path(path)
    arrays = {"poses": _read_npy(path)} if path.suffix.lower() == ".npy" else read_arrays(path)
    return smpl_motion(arrays, path, z_up=z_up)


def _read_npy(path: Path) -> np.ndarray:
    if not path.is_file():
        raise MissingFileError(f"no motion file at {path}: give the path of an .npy of SMPL poses.")
    try:
        array = np.load(path, allow_pickle=False)
        assert isinstance(array, np.ndarray)
        return array
    except (ValueError, OSError, EOFError, AssertionError) as error:
        raise InputError(
            f"{path} is not a readable array: save SMPL poses with numpy.save."
        ) from error


def smpl_motion(arrays: dict[str, Any], path: Path, *, z_up: bool = False) -> Motion:
    """As `load_smpl_poses`, of arrays that were read already.

    Raises:
        InputError: if fields are missing, misshapen or not finite, or there are no frames.
    """
    poses = _poses(arrays, path)
    trans = arrays.get("trans", arrays.get("transl"))
    if trans is None:
        trans = np.zeros((len(poses), 3))
    if trans.shape != (len(poses), 3):
        raise shape_error(path, "trans", trans.shape, f"{(len(poses), 3)}, a row for every frame")
    pelvis = trans.astype(np.float64)
    if z_up:
        turned = turned_up(torch.from_numpy(poses), torch.from_numpy(pelvis), UP_FROM_Z)
        poses, pelvis = turned[0].numpy(), turned[1].numpy()
    betas = arrays.get("betas")
    return one_clip(
        poses,
        pelvis,
        fps_or_assumed(arrays.get("fps"), path),
        path,
        licence=str(arrays.get("licence", _LICENCE)),
        betas=None if betas is None else np.atleast_2d(betas)[0],
        gender=str(arrays.get("gender", "")),
    )


def _poses(arrays: dict[str, Any], path: Path) -> np.ndarray:
    """(N, 24, 3) axis-angle; what a layout lacks does not turn."""
    if "poses" not in arrays and "body_pose" not in arrays:
        raise InputError(
            f"{path} lacks poses or body_pose: give an .npz of SMPL poses, or an AMASS or BVH file."
        )
    given = arrays["poses"] if "poses" in arrays else arrays["body_pose"]
    if given.dtype.kind not in "iuf" or given.ndim not in (2, 3):
        raise shape_error(path, "poses", given.shape, _LAYOUTS)
    flat = given.reshape(len(given), math.prod(given.shape[1:])).astype(np.float64)
    first = {72: 0, 66: 0, 69: 1, 63: 1}.get(flat.shape[1])
    if first is None or (given.ndim == 3 and given.shape[2] != 3):
        raise shape_error(path, "poses", given.shape, _LAYOUTS)
    poses = np.zeros((len(flat), 24, 3))
    if not np.isfinite(flat).all():
        raise InputError(f"{path} holds poses that are not finite: repair or drop the file.")
    poses[:, first : first + flat.shape[1] // 3] = flat.reshape(len(flat), flat.shape[1] // 3, 3)
    if first and "global_orient" in arrays:
        root = arrays["global_orient"]
        if root.size != 3 * len(flat):
            raise shape_error(path, "global_orient", root.shape, f"{(len(flat), 3)}")
        poses[:, 0] = root.reshape(-1, 3)
    return poses
