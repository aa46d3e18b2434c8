"""Pictures and label maps from files, the right way up and checked."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from meshreg.errors import InputError, MissingFileError

# Graphonomy / CIHP: 0 background, 2 hair, 10 bare torso, 13 face, 14/15 arms, 16/17 legs; the rest
# is clothing.
NUM_LABELS = 20
PERSON_LABEL = 254  # some part of the person, nobody said which
UNKNOWN_LABEL = 255  # something stands in front of the person, or nobody knows
_UNREADABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
)


def _open(path: Path, what: str) -> Image.Image:
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
    picture = _open(path, "picture")
    if picture.mode.startswith("I"):  # 16 bits; Pillow would cut off at 255 and show white
        high_byte = np.asarray(picture).clip(0, 2**16 - 1) >> 8
        picture = Image.fromarray(high_byte.astype(np.uint8))
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"))  # a copy, because Pillow's memory is read-only


def read_label_map(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """A map of CIHP label ids (H, W) uint8; a black and white mask becomes a plain person.

    Values 0..19 are ids, 255 means unknown. A mask of two values, 0 and 255 or 0 and 1, is a plain
    silhouette: its person gets `PERSON_LABEL`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is not one channel of ids, or not of the picture's `size` (height, width).
    """
    path = Path(path)
    picture = _open(path, "label map")
    labels = np.asarray(picture if _holds_ids(picture) else _single_channel(picture, path))
    if labels.shape != size:
        raise InputError(
            f"{path} is {labels.shape[1]}x{labels.shape[0]} pixels but the picture is "
            f"{size[1]}x{size[0]}: give a mask made for this picture."
        )
    values = set(np.unique(labels).tolist())
    if values <= {0, 1} and picture.mode == "P":  # two colours, in either order
        labels = np.asarray(picture.convert("L")) > 127
        return np.where(labels, np.uint8(PERSON_LABEL), np.uint8(0))
    if values in ({0, 255}, {0, 1}, {1}):
        return np.where(labels > 0, np.uint8(PERSON_LABEL), np.uint8(0))
    if beyond := sorted(v for v in values if v >= NUM_LABELS and v != UNKNOWN_LABEL):
        raise InputError(
            f"{path} holds the values {beyond[:5]}, which are no CIHP label ids (0..19, or 255 for "
            "unknown): convert the label map, or threshold a plain mask to 0 and 255 and save PNG."
        )
    return labels.astype(np.uint8)


def _holds_ids(picture: Image.Image) -> bool:
    """Whether the stored numbers can be taken as they are: a palette's, or 16-bit integers."""
    return picture.mode == "P" or picture.mode.startswith("I")


def _single_channel(picture: Image.Image, path: Path) -> Image.Image:
    channels = picture.convert("RGB").split()
    if any(channel.tobytes() != channels[0].tobytes() for channel in channels[1:]):
        raise InputError(
            f"{path} is a colour picture: expected one channel of label ids (or a palette PNG)."
        )
    return channels[0]


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
