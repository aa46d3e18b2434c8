"""Pinhole cameras: intrinsics with their origin, projection, and crops that take K along.

Axes are OpenCV's (x right, y down, z forward); integer pixel coordinates are pixel centres, so an
image of width W spans -0.5 ... W-0.5 and resizing by s maps u to (u + 0.5) * s - 0.5.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.errors import InputError

FovAxis = Literal["x", "y", "diagonal"]
FOCAL_RANGE = (0.05, 100.0)  # in image diagonals: beyond fisheyes and telescopes
MIN_DEPTH = 1e-6  # metres; keeps the division finite for points on the camera plane


@dataclass(frozen=True, eq=False)
class Camera:
    """One pinhole camera, or a batch of them that share an image size."""

    K: Float[Tensor, "*batch 3 3"]  # pixels
    size: tuple[int, int]  # image height and width, pixels
    source: str  # where K came from, in words for the user
    T_cam_world: Float[Tensor, "*batch 4 4"] | None = None  # None: world and camera coincide
    # False: K is a guess, good enough to place people, but not to be told to a network or turned by
    known: bool = True

    def to(self, device: torch.device | str) -> "Camera":
        T = None if self.T_cam_world is None else self.T_cam_world.to(device)
        return replace(self, K=self.K.to(device), T_cam_world=T)

    def crop(self, left: float, top: float, size: tuple[int, int]) -> "Camera":
        """The camera of the window whose first pixel is (left, top) in this image."""
        return replace(self, K=crop_intrinsics(self.K, left, top), size=size)

    def resize(self, size: tuple[int, int]) -> "Camera":
        """The camera of this image resized to `size` (height, width)."""
        scale_x, scale_y = size[1] / self.size[1], size[0] / self.size[0]
        return replace(self, K=resize_intrinsics(self.K, scale_x, scale_y), size=size)

    def flip(self) -> "Camera":
        """The camera of the left-right mirrored image, for points mirrored in camera x.

        Raises:
            ValueError: with extrinsics, because a mirrored pose is no rigid transform.
        """
        if self.T_cam_world is not None:
            raise ValueError(
                "move the points to the camera frame first; a mirror has no T_cam_world"
            )
        return replace(self, K=flip_intrinsics(self.K, self.size[1]))


def intrinsics(
    focal_x: float, focal_y: float, principal_x: float, principal_y: float
) -> Float[Tensor, "3 3"]:
    """K from its four numbers, all in pixels."""
    return torch.tensor([[focal_x, 0.0, principal_x], [0.0, focal_y, principal_y], [0.0, 0.0, 1.0]])


def image_centre(size: tuple[int, int]) -> tuple[float, float]:
    """The middle (x, y) of an image whose pixel centres are integers."""
    return (size[1] - 1) / 2, (size[0] - 1) / 2


def check_focal(focal_px: float, size: tuple[int, int]) -> None:
    """Refuse focal lengths that no lens has: under a twentieth or over a hundred diagonals.

    Raises:
        InputError: if it is not a plausible number of pixels for a picture of this size.
    """
    low, high = (factor * math.hypot(*size) for factor in FOCAL_RANGE)
    if not low <= focal_px <= high:
        raise InputError(
            f"a focal length of {focal_px:g} px is not plausible for a {size[1]}x{size[0]} "
            f"picture: expected {low:.0f} to {high:.0f} px (one to two widths are usual)."
        )


def camera_from_focal(focal_px: float, size: tuple[int, int], *, source: str = "") -> Camera:
    """A camera with square pixels and its principal point in the middle."""
    check_focal(focal_px, size)
    K = intrinsics(focal_px, focal_px, *image_centre(size))
    return Camera(K=K, size=size, source=source or f"focal length of {focal_px:g} px, as given")


def camera_from_fov(fov_deg: float, size: tuple[int, int], *, axis: FovAxis = "x") -> Camera:
    """A camera from its full opening angle along the width, the height or the diagonal."""
    if not 0 < fov_deg < 180:
        raise InputError(f"the field of view must lie between 0 and 180 degrees, not {fov_deg}.")
    length = {"x": size[1], "y": size[0], "diagonal": math.hypot(*size)}[axis]
    focal_px = length / 2 / math.tan(math.radians(fov_deg) / 2)
    return camera_from_focal(
        focal_px, size, source=f"field of view of {fov_deg:g} degrees ({axis}), as given"
    )


def guess_camera(size: tuple[int, int]) -> Camera:
    """The usual guess without any knowledge: a focal length of one image diagonal (CLIFF, 2022)."""
    source = "guessed: focal length = image diagonal (53 degrees)"
    return replace(camera_from_focal(math.hypot(*size), size, source=source), known=False)


def longer_side_fov(camera: Camera) -> float:
    """The full opening angle along the longer side of the picture, degrees."""
    focal = float(camera.K[1, 1] if camera.size[0] > camera.size[1] else camera.K[0, 0])
    return math.degrees(2 * math.atan(max(camera.size) / 2 / focal))


def project(
    points_cam: Float[Tensor, "*batch N 3"], K: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch N 2"]:
    """Pixel coordinates of camera-space points.

    Points behind the camera come out mirrored and far away rather than as NaN; look at their depth.
    """
    depth = points_cam[..., 2:]
    safe = torch.where(depth.abs() < MIN_DEPTH, torch.full_like(depth, MIN_DEPTH), depth)
    homogeneous = points_cam @ K.transpose(-1, -2)
    return homogeneous[..., :2] / safe


def unproject(
    points_px: Float[Tensor, "*batch N 2"],
    depth: Float[Tensor, "*batch N"],
    K: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch N 3"]:
    """Camera-space points seen at given pixels and depths (metres along the optical axis)."""
    ones = torch.ones_like(points_px[..., :1])
    rays = torch.cat([points_px, ones], -1) @ torch.linalg.inv(K).transpose(-1, -2)
    return rays * depth[..., None]


def crop_intrinsics(
    K: Float[Tensor, "*batch 3 3"], left: float, top: float
) -> Float[Tensor, "*batch 3 3"]:
    """K of a window of the image that starts at pixel (left, top)."""
    shift = torch.zeros_like(K)
    shift[..., 0, 2], shift[..., 1, 2] = left, top
    return K - shift


def resize_intrinsics(
    K: Float[Tensor, "*batch 3 3"], scale_x: float, scale_y: float
) -> Float[Tensor, "*batch 3 3"]:
    """K of the resized image, with pixel centres kept where they are."""
    resize = K.new_tensor(
        [[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]]
    )
    return resize @ K


def flip_intrinsics(K: Float[Tensor, "*batch 3 3"], width: int) -> Float[Tensor, "*batch 3 3"]:
    """K that sees the points mirrored in x where the mirrored image shows them."""
    flipped = K.clone()
    flipped[..., 0, 2] = width - 1 - K[..., 0, 2]
    flipped[..., 0, 1] = -K[..., 0, 1]
    return flipped
