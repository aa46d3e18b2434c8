"""Annotations in the `.npz` format of SPIN (Kolotouros et al. 2019), as EFT and DSR use it, too.

Fields: `imgname`, `center` and `scale` (box side / 200) are needed. Optional: `part` (24 joints: x,
y, weight), `openpose` (25 joints: x, y, weight), `S` (24 joints: x, y, z in metres from the pelvis,
weight), `pose` (72), `shape` (10), `has_smpl`, `gender` (m or f), `maskname`; and, beyond SPIN's
own, `K` or `cam_int` (3x3), `trans_cam`, `sequence` and `topology_hash` (of a body not SMPL's).
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from meshreg.data.annotations import Annotations, Columns, annotate, read_columns
from meshreg.errors import InputError

WHAT = "an .npz in SPIN's format with imgname, center and scale"
NUM_OPENPOSE, NUM_ANNOTATED = 25, 24
BOX_UNIT = 200.0  # pixels of box side per unit of `scale`
GENDERS = {"m": "male", "f": "female", "n": "neutral"}


def read_spin(path: str | Path) -> Annotations:
    """Read one file.

    Raises:
        MissingFileError: if it is not there.
        InputError: if fields are missing, misshapen, of different lengths or not finite.
    """
    return spin_annotations(read_columns(path, WHAT), path)


def spin_annotations(arrays: dict[str, np.ndarray], path: str | Path) -> Annotations:
    """As `read_spin`, of arrays that were read already.

    Raises:
        InputError: if fields are missing, misshapen, of different lengths or not finite.
    """
    columns = Columns(arrays, path, WHAT)
    known: dict[str, Any] = {"box": boxes(columns)}
    known |= _body(columns) | _joints(columns)
    for name in ("K", "cam_int"):
        if name in columns:
            known["K"] = columns.numbers(name, 3, 3)
    for field, name in (("masks", "maskname"), ("sequences", "sequence")):
        if name in columns:
            known[field] = columns.texts(name)
    known.setdefault("sequences", tuple(str(PurePosixPath(i).parent) for i in columns.images))
    if "gender" in columns:
        known["genders"] = columns.texts("gender", gender_name)
    if "topology_hash" in columns:
        known["topology_hash"] = str(np.asarray(arrays["topology_hash"]).reshape(-1)[0])
    return annotate(str(path), columns.images, **known)


def boxes(columns: Columns) -> np.ndarray:  # (N, 3)
    """Centre and side of the square boxes, from `center` and `scale`."""
    centre, scale = columns.numbers("center", 2), columns.numbers("scale", 1)
    return np.concatenate([centre, scale * BOX_UNIT], 1)


def gender_name(text: str) -> str:
    """The gender in full, of a letter or a word."""
    return GENDERS.get(text[:1].lower(), "")


def _body(columns: Columns) -> dict[str, np.ndarray]:
    """Pose, shape and, where the file has them, translations; weight zero without a fit."""
    known, count = {}, columns.count
    has_smpl = np.ones(count)
    if "has_smpl" in columns:
        has_smpl = columns.numbers("has_smpl")
    if "pose" in columns:
        known["pose_rotvec"] = columns.numbers("pose", 24, 3)
        known["pose_weight"] = np.repeat(has_smpl[:, None], 24, 1)
    if "shape" in columns:
        known["betas"] = columns.numbers("shape", -1)
        known["betas_weight"] = has_smpl
    if "trans_cam" in columns:
        known["transl"], known["transl_weight"] = columns.numbers("trans_cam", 3), has_smpl
    return known


def _joints(columns: Columns) -> dict[str, np.ndarray]:
    """Annotated joints in the 49 of SPIN: OpenPose's 25 first, then the 24 of `part` and `S`."""
    pixels = np.zeros((columns.count, NUM_OPENPOSE + NUM_ANNOTATED, 3))
    points = np.zeros((columns.count, NUM_OPENPOSE + NUM_ANNOTATED, 4))
    if "openpose" in columns:
        pixels[:, :NUM_OPENPOSE] = columns.numbers("openpose", NUM_OPENPOSE, 3)
    if "part" in columns:
        pixels[:, NUM_OPENPOSE:] = columns.numbers("part", NUM_ANNOTATED, 3)
    if "S" in columns:
        points[:, NUM_OPENPOSE:] = columns.numbers("S", NUM_ANNOTATED, 4)
    for name, values in (("openpose or part", pixels), ("S", points)):
        if (values[..., -1] < 0).any():
            raise InputError(
                f"{columns.path}: {name} has negative weights: they must be 0 or more."
            )
    return {"keypoints_px": pixels, "keypoints_cam": points}
