"""Intrinsics from a JSON file."""

import json
import math
from pathlib import Path
from typing import Any

from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import Camera, check_focal, intrinsics


def read_camera(path: str | Path, size: tuple[int, int]) -> Camera:
    """A camera from `{"K": [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]}` or `{"fx", "fy", "cx", "cy"}`.

    Pixels of the picture, whose pixel centres are integers. `width` and `height` may be given and
    are then compared with the picture's `size` (height, width).

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds no sensible intrinsics, or those of another picture size.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no camera file at {path}: check the path.")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        fx, fy, cx, cy = _four_numbers(content)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"{path} is not a camera file ({error}): expected JSON with 'K' (3x3) or 'fx', 'fy', "
            "'cx', 'cy' in pixels."
        ) from error
    for focal in (fx, fy):
        check_focal(focal, size)
    far = 3 * math.hypot(*size)  # a crop from the corner of a large picture is still within
    if not (abs(cx) <= far and abs(cy) <= far):
        raise InputError(
            f"{path} has its principal point at ({cx:g}, {cy:g}), far outside the {size[1]}x"
            f"{size[0]} picture: give it in this picture's pixels."
        )
    given = (content.get("height", size[0]), content.get("width", size[1]))
    if given != size:
        raise InputError(
            f"{path} is for a {given[1]}x{given[0]} picture but this one is {size[1]}x{size[0]}: "
            "scale the intrinsics to the picture."
        )
    return Camera(K=intrinsics(fx, fy, cx, cy), size=size, source=f"camera file {path.name}")


def _four_numbers(content: Any) -> tuple[float, float, float, float]:
    if "K" in content:
        (fx, _, cx), (_, fy, cy), _ = content["K"]
    else:
        fx, fy, cx, cy = (content[key] for key in ("fx", "fy", "cx", "cy"))
    return float(fx), float(fy), float(cx), float(cy)
