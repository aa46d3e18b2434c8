"""Pictures from files, the right way up and checked; pictures, masks and labels resampled."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from meshreg.errors import InputError, MissingFileError

MAX_OVERSAMPLING = 8  # per axis, when pictures shrink: beyond, what is averaged has gaps
_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
)


def open_picture(path: Path, what: str) -> Image.Image:
    """The file as Pillow sees it, turned upright; `what` names it in the message if it fails.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is not a readable picture.
    """
    if not path.is_file():
        raise MissingFileError(f"no {what} at {path}: check the path.")
    try:
        with path.open("rb") as file:
            return ImageOps.exif_transpose(Image.open(file))  # a copy that holds its pixels
    except _UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}): give a PNG or JPEG file."
        ) from error


def read_image(path: str | Path) -> np.ndarray:
    """An RGB picture (H, W, 3) uint8, turned upright as its EXIF orientation says.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is not a readable picture.
    """
    return upright_rgb(open_picture(Path(path), "picture"))


def upright_rgb(picture: Image.Image) -> np.ndarray:  # (H, W, 3)
    """A picture of Pillow's as 8-bit RGB, turned upright if its EXIF orientation asks for it."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits; Pillow would cut off at 255 and show white
        high_byte = np.asarray(picture).clip(0, 2**16 - 1) >> 8
        picture = Image.fromarray(high_byte.astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"))  # a copy, because Pillow's memory is read-only


def distance_outside(mask: np.ndarray) -> np.ndarray:
    """For every pixel the distance in pixels to the nearest pixel of the mask; 0 on the mask.

    Without any pixel in the mask the distance is 0 everywhere: nothing to be pulled to.
    """
    import cv2

    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A smaller mask in which each pixel holds the share of its area that the mask covers."""
    import cv2

    return cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)


def resize_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map at another size, by the label nearest to each pixel centre: ids never mix."""
    rows = ((np.arange(size[0]) + 0.5) * labels.shape[0] / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * labels.shape[1] / size[1]).astype(np.int64)
    return labels[rows[:, None], columns[None]]


def warp_image(
    image: np.ndarray, to_from: np.ndarray, size: tuple[int, int]
) -> np.ndarray:  # (H, W, 3)
    """A picture under a homography (3x3) of pixel coordinates, black where it shows nothing.

    Where it shrinks, several samples are averaged per pixel, so that fine patterns turn grey rather
    than into other patterns. How much it shrinks is taken from the middle of the result.
    """
    import cv2

    shrinkage = _shrinkage(to_from, size)
    times = int(np.clip(np.ceil(shrinkage - 1e-6), 1, MAX_OVERSAMPLING))
    finer = np.diag([times, times, 1.0])
    finer[:2, 2] = (times - 1) / 2  # pixel centres are integers on both grids
    finer_size = size[1] * times, size[0] * times
    if _is_affine(to_from):
        drawn = cv2.warpAffine(image, (finer @ to_from)[:2], finer_size, flags=cv2.INTER_LINEAR)
    else:
        drawn = cv2.warpPerspective(image, finer @ to_from, finer_size, flags=cv2.INTER_LINEAR)
        drawn[_depths(finer @ to_from, finer_size[::-1]) <= 0] = 0
    return drawn if times == 1 else cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_AREA)


def warp_labels(
    labels: np.ndarray, to_from: np.ndarray, size: tuple[int, int], outside: int
) -> np.ndarray:  # (H, W)
    """A label map under a homography (3x3) of pixel coordinates: nearest labels, never a mix."""
    back = np.linalg.inv(to_from)
    y, x = np.mgrid[: size[0], : size[1]]
    depth = _depths(to_from, size)
    seen = depth > 0
    safe = np.where(seen, depth, 1.0)
    column, row = (
        np.floor((line[0] * x + line[1] * y + line[2]) / safe + 0.5)
        .clip(-1, 2**31)
        .astype(np.int64)
        for line in back[:2]
    )
    height, width = labels.shape
    inside = seen & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    nearest = labels[row.clip(0, height - 1), column.clip(0, width - 1)]
    return np.where(inside, nearest, np.asarray(outside, labels.dtype))


def _is_affine(to_from: np.ndarray) -> bool:
    return bool((to_from[2] == (0, 0, 1)).all())


def _depths(to_from: np.ndarray, size: tuple[int, int]) -> np.ndarray:  # (H, W)
    """What the result's pixels are divided by; not positive where the picture shows nothing.

    Turned cameras also look at what was behind the first one, where homographies put the picture
    once more, upside down.
    """
    line = np.linalg.inv(to_from)[2]
    return line[1] * np.arange(size[0])[:, None] + line[0] * np.arange(size[1]) + line[2]


def _shrinkage(to_from: np.ndarray, size: tuple[int, int]) -> float:
    """How many of the picture's pixels make one of the result, per axis and in its middle."""
    depth = abs(np.linalg.inv(to_from)[2] @ [(size[1] - 1) / 2, (size[0] - 1) / 2, 1.0])
    return float(1 / np.sqrt(abs(np.linalg.det(to_from)) * max(depth, 1e-6) ** 3))
