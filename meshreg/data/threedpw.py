"""3DPW's own sequence files (von Marcard et al. 2018): pickles, read without running them.

Of each person in each frame with a valid camera there is a row: pose, shape, gender, camera and
OpenPose's 18 joints, from which the box is made as SPIN does. The pose is turned from the world
into the camera. Translations are left unknown: turning them needs the pelvis of a licensed body.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from meshreg.body.unpickle import read_pickle, to_array
from meshreg.data.annotations import NUM_KEYPOINTS, Annotations, annotate
from meshreg.data.sample import KEYPOINTS
from meshreg.data.spin_npz import gender_name
from meshreg.errors import InputError, MissingFileError

MARGIN = 1.2  # of the box around the joints
MIN_JOINTS = 6  # people of whom fewer are seen are passed over
# The order of OpenPose's COCO model.
_OPENPOSE_18 = (
    ("nose", "neck_openpose")
    + tuple(f"right_{joint}" for joint in ("shoulder", "elbow", "wrist"))
    + tuple(f"left_{joint}" for joint in ("shoulder", "elbow", "wrist"))
    + tuple(f"right_{joint}" for joint in ("hip", "knee", "ankle"))
    + tuple(f"left_{joint}" for joint in ("hip", "knee", "ankle"))
    + ("right_eye", "left_eye", "right_ear", "left_ear")
)
_PLACES = KEYPOINTS.index(*_OPENPOSE_18)
_FIELDS = (
    *("sequence", "poses", "betas", "genders", "poses2d"),
    *("cam_poses", "cam_intrinsics", "campose_valid"),
)


def read_threedpw(path: str | Path) -> Annotations:
    """Read one sequence file, or all of a folder, such as `sequenceFiles/test`.

    The pictures are named as under the folder `imageFiles`.

    Raises:
        MissingFileError: if there is no such file.
        InputError: if one is damaged, would run code, or lacks fields.
    """
    path = Path(path)
    files = sorted(path.glob("*.pkl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise MissingFileError(f"no sequence file of 3DPW at {path}: give a .pkl or their folder.")
    rows: dict[str, list[Any]] = {}
    for file in files:
        for name, values in _read_file(file).items():
            rows.setdefault(name, []).extend(values)
    if not rows["images"]:
        raise InputError(f"{path} has no frame with a valid camera and a person: check the files.")
    images = tuple(rows.pop("images"))
    known: dict[str, Any] = {name: tuple(rows.pop(name)) for name in ("genders", "sequences")}
    known |= {name: np.stack(values) for name, values in rows.items()}
    known["betas_weight"] = np.ones(len(images))
    known["pose_weight"] = np.ones((len(images), 24))
    return annotate(str(path), images, **known)


def _read_file(path: Path) -> dict[str, list[Any]]:
    """The rows of all people of a sequence."""
    content = read_pickle(path.read_bytes(), str(path))
    lacking = [name for name in _FIELDS if not isinstance(content, dict) or name not in content]
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}: give a sequence file of 3DPW.")
    rows: dict[str, list[Any]] = {
        name: [] for name in ("images", "genders", "sequences", "box", "K", "betas", "pose_rotvec")
    }
    rows["keypoints_px"] = []
    people = content["poses"]
    for name in ("betas", "genders", "poses2d", "campose_valid"):
        if not isinstance(people, Sequence) or len(content[name]) != len(people):
            raise InputError(f"{path}: {name} is not of as many people as poses: get it again.")
    try:
        for person in range(len(people)):
            for name, values in _read_person(content, person).items():
                rows[name].extend(values)
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} has fields of other shapes than 3DPW's ({str(error)[:80]}): get it again."
        ) from error
    return rows


def _read_person(content: dict[str, Any], person: int) -> dict[str, list[Any]]:
    sequence = str(content["sequence"])
    poses = _floats(content["poses"][person]).reshape(-1, 24, 3)
    T_cam_world = _floats(content["cam_poses"]).reshape(-1, 4, 4)
    joints = _floats(content["poses2d"][person]).reshape(-1, 3, 18).transpose(0, 2, 1)
    valid = _floats(content["campose_valid"][person]).reshape(-1) > 0
    if not len(poses) == len(T_cam_world) == len(joints) == len(valid):
        raise InputError(f"3DPW's {sequence} has fields of different lengths: get it again.")
    seen = joints[..., 2] > 0
    frames = np.flatnonzero(valid & (seen.sum(1) >= MIN_JOINTS))
    root = torch.from_numpy(T_cam_world[:, :3, :3]) @ roma.rotvec_to_rotmat(
        torch.from_numpy(poses[:, 0])
    )
    poses[:, 0] = roma.rotmat_to_rotvec(root).numpy()
    keypoints = np.zeros((len(poses), NUM_KEYPOINTS, 3))
    keypoints[:, _PLACES] = joints
    count = len(frames)
    betas = _floats(content["betas"][person]).reshape(-1)[:10]
    return {
        "images": [f"{sequence}/image_{frame:05d}.jpg" for frame in frames],
        "genders": [gender_name(str(content["genders"][person]))] * count,
        "sequences": [f"{sequence}/{person}"] * count,
        "box": [_box(joints[frame][seen[frame], :2]) for frame in frames],
        "K": [_floats(content["cam_intrinsics"]).reshape(3, 3)] * count,
        "betas": [betas] * count,
        "pose_rotvec": list(poses[frames]),
        "keypoints_px": list(keypoints[frames]),
    }


def _floats(value: Any) -> np.ndarray:
    return to_array(value).astype(np.float64)


def _box(points: np.ndarray) -> np.ndarray:  # (3,)
    low, high = points.min(0), points.max(0)
    return np.array([*(low + high) / 2, MARGIN * (high - low).max()])
