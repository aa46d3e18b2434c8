"""Annotations of BEDLAM (Black et al. 2023), in its SMPL and SMPL-X versions.

Fields: `imgname`, `center`, `scale`, `pose_cam` (72 numbers for SMPL, 165 for SMPL-X), `cam_int`,
and, optional, `shape`, `trans_cam` with `cam_ext`, `gtkps` and `sub`. The body's translation in the
camera is `trans_cam` plus the last column of `cam_ext`. Pixels are counted there from the picture's
corner, here from the centre of its first pixel.

Of a shape the first ten numbers are kept, not the eleventh, which is for children. SMPL-X bodies
have other betas, hands and landmarks: of them the 22 poses and joints that SMPL shares are kept.
Close-ups are stored on their side; `quarter_turned` knows them by their camera.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from meshreg.data.annotations import Annotations, Columns, annotate, read_columns
from meshreg.data.spin_npz import boxes, gender_name
from meshreg.errors import InputError

WHAT = "an .npz of BEDLAM with imgname, center, scale, pose_cam and cam_int"
SMPL_SIZE = 72
NUM_SHARED = 22  # joints that SMPL-X and SMPL have in the same order, pelvis to wrists
NUM_JOINTS = 45
HALF_PIXEL = 0.5


def is_bedlam(arrays: dict[str, np.ndarray]) -> bool:
    """Whether arrays of an `.npz` file are BEDLAM's."""
    return "pose_cam" in arrays and "cam_int" in arrays


def read_bedlam(path: str | Path) -> Annotations:
    """Read one file.

    Raises:
        MissingFileError: if it is not there.
        InputError: if fields are missing, misshapen, of different lengths or not finite.
    """
    return bedlam_annotations(read_columns(path, WHAT), path)


def bedlam_annotations(arrays: dict[str, np.ndarray], path: str | Path) -> Annotations:
    """As `read_bedlam`, of arrays that were read already.

    Raises:
        InputError: if fields are missing, misshapen, of different lengths or not finite.
    """
    columns = Columns(arrays, path, WHAT)
    pose = columns.numbers("pose_cam", -1)
    is_smpl = pose.shape[1] == SMPL_SIZE
    box = boxes(columns)
    box[:, :2] -= HALF_PIXEL
    K = columns.numbers("cam_int", 3, 3)
    K[:, :2, 2] -= HALF_PIXEL
    known: dict[str, Any] = {"box": box, "K": K}
    known |= _pose(pose, is_smpl) | _place(columns, is_smpl)
    if "gtkps" in columns:
        known["joints_px"] = _joints(columns, is_smpl)
    scene = columns.path.stem
    known["may_lie_sideways"] = True
    known["sequences"] = tuple(f"{scene}/{PurePosixPath(i).parent}" for i in columns.images)
    if "gender" in columns:
        known["genders"] = columns.texts("gender", gender_name)
    return annotate(str(path), columns.images, **known)


def quarter_turned(size: tuple[int, int], K: np.ndarray) -> bool:
    """Whether a picture of this height and width lies on its side, by a K whose middle is known.

    BEDLAM's principal points are the middles of the upright pictures.
    """
    upright = 2 * K[1, 2] + 1, 2 * K[0, 2] + 1  # height, width
    return abs(upright[0] - size[0]) > 1 and np.allclose(upright, size[::-1], atol=1)


def _pose(pose: np.ndarray, is_smpl: bool) -> dict[str, np.ndarray]:
    known = 24 if is_smpl else NUM_SHARED
    if pose.shape[1] < 3 * known:
        # Told in the words of the common check, with the shape that was expected.
        return {"pose_rotvec": pose, "pose_weight": np.ones((len(pose), 24))}
    rotvec, weight = np.zeros((len(pose), 24, 3)), np.zeros((len(pose), 24))
    rotvec[:, :known] = pose[:, : 3 * known].reshape(len(pose), known, 3)
    weight[:, :known] = 1
    return {"pose_rotvec": rotvec, "pose_weight": weight}


def _place(columns: Columns, is_smpl: bool) -> dict[str, np.ndarray]:
    """Shape and translation, which mean something to SMPL only."""
    known, ones = {}, np.ones(columns.count)
    if is_smpl and "shape" in columns:
        known["betas"], known["betas_weight"] = columns.numbers("shape", -1)[:, :10], ones
    if is_smpl and "trans_cam" in columns and "cam_ext" in columns:
        camera = columns.numbers("cam_ext", 4, 4)[:, :3, 3]
        known["transl"] = columns.numbers("trans_cam", 3) + camera
        known["transl_weight"] = ones
    return known


def _joints(columns: Columns, is_smpl: bool) -> np.ndarray:  # (N, 45, 3)
    """Projected joints of the true body, all of them known wherever they are."""
    shape = columns.arrays["gtkps"].shape
    if len(shape) != 3 or shape[2] not in (2, 3):
        raise InputError(f"{columns.path}: gtkps has shape {shape}, expected (N, joints, 2 or 3).")
    values = columns.numbers("gtkps", *shape[1:])
    joints = np.zeros((columns.count, NUM_JOINTS, 3))
    count = min(NUM_JOINTS if is_smpl else NUM_SHARED, values.shape[1])
    joints[:, :count, :2] = values[:, :count, :2] - HALF_PIXEL
    joints[:, :count, 2] = 1
    return joints
