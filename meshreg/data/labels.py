"""Label maps from files: one picture of ids or of colours becomes CIHP ids."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image

from meshreg.clothing.labels import PALETTE, PERSON_LABEL
from meshreg.clothing.schemes import find_scheme, to_cihp
from meshreg.data.images import open_picture
from meshreg.errors import InputError


def read_labels(
    path: str | Path, size: tuple[int, int] | None, scheme: str = "cihp"
) -> UInt8[np.ndarray, "H W"]:
    """A map of CIHP ids, from a picture of ids in any known scheme or of CIHP's colours.

    255 means unknown; `PERSON_LABEL` a part of the person that has no class. In the scheme "cihp" a
    mask of two values, 0 and 255 or 0 and 1, is a plain silhouette: its person gets `PERSON_LABEL`.
    A map of which hats would be all there is, is refused: it was meant to be such a mask.

    Args:
        path: one channel of ids, a palette picture whose numbers are ids, or a colour picture.
        size: (height, width) of the picture that the labels belong to; None takes any.
        scheme: what the ids mean, a key of `meshreg.clothing.schemes.SCHEMES`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no label map, has another size, or its ids are not the scheme's.
    """
    find_scheme(scheme)  # a wrong name is worth saying before a wrong file
    path = Path(path)
    picture = open_picture(path, "label map")
    if size is not None and picture.size != size[::-1]:
        raise InputError(
            f"{path} is {picture.width}x{picture.height} pixels but the picture is "
            f"{size[1]}x{size[0]}: give a mask made for this picture."
        )
    if _is_colored(picture):
        labels = _labels_of_colors(picture, path, scheme)
        _check_classes(labels, path, scheme)
        return labels
    ids = np.asarray(picture if _holds_ids(picture) else picture.convert("RGB").getchannel(0))
    silhouette = _silhouette(picture, ids) if scheme == "cihp" else None
    if silhouette is not None:
        return np.where(silhouette, np.uint8(PERSON_LABEL), np.uint8(0))
    _check_classes(ids, path, scheme)
    try:
        return to_cihp(torch.from_numpy(ids.astype(np.int64)), scheme).to(torch.uint8).numpy()
    except InputError as error:
        raise InputError(
            f"{path}: {str(error).removesuffix('.')}, or threshold a plain mask to 0 and 255 and "
            "save PNG."
        ) from error


def _holds_ids(picture: Image.Image) -> bool:
    """Whether the stored numbers can be taken as they are: a palette's, or 16-bit integers."""
    return picture.mode == "P" or picture.mode.startswith("I")


def _is_colored(picture: Image.Image) -> bool:
    """Whether the colours say what the labels are, rather than the numbers.

    A palette speaks if all its colours are CIHP's: programs that save few colours number them in
    any order. Any other palette only decorates the numbers, and two colours may be any mask.
    """
    if picture.mode == "P":
        flat = picture.getpalette("RGB") or []
        colors = set(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
        return len(colors) > 2 and colors <= set(PALETTE)
    if _holds_ids(picture):
        return False
    red, *others = picture.convert("RGB").split()
    return any(channel.tobytes() != red.tobytes() for channel in others)


def _silhouette(picture: Image.Image, ids: np.ndarray) -> Bool[np.ndarray, "H W"] | None:
    """Where the person is, if the picture is a plain mask of two values."""
    values = set(np.unique(ids).tolist())
    if values <= {0, 1} and picture.mode == "P":  # two colours, in either order: the brighter one
        colors = Image.frombytes("P", (2, 1), bytes([0, 1]))
        colors.putpalette(picture.getpalette("RGB") or [])
        first, second = np.asarray(colors.convert("L"))[0].tolist()
        return ids != (first > second)
    return ids > 0 if values in ({0, 255}, {0, 1}, {1}) else None


def _check_classes(ids: np.ndarray, path: Path, scheme: str) -> None:
    """Refuse masks whose person would be a hat, or would be unknown.

    Raises:
        InputError: saying how to write a mask.
    """
    values = set(np.unique(ids).tolist())
    if scheme == "cihp" and 1 in values and values <= {0, 1, 255}:
        raise InputError(
            f"{path} holds nothing but 0, 1 and 255, where 1 would be a hat, so it looks like a "
            "0/1 mask: save it with 0 and 255."
        )
    if scheme != "cihp" and values == {0, 255}:
        raise InputError(
            f"{path} holds only 0 and 255, which means unknown in {scheme}: leave out --scheme for "
            "a plain mask."
        )


def _labels_of_colors(picture: Image.Image, path: Path, scheme: str) -> UInt8[np.ndarray, "H W"]:
    """The label of every pixel's colour in CIHP's palette, which must be exact.

    Raises:
        InputError: if a colour is not in the palette, or the scheme has another one.
    """
    if scheme != "cihp":
        raise InputError(
            f"{path} is a colour picture, but only CIHP's colours are known: expected one channel "
            f"of {scheme} ids (or a palette PNG)."
        )
    rgb = np.asarray(picture.convert("RGB")).astype(np.int32)
    packed = rgb @ [2**16, 2**8, 1]
    keys = np.array(PALETTE) @ [2**16, 2**8, 1]
    order = np.argsort(keys)
    place = np.searchsorted(keys, packed, sorter=order).clip(max=len(keys) - 1)
    labels = order[place]
    unknown = packed[keys[labels] != packed]
    if len(unknown):
        colors, counts = np.unique(unknown, return_counts=True)
        most = colors[np.argsort(-counts, kind="stable")[:3]]
        names = ", ".join(f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in most)
        raise InputError(
            f"{path} is a colour picture with {len(unknown)} pixels in {len(colors)} colours that "
            f"are not CIHP's, such as {names}: give one channel of ids, or CIHP's exact colours "
            "saved as PNG."
        )
    return labels.astype(np.uint8)
