"""Pictures from files, the right way up and checked; masks and label maps at other sizes."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from meshreg.errors import InputError, MissingFileError

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
    path = Path(path)
    picture = open_picture(path, "picture")
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
