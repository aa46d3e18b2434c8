"""Intrinsics from a file: our own JSON, or what calibration tools write."""

import math
from pathlib import Path

import torch

from meshreg.data.calibration import (
    calibrated_size,
    camera_matrix,
    is_distorted,
    parse_calibration,
)
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import Camera, check_focal
from meshreg.geometry.turned_crop import check_intrinsics

_UNUSABLE = (KeyError, TypeError, ValueError, OverflowError, RecursionError)


def read_camera(path: str | Path, size: tuple[int, int]) -> Camera:
    """A camera from JSON with `K` (3x3) or `fx`, `fy`, `cx`, `cy`, or a calibration file.

    The latter are OpenCV's (YAML, JSON or XML) and ROS's, with `camera_matrix`. Pixels are those of
    the picture, whose pixel centres are integers. Width and height may be given and are then
    compared with the picture's `size` (height, width). Distortion is left out; the source says so.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds no sensible intrinsics, or those of another picture size.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a camera file: give one of the files in it.")
    if not path.is_file():
        raise MissingFileError(f"no camera file at {path}: check the path.")
    try:
        content = parse_calibration(path.read_text(encoding="utf-8-sig"))
        rows, distorted = camera_matrix(content), is_distorted(content)
        height, width = calibrated_size(content)
    except _UNUSABLE as error:
        raise InputError(
            f"{path} is not a camera file ({' '.join(str(error).split())}): expected JSON with 'K' "
            "(3x3) or 'fx', 'fy', 'cx', 'cy' in pixels, or a calibration file with 'camera_matrix' "
            "from OpenCV or ROS."
        ) from error
    K = torch.tensor(rows)
    _check(path, K, size, (height or size[0], width or size[1]))
    source = f"camera file {path.name}"
    if distorted:
        source += (
            "; warning: its lens distortion is left out, so undistort the picture first if "
            "straight lines look bent"
        )
    return Camera(K=K, size=size, source=source)


def _check(path: Path, K: torch.Tensor, size: tuple[int, int], given: tuple[int, int]) -> None:
    if given != size:
        raise InputError(
            f"{path} is for a {given[1]}x{given[0]} picture but this one is {size[1]}x{size[0]}: "
            "scale the intrinsics to the picture."
        )
    try:
        check_intrinsics(K)
    except InputError as error:
        raise InputError(f"{path} is not a camera file: {error}") from error
    for axis in (0, 1):
        check_focal(float(K[axis, axis]), size)
    far = 3 * math.hypot(*size)  # a crop from the corner of a large picture is still within
    cx, cy = float(K[0, 2]), float(K[1, 2])
    if not (abs(cx) <= far and abs(cy) <= far):
        raise InputError(
            f"{path} has its principal point at ({cx:g}, {cy:g}), far outside the {size[1]}x"
            f"{size[0]} picture: give it in this picture's pixels."
        )
