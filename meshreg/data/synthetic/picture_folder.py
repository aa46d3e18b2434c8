"""The user's own pictures as backgrounds."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from meshreg.data.images import read_image
from meshreg.data.synthetic.develop import to_linear
from meshreg.errors import InputError, MissingFileError

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_LOG = logging.getLogger(__name__)


class PictureFolder:
    """Random crops of the pictures in a folder and the folders inside it.

    Which picture a crop comes from depends only on the random numbers given and on the files:
    where a file turns out to be broken, its successor in the alphabet takes its place.
    """

    def __init__(self, folder: str | Path) -> None:
        """List the folder.

        Raises:
            MissingFileError: if there is no such folder.
            InputError: if it holds no readable picture.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise MissingFileError(f"no folder of pictures at {folder}: check the path.")
        files = (f for f in self.folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
        self.files = sorted(files)
        broken = [file for file in self.files if not _opens(file)]
        self._broken = set(broken)
        if not self.files:
            raise InputError(f"{folder} holds no pictures: give a folder of PNG or JPEG pictures.")
        if len(broken) == len(self.files):
            raise InputError(
                f"none of the {len(self.files)} picture files in {folder} can be read: give a "
                "folder of PNG or JPEG pictures."
            )
        if broken:
            names = ", ".join(str(file.relative_to(self.folder)) for file in broken[:20])
            more = f" and {len(broken) - 20} more" if len(broken) > 20 else ""
            _LOG.warning("skipping pictures that cannot be read: %s%s", names, more)

    def __len__(self) -> int:
        return len(self.files) - len(self._broken)

    def crop(self, rng: np.random.Generator, size: tuple[int, int]) -> Float[Tensor, "H W 3"]:
        """A random part of a random picture at this size (height, width), in linear light.

        Raises:
            InputError: if every picture turned out to be broken.
        """
        picture = self._read_from(int(rng.integers(len(self.files))))
        share, across, down, mirrored = rng.random(4)
        height, width = picture.shape[:2]
        largest = min(height / size[0], width / size[1])
        scale = largest * (0.5 + 0.5 * share)
        tall, wide = size[0] * scale, size[1] * scale
        top, left = (height - tall) * down, (width - wide) * across
        box = (left, top, min(left + wide, width), min(top + tall, height))
        resized = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR, box=box)
        pixels = torch.from_numpy(np.array(resized)).float() / 255
        return to_linear(pixels.flip(1) if mirrored < 0.5 else pixels)

    def _read_from(self, first: int) -> np.ndarray:
        """The first readable picture from here on."""
        for step in range(len(self.files)):
            file = self.files[(first + step) % len(self.files)]
            if file in self._broken:
                continue
            try:
                return read_image(file)
            except InputError as error:  # its header was fine, its pixels are not
                self._broken.add(file)
                _LOG.warning("skipping a picture from now on: %s", error)
        raise InputError(
            f"every picture in {self.folder} turned out to be broken: give a folder of PNG or "
            "JPEG pictures."
        )


def _opens(file: Path) -> bool:
    """Whether the header is that of a picture; the pixels are read when they are needed."""
    try:
        with Image.open(file) as picture:
            return min(picture.size) > 0
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
