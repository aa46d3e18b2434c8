"""AMASS files (Mahmood et al. 2019): SMPL+H or SMPL-X poses over time, z up, into a `Motion`.

Of their joints the pelvis and the 21 of the body are kept. Hands and fingers stay unturned.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from meshreg.data.motion import Motion, read_arrays
from meshreg.data.motion_checks import UP_FROM_Z, one_clip, shape_error, turned_up
from meshreg.errors import InputError

LICENCE = "AMASS: the terms of amass.is.tue.mpg.de and of the data set the clip comes from"
NUM_BODY = 22  # joints kept: pelvis and body
_RATES = ("mocap_framerate", "mocap_frame_rate")
_WIDTHS = (66, 156, 165)  # body alone, SMPL+H, SMPL-X
_RATE_NAMES = " or ".join(_RATES)
# Where the pelvis joint of an average unposed body lies in each model's own frame, metres. A clip's
# own shape moves it by a few centimetres.
_PELVIS_REST = {"smplh": (0.0, -0.24, 0.03), "smplx": (0.0, -0.35, 0.01)}


def is_amass(arrays: dict[str, Any]) -> bool:
    """Whether arrays of an `.npz` file are those of an AMASS clip."""
    return any(rate in arrays for rate in _RATES) and ("poses" in arrays or "pose_body" in arrays)


def load_amass(path: str | Path, *, pelvis_rest: Float[np.ndarray, "3"] | None = None) -> Motion:
    """Read one AMASS file, turned to y up, at its own frame rate.

    AMASS stores by how much the body model's vertices move, not where the pelvis is. The difference
    is the model's unposed pelvis: `pelvis_rest`, or that of an average body, which is constant over
    a clip and right to some centimetres.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if fields are missing, misshapen or not finite, or there are no frames.
    """
    path = Path(path)
    return amass_motion(read_arrays(path), path, pelvis_rest=pelvis_rest)


def amass_motion(
    arrays: dict[str, Any], path: Path, *, pelvis_rest: Float[np.ndarray, "3"] | None = None
) -> Motion:
    """As `load_amass`, of arrays that were read already.

    Raises:
        InputError: if fields are missing, misshapen or not finite, or there are no frames.
    """
    poses = _body_poses(arrays, path)
    rate = next((arrays[name] for name in _RATES if name in arrays), None)
    trans = arrays.get("trans")
    if trans is None or rate is None:
        missing = [n for n, v in (("trans", trans), (_RATE_NAMES, rate)) if v is None]
        raise InputError(f"{path} lacks {', '.join(missing)} of an AMASS file: download it again.")
    if trans.shape != (len(poses), 3):
        raise shape_error(path, "trans", trans.shape, f"{(len(poses), 3)}, a row for every frame")
    if rate.size != 1 or rate.dtype.kind not in "iuf":
        raise InputError(f"{path} has no single number as its frame rate: download it again.")
    rest = _PELVIS_REST[_model(arrays)] if pelvis_rest is None else pelvis_rest
    pelvis = torch.from_numpy(trans.astype(np.float64)) + torch.tensor(rest, dtype=torch.float64)
    turned, pelvis = turned_up(torch.from_numpy(poses), pelvis, UP_FROM_Z)
    betas = arrays.get("betas")
    return one_clip(
        turned.numpy(),
        pelvis.numpy(),
        float(rate.reshape(())),
        path,
        licence=LICENCE,
        betas=None if betas is None else np.atleast_2d(betas)[0],
        gender=_text(arrays.get("gender")),
    )


def _body_poses(arrays: dict[str, Any], path: Path) -> np.ndarray:
    """(N, 24, 3) axis-angle from either way of storing poses."""
    if "poses" in arrays:
        flat = arrays["poses"]
        if flat.ndim != 2 or flat.shape[1] not in _WIDTHS:
            raise shape_error(path, "poses", flat.shape, "(N, 156) of SMPL+H or (N, 165) of SMPL-X")
    else:
        if missing := sorted({"root_orient", "pose_body"} - set(arrays)):
            raise InputError(f"{path} lacks {', '.join(missing)} or poses: download it again.")
        root, body = arrays["root_orient"], arrays["pose_body"]
        if root.ndim != 2 or root.shape[1] != 3 or body.shape != (len(root), 63):
            found = f"{root.shape} and {body.shape}"
            raise InputError(
                f"{path} has root_orient and pose_body of shapes {found}: expected (N, 3), (N, 63)."
            )
        flat = np.concatenate([root, body], 1)
    poses = np.zeros((len(flat), 24, 3))
    poses[:, :NUM_BODY] = flat[:, : 3 * NUM_BODY].reshape(-1, NUM_BODY, 3)
    if not np.isfinite(poses).all():
        raise InputError(f"{path} holds poses that are not finite: repair or drop the file.")
    return poses


def _model(arrays: dict[str, Any]) -> str:
    told = _text(arrays.get("surface_model_type"))
    wide = "poses" in arrays and arrays["poses"].shape[1] == 165
    return "smplx" if wide or told == "smplx" else "smplh"


def _text(value: Any) -> str:
    """A word that was stored as text or as bytes; empty if it is not there."""
    if value is None or value.size != 1:
        return ""
    word = value.reshape(()).item()
    return word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)
