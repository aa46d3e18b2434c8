"""The published mean of SMPL parameters, from which released regressors start."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshreg.errors import InputError, MissingFileError

# The released archives name them so: 24 rotations as six numbers each, shape, weak perspective.
SIZES = {"pose": 144, "shape": 10, "cam": 3}
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, LookupError, ValueError)


def load_mean_parameters(path: Path) -> dict[str, Tensor]:
    """The rows `pose`, `shape` and `cam` of `smpl_mean_params.npz`, float32.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or holds something else.
    """
    if not path.is_file():
        raise MissingFileError(
            f"no mean parameters at {path}: give smpl_mean_params.npz of the release."
        )
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            rows = {key: np.asarray(arrays[key], np.float32).reshape(-1) for key in SIZES}
    except _UNREADABLE as error:
        raise InputError(
            f"{path} holds no pose, shape and cam: give smpl_mean_params.npz of the release."
        ) from error
    for key, size in SIZES.items():
        if rows[key].shape != (size,) or not np.isfinite(rows[key]).all():
            raise InputError(
                f"{key} in {path} should be {size} finite numbers, found {rows[key].size}: "
                "give smpl_mean_params.npz of the release."
            )
    return {key: torch.from_numpy(row.copy()) for key, row in rows.items()}
