"""Between the three numbers that a crop tells of the camera and a translation in the full one.

Weak perspective `cam` is (s, tx, ty): the body point (X, Y) appears at s (X + tx), s (Y + ty) in a
box whose sides are at -1 and 1. It matches a pinhole camera at the depth of the body's origin;
for that depth the conversions are exact both ways, off centre too (Li et al. 2022, CLIFF).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.geometry.cameras import MIN_DEPTH

CROP_FOCAL = 5000.0  # pixels; the far camera of networks that know nothing about the real one
MIN_SCALE = 1e-3  # a person 1000 half boxes away: keeps the depth finite and positive


def crop_camera(
    batch_size: int, image_size: int, *, focal: float = CROP_FOCAL
) -> tuple[Float[Tensor, "B 3 3"], Float[Tensor, "B 3"]]:
    """K and box of square pictures taken for whole ones, seen from far away."""
    centre = (image_size - 1) / 2
    K = torch.tensor([[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]])
    box = torch.tensor([centre, centre, float(image_size)])
    return K.expand(batch_size, 3, 3), box.expand(batch_size, 3)


def weak_to_transl(
    cam: Float[Tensor, "B 3"], box: Float[Tensor, "B 3"], K_full: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B 3"]:
    """Where the body's origin is in the full camera, metres.

    A scale of `MIN_SCALE` or less gives the farthest depth, without a gradient for the scale.
    """
    half_side = box[:, 2] / 2
    scale = cam[:, 0].clamp_min(MIN_SCALE)
    depth = mean_focal(K_full) / (half_side * scale)
    origin_px = box[:, :2] + (half_side * scale)[:, None] * cam[:, 1:]
    y = (origin_px[:, 1] - K_full[:, 1, 2]) / K_full[:, 1, 1]
    x = (origin_px[:, 0] - K_full[:, 0, 2] - K_full[:, 0, 1] * y) / K_full[:, 0, 0]
    return torch.stack([x * depth, y * depth, depth], 1)


def transl_to_weak(
    transl: Float[Tensor, "B 3"], box: Float[Tensor, "B 3"], K_full: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B 3"]:
    """What a perfect network would say of a body at that translation, in front of the camera."""
    depth = transl[:, 2].clamp_min(MIN_DEPTH)
    x, y = transl[:, 0] / depth, transl[:, 1] / depth
    u = K_full[:, 0, 0] * x + K_full[:, 0, 1] * y + K_full[:, 0, 2]
    v = K_full[:, 1, 1] * y + K_full[:, 1, 2]
    half_side = box[:, 2] / 2
    scale = mean_focal(K_full) / (half_side * depth)
    shift = (torch.stack([u, v], 1) - box[:, :2]) / (half_side * scale)[:, None]
    return torch.cat([scale[:, None], shift], 1)


def weak_project(
    points: Float[Tensor, "B N 3"], cam: Float[Tensor, "B 3"], box: Float[Tensor, "B 3"]
) -> Float[Tensor, "B N 2"]:
    """Full-image pixels of points of a body without translation, all taken to be equally deep."""
    in_box = cam[:, None, :1] * (points[..., :2] + cam[:, None, 1:])
    return box[:, None, :2] + in_box * box[:, None, 2:] / 2


def crop_K(
    K_full: Float[Tensor, "B 3 3"], box: Float[Tensor, "B 3"], size: int
) -> Float[Tensor, "B 3 3"]:
    """Intrinsics of square windows (centre and side), resized to `size` pixels."""
    # Written out, because under autocast a product of matrices would be rounded to 8 bits.
    scale = size / box[:, 2]
    K = K_full.clone()
    K[:, :2] *= scale[:, None, None]
    K[:, :2, 2] += (size - 1) / 2 - scale[:, None] * box[:, :2]
    return K


def box_condition(
    box: Float[Tensor, "B 3"], K_full: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "B 3"]:
    """What the crop alone cannot tell: where the box is and how large, as tangents of angles."""
    offset = (box[:, :2] - K_full[:, :2, 2]) / torch.stack([K_full[:, 0, 0], K_full[:, 1, 1]], 1)
    return torch.cat([offset, (box[:, 2] / mean_focal(K_full))[:, None]], 1)


def mean_focal(K: Float[Tensor, "B 3 3"]) -> Float[Tensor, " B"]:
    """One focal length for pixels that are not quite square, pixels."""
    return (K[:, 0, 0] * K[:, 1, 1]).sqrt()
