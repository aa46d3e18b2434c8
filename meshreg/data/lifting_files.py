"""Data sets that lifters are compared on, in the files that the literature shares."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.data.lifting import LiftingClip, LiftingData
from meshreg.data.object_arrays import read_object_arrays
from meshreg.errors import InputError, MissingFileError

# Of Human3.6M's 32 recorded joints those that move on their own.
H36M_KEPT = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
_FPS = {"h36m17": 50.0, "humaneva15": 60.0}
_3DHP_FPS = 25.0  # of most of its videos; the others have 50
_3DHP_SQUARE, _3DHP_WIDE = (2048, 2048), (1080, 1920)
_WIDE_TESTS = ("TS5", "TS6")


def read_videopose3d(
    positions: Path, detections: Path, cameras: Path, *, joint_set: str
) -> LiftingData:
    """Human3.6M or HumanEva as VideoPose3D prepares them (Pavllo et al. 2019).

    `positions` holds world coordinates in metres, `detections` pixels of every camera. `cameras`
    is JSON: for each subject a list, in the order of the detections, of {"id", "orientation"
    (camera to world, quaternion w x y z), "translation" (millimetres), "res_w", "res_h"}.

    Raises:
        MissingFileError: if a file is not there.
        InputError: if they do not fit together.
    """
    joints = skeleton(joint_set)
    space = read_object_arrays(positions, "positions_3d")["positions_3d"]
    found = read_object_arrays(detections, "positions_2d")["positions_2d"]
    views = _read_cameras(cameras)
    clips = tuple(
        clip
        for subject, actions in _items(space, positions)
        for action, world in _items(actions, positions)
        for clip in _clips(
            _world(world, joints, f"{subject} {action} of {positions}"),
            _detected(found, subject, action, detections),
            _cameras_of(views, subject, cameras),
            names=(subject, action),
            joints=joints,
        )
    )
    return LiftingData(clips, joints, source=positions.name)


def read_3dhp(path: Path) -> LiftingData:
    """MPI-INF-3DHP as P-STMO prepares it: a file of training or test clips, or a folder of both.

    Raises:
        MissingFileError: if there is no file.
        InputError: if it is something else.
    """
    files = sorted(path.glob("data_*_3dhp.npz")) if path.is_dir() else [path]
    if not files:
        raise MissingFileError(
            f"no data_train_3dhp.npz or data_test_3dhp.npz in {path}: give the folder that they "
            "are in."
        )
    joints = skeleton("mpi_inf_3dhp17")
    clips: list[LiftingClip] = []
    for file in files:
        content = read_object_arrays(file, "data")["data"]
        for name, sequence in _items(content, file):
            clips += _3dhp_clips(name, sequence, joints, file)
    return LiftingData(tuple(clips), joints, source=path.name)


def to_camera(
    world: Float[Tensor, "T J 3"], orientation: Float[Tensor, "4"], translation: Float[Tensor, "3"]
) -> Float[Tensor, "T J 3"]:
    """World points in camera axes; the quaternion (w, x, y, z) turns the camera to the world."""
    w, axis = orientation[0], -orientation[1:].expand_as(world)  # the inverse turn
    moved = world - translation
    once = torch.linalg.cross(axis, moved)
    return moved + 2 * (w * once + torch.linalg.cross(axis, once))


def _clips(
    world: Float[Tensor, "T J 3"],
    views: list[Any],
    cameras: list[dict[str, Any]],
    *,
    names: tuple[str, str],
    joints: Skeleton,
) -> Iterator[LiftingClip]:
    subject, action = names
    if len(views) != len(cameras):
        raise InputError(
            f"{subject} {action} was detected by {len(views)} cameras, but {len(cameras)} are "
            "described: give the cameras of the same data set."
        )
    for view, camera in zip(views, cameras, strict=True):
        what = f"{subject} {action} by camera {camera['id']}"
        yield LiftingClip(
            keypoints_px=_keypoints(view, len(world), joints, what),
            joints_cam=to_camera(
                world,
                torch.tensor(camera["orientation"], dtype=torch.float32),
                torch.tensor(camera["translation"], dtype=torch.float32) / 1000,
            ),
            size=(int(camera["res_h"]), int(camera["res_w"])),
            subject=subject,
            action=action,
            camera=str(camera["id"]),
            fps=_FPS[joints.name],
        )


def _world(world: Any, joints: Skeleton, what: str) -> Float[Tensor, "T J 3"]:
    if isinstance(world, np.ndarray) and joints.name == "h36m17" and world.shape[1:] == (32, 3):
        world = world[:, H36M_KEPT]
    return _array(world, (len(joints), 3), what)


def _keypoints(view: Any, frames: int, joints: Skeleton, what: str) -> Float[Tensor, "T J 2"]:
    """2D joints, cut to the length of the 3D ones: videos run on after the recording stopped."""
    keypoints = _array(view, (len(joints), 2), what)
    if len(keypoints) < frames:
        raise InputError(
            f"{what} has 2D joints of {len(keypoints)} frames, but 3D joints of {frames}: give "
            "files that were made from the same videos."
        )
    return keypoints[:frames]


def _array(value: Any, shape: tuple[int, ...], what: str) -> Float[Tensor, "T J D"]:
    """Joints of every frame.

    Raises:
        InputError: if there are none, or others, or some that are not finite.
    """
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise InputError(f"{what} is no array of joints: give the file of that data set.")
    if value.shape[1:] != shape or not len(value):
        raise InputError(
            f"{what} has the shape {value.shape}, but expected are frames of {shape[0]} joints "
            f"with {shape[1]} coordinates: give the file of this joint set."
        )
    if not np.isfinite(value).all():
        raise InputError(f"{what} holds coordinates that are not finite: repair or drop that clip.")
    return torch.from_numpy(value.astype(np.float32))


def _items(content: Any, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no clips by name: give the file of that data set.")
    return [(str(name), value) for name, value in content.items()]


def _detected(found: Any, subject: str, action: str, path: Path) -> list[Any]:
    """What every camera saw."""
    actions = found.get(subject) if isinstance(found, dict) else None
    views = actions.get(action) if isinstance(actions, dict) else None
    if not isinstance(views, list):
        raise InputError(
            f"{path} has no 2D joints of {subject} {action}: give detections of the same data set."
        )
    return views


def _read_cameras(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFileError(f"no cameras at {path}: give JSON of the calibrated cameras.")
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not JSON of cameras by subject ({error}).") from error


def _cameras_of(views: dict[str, Any], subject: str, path: Path) -> list[dict[str, Any]]:
    """The cameras of a subject; Train/S1 and Validate/S1 are the same person."""
    found = views.get(subject, views.get(subject.split("/")[-1]))
    needed = ("id", "orientation", "translation", "res_w", "res_h")
    try:
        cameras = [{name: camera[name] for name in needed} for camera in found or []]
    except (TypeError, KeyError) as error:
        raise InputError(
            f"a camera of {subject} in {path} lacks {error}: give {', '.join(needed)}."
        ) from error
    if not cameras:
        raise InputError(f"{path} has no cameras of {subject}: add them.")
    return cameras


def _3dhp_clips(name: str, sequence: Any, joints: Skeleton, path: Path) -> list[LiftingClip]:
    """The clips of one sequence: of every camera in training, of the only one in the test."""
    cameras = sequence[0] if isinstance(sequence, list) and sequence else {"test": sequence}
    fps = float(sequence[1]) if isinstance(sequence, list) and len(sequence) > 1 else _3DHP_FPS
    subject, _, action = name.partition(" ")
    clips = []
    for camera, content in _items(cameras, path):
        what = f"{name} of {path}, camera {camera}"
        if not isinstance(content, dict) or not {"data_2d", "data_3d"} <= set(content):
            raise InputError(f"{what} lacks data_2d or data_3d: give P-STMO's file.")
        space = _array(content["data_3d"], (len(joints), 3), what) / 1000
        valid = content.get("valid")
        clips.append(
            LiftingClip(
                keypoints_px=_keypoints(content["data_2d"], len(space), joints, what),
                joints_cam=space,
                size=_3DHP_WIDE if name in _WIDE_TESTS else _3DHP_SQUARE,
                subject=subject,
                action=action or name,
                camera=camera,
                fps=fps,
                scored=None if valid is None else _valid(valid, len(space), what),
            )
        )
    return clips


def _valid(valid: Any, frames: int, what: str) -> Tensor:
    flags = np.asarray(valid).reshape(-1)
    if len(flags) != frames or flags.dtype.kind not in "bfiu":
        raise InputError(f"{what} has {len(flags)} flags of validity for {frames} frames.")
    return torch.from_numpy(flags.astype(bool))
