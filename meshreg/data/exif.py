"""The camera of a picture as far as its file tells: EXIF's focal length, else a guess.

What cannot be trusted is not used, and the camera's source says why: a wrong focal length puts
people at a wrong distance, and nothing in the result would show it.
"""

import math
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from meshreg.errors import InputError
from meshreg.geometry.cameras import Camera, check_focal, guess_camera, image_centre, intrinsics

FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)
SAME_SHAPE = 0.02  # how much width over height may change when pictures are resized
_UNITS_MM = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}  # of the resolution in the sensor's plane
_DAMAGED = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, SyntaxError, AttributeError),
    *(ArithmeticError, struct.error, UnidentifiedImageError, Image.DecompressionBombError),
)


class _Untrusted(Exception):
    """EXIF says something about the focal length that cannot be used; why, in words."""


def picture_camera(picture: str | Path | Image.Image, size: tuple[int, int]) -> Camera:
    """The camera that the file of a picture tells, or the usual guess; its source says which.

    `size` is the height and width of the picture turned upright, whose pixels K is about.
    """
    try:
        camera = _exif_camera(_read_exif(picture), size)
    except _Untrusted as problem:
        guess = guess_camera(size)
        why = f"; warning: EXIF's focal length was not used, because {problem}"
        return replace(guess, source=guess.source + why)
    return camera or guess_camera(size)


def upright_intrinsics(
    K: Float[Tensor, "3 3"], stored_size: tuple[int, int], orientation: int
) -> Float[Tensor, "3 3"]:
    """K of a picture that is turned upright, from that of the pixels as they are in the file.

    `orientation` is EXIF's number, 1 to 8; K has no skew.
    """
    height, width = stored_size
    columns, rows = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)  # of the file's pixels
    from_right, from_below = (-1.0, 0.0, width - 1.0), (0.0, -1.0, height - 1.0)
    x, y = {
        2: (from_right, rows),
        3: (from_right, from_below),
        4: (columns, from_below),
        5: (rows, columns),
        6: (from_below, columns),
        7: (from_below, from_right),
        8: (rows, from_right),
    }.get(orientation, (columns, rows))
    moved = torch.tensor([x, y, (0.0, 0.0, 1.0)], dtype=K.dtype)
    axes = moved.clone()
    axes[:2, 2] = 0  # the camera's axes swap and change their signs with the pixels'
    return moved @ K @ axes.T


def _read_exif(picture: str | Path | Image.Image) -> dict[int, Any]:
    """EXIF's tags by number; none where there are none or they are damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about damaged tags: they are left out
            if isinstance(picture, Image.Image):
                return _tags(picture)
            with Path(picture).open("rb") as file:
                return _tags(Image.open(file))
    except _DAMAGED:
        return {}


def _tags(picture: Image.Image) -> dict[int, Any]:
    exif = picture.getexif()
    return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}


def _exif_camera(exif: dict[int, Any], size: tuple[int, int]) -> Camera | None:
    """The camera, if EXIF tells its focal length.

    Raises:
        _Untrusted: if what it tells contradicts the picture or is not plausible.
    """
    orientation = _number(exif, ExifTags.Base.Orientation) or 1
    stored = size[::-1] if orientation in (5, 6, 7, 8) else size
    film_mm = _number(exif, ExifTags.Base.FocalLengthIn35mmFilm)
    if film_mm:
        # Manufacturers compare diagonals, which also holds for upright and resized pictures.
        focal = film_mm / FILM_DIAGONAL_MM * math.hypot(*size)
        K = intrinsics(focal, focal, *image_centre(stored))
        source = f"EXIF: {film_mm:g} mm, 35 mm equivalent, by the diagonal"
    else:
        per_pixel = _focal_by_sensor(exif, stored)
        if per_pixel is None:
            return None
        K = intrinsics(*per_pixel, *image_centre(stored))
        millimetres = _number(exif, ExifTags.Base.FocalLength)
        source = f"EXIF: {millimetres:g} mm and the sensor's pixels"
    _check_shape(exif, stored)
    try:
        for axis in (0, 1):
            check_focal(float(K[axis, axis]), size)
    except InputError as error:
        raise _Untrusted(str(error).removesuffix(".")) from error
    return Camera(K=upright_intrinsics(K, stored, int(orientation)), size=size, source=source)


def _focal_by_sensor(exif: dict[int, Any], stored: tuple[int, int]) -> tuple[float, float] | None:
    """Focal lengths in pixels of the file, from millimetres and the density of the sensor."""
    focal_mm = _number(exif, ExifTags.Base.FocalLength)
    density = [
        _number(exif, tag)
        for tag in (ExifTags.Base.FocalPlaneXResolution, ExifTags.Base.FocalPlaneYResolution)
    ]
    unit = _UNITS_MM.get(int(_number(exif, ExifTags.Base.FocalPlaneResolutionUnit) or 2))
    if not focal_mm or not density[0] or unit is None:
        return None
    taken = _taken_size(exif)
    resized = math.hypot(*stored) / math.hypot(*taken) if taken else 1.0
    per_mm = [resized * (per_unit or density[0]) / unit for per_unit in density]
    return focal_mm * per_mm[0], focal_mm * per_mm[1]


def _check_shape(exif: dict[int, Any], stored: tuple[int, int]) -> None:
    """Pictures that were cut out of others are not what the focal length is about."""
    taken = _taken_size(exif)
    if taken and not (_same_shape(taken, stored) or _same_shape(taken[::-1], stored)):
        raise _Untrusted(
            f"it is about {taken[1]}x{taken[0]} pixels and this picture of "
            f"{stored[1]}x{stored[0]} has another shape, so it was probably cut out"
        )


def _taken_size(exif: dict[int, Any]) -> tuple[int, int] | None:
    """Height and width that the picture had when the camera wrote it."""
    width, height = (
        _number(exif, tag) for tag in (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
    )
    if not width or not height or min(width, height) < 1:
        return None
    return round(height), round(width)


def _same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    # One pixel more or less, from rounding, is a lot in small pictures.
    tolerance = SAME_SHAPE + 1 / min(b)
    return abs(math.log(a[0] * b[1] / (a[1] * b[0]))) < tolerance


def _number(exif: dict[int, Any], tag: int) -> float | None:
    """A tag's positive number; None where it is left out, unknown (0) or nonsense."""
    try:
        value = float(exif[tag])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return value if 0 < value < math.inf else None
