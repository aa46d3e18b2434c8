"""The camera of a picture, read from its pixels by a network; a better guess, but still a guess."""

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from meshreg.data.boxes import square_around, whole_picture
from meshreg.data.crops import cut_window
from meshreg.data.images import warp_image
from meshreg.errors import InputError
from meshreg.geometry.cameras import Camera, camera_from_focal, image_centre, intrinsics
from meshreg.models.field_of_view import FieldOfView, FovNetwork
from meshreg.models.fov_files import load_fov

SMALLEST = 48  # pixels of the shorter side, below which pictures tell nothing
SURE = 0.8  # of the interval that is told


def read_field_of_view(image: np.ndarray, network: FovNetwork) -> FieldOfView:
    """What a network says of an upright RGB picture (H, W, 3) uint8, as a batch of one.

    Raises:
        InputError: if the picture is too small.
    """
    size = image.shape[0], image.shape[1]
    if min(size) < SMALLEST:
        raise InputError(
            f"a picture of {size[1]}x{size[0]} is too small to tell its field of view from: give "
            f"one of at least {SMALLEST} pixels, or say --fov DEGREES."
        )
    square = torch.from_numpy(square_around(whole_picture(size)))
    K = intrinsics(1.0, 1.0, *image_centre(size))  # any: only the pixels are cut
    window = cut_window(K, size, square, network.image_size)
    pixels = warp_image(image, window.crop_from_full.numpy(), (network.image_size,) * 2)
    with torch.inference_mode():
        shown = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(network.edges_deg.device)
        return network(shown)


def predicted_camera(image: np.ndarray, network: FovNetwork | None = None) -> Camera:
    """The camera that a network reads from a picture, by default the one that meshreg ships.

    It is not `known`: encodings are not told of it, and crops do not turn by it. The source says
    how sure the network is.

    Raises:
        MissingFileError: if no network is given and none is shipped.
        InputError: if the picture is too small.
    """
    size = image.shape[0], image.shape[1]
    found = read_field_of_view(image, network or load_fov())
    low, middle, high = (float(found.quantile(0.5 + sign * SURE / 2)) for sign in (-1, 0, 1))
    focal = max(size) / 2 / math.tan(math.radians(middle) / 2)
    source = (
        f"predicted from the picture: {middle:.0f} degrees across the longer side, with "
        f"{100 * SURE:.0f}% between {low:.0f} and {high:.0f}; learned from synthetic pictures only"
    )
    return replace(camera_from_focal(focal, size, source=source), known=False)


@cache
def fov_network(path: Path | None) -> FovNetwork:
    """The network of a file, or the shipped one, loaded once for many pictures.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or of another kind.
    """
    return load_fov(path)
