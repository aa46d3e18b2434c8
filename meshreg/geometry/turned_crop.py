"""Crops as cameras of their own: turned towards a subject, with all that is in them, and back.

A crop of a turned camera shows its subject in the middle without perspective distortion. What is
predicted in it, however, is in the crop's camera: `points_back` and its like undo the turn.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from meshreg.errors import InputError
from meshreg.geometry import perspective
from meshreg.geometry.cameras import Camera
from meshreg.geometry.warping import warp_labels, warp_pictures

How = Literal["minimal", "pcl", "none"]
Fit = Literal["whole", "area"]
MAX_ANGLE = math.radians(80)  # from the axis: a pinhole stretches radially 33-fold there


@dataclass(frozen=True, eq=False)
class TurnedCrop:
    """Square pictures of `size` pixels by cameras that turned; the picture's camera is "full"."""

    size: int  # side of the crops, pixels
    R_crop_full: Float[Tensor, "*batch 3 3"]
    K: Float[Tensor, "*batch 3 3"]  # of the crops, pixels; one focal length for both axes
    K_full: Float[Tensor, "*batch 3 3"]  # of the pictures that they are cut from, pixels

    def to(self, device: torch.device | str) -> "TurnedCrop":
        """The same crops with their tensors on `device`."""
        names = ("R_crop_full", "K", "K_full")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def crop_from_full(self) -> Float[Tensor, "*batch 3 3"]:
        """The homography of pixels; its third coordinate is positive in front of the crop."""
        return perspective.homography(self.R_crop_full, self.K_full, self.K)

    @property
    def full_from_crop(self) -> Float[Tensor, "*batch 3 3"]:
        return perspective.homography(self.R_full_crop, self.K, self.K_full)

    @property
    def R_full_crop(self) -> Float[Tensor, "*batch 3 3"]:
        return self.R_crop_full.transpose(-1, -2)

    # --- what is seen -----------------------------------------------------------------------------
    def pictures(self, full: Float[Tensor, "P C H W"] | UInt8[Tensor, "P C H W"]) -> Tensor:
        """The crops' pixels, black where nothing was seen: one warp for all of them.

        There is either a picture for each crop or one for all. Masks go the same way, as shares of
        covered area.
        """
        return warp_pictures(full, self.crop_from_full, (self.size, self.size))

    def labels(self, full: Shaped[Tensor, "P H W"], outside: int) -> Shaped[Tensor, "B h w"]:
        """The crops' label maps, with `outside` where nothing was seen."""
        return warp_labels(full, self.crop_from_full, (self.size, self.size), outside)

    def pixels(self, full_px: Float[Tensor, "*batch N 2"]) -> Float[Tensor, "*batch N 2"]:
        """Where pixels of the pictures are in the crops."""
        return perspective.move_pixels(full_px, self.crop_from_full)

    def pixels_back(self, crop_px: Float[Tensor, "*batch N 2"]) -> Float[Tensor, "*batch N 2"]:
        """Where pixels of the crops are in the pictures."""
        return perspective.move_pixels(crop_px, self.full_from_crop)

    def box(self, full: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """The upright boxes around boxes of the pictures."""
        return perspective.move_box(full, self.crop_from_full)

    def box_back(self, crop: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
        """The upright boxes, in the pictures, around boxes of the crops."""
        return perspective.move_box(crop, self.full_from_crop)

    def camera(self, full: Camera) -> Camera:
        """The crop's camera as one that stands where the picture's does."""
        T = full.T_cam_world
        if T is not None:
            turn = torch.eye(4, dtype=T.dtype, device=T.device).expand_as(T).clone()
            turn[..., :3, :3] = self.R_crop_full.to(T)
            T = turn @ T
        source = f"{full.source}; turned towards a subject"
        size = (self.size, self.size)
        return replace(full, K=self.K.to(full.K), size=size, source=source, T_cam_world=T)

    # --- what is there ----------------------------------------------------------------------------
    def points(self, full: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 3"]:
        """Points, or directions, in the crops' cameras."""
        return perspective.turn_points(self.R_crop_full, full)

    def points_back(self, crop: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N 3"]:
        """Points, or directions, in the pictures' cameras."""
        return perspective.turn_points(self.R_full_crop, crop)

    def pose(self, full: Float[Tensor, "*batch J 3 3"]) -> Float[Tensor, "*batch J 3 3"]:
        """The pose that the crops' cameras see: only the root, at index 0, turns."""
        return perspective.turn_pose(self.R_crop_full, full)

    def pose_back(self, crop: Float[Tensor, "*batch J 3 3"]) -> Float[Tensor, "*batch J 3 3"]:
        """The pose that the pictures' cameras see."""
        return perspective.turn_pose(self.R_full_crop, crop)

    def transl(
        self, full: Float[Tensor, "*batch 3"], pelvis_rest: Float[Tensor, "*batch 3"]
    ) -> Float[Tensor, "*batch 3"]:
        """Translations in the crops' cameras of bodies whose unposed pelvis is given."""
        return perspective.turn_transl(self.R_crop_full, full, pelvis_rest)

    def transl_back(
        self, crop: Float[Tensor, "*batch 3"], pelvis_rest: Float[Tensor, "*batch 3"]
    ) -> Float[Tensor, "*batch 3"]:
        """Translations in the pictures' cameras."""
        return perspective.turn_transl(self.R_full_crop, crop, pelvis_rest)


def crop_towards(  # noqa: PLR0913
    box: Float[Tensor, "*batch 4"],
    K_full: Float[Tensor, "*batch 3 3"],
    size: int,
    *,
    how: How = "minimal",
    turned: Bool[Tensor, "*batch"] | None = None,
    target_px: Float[Tensor, "*batch 2"] | None = None,
    roll: Float[Tensor, "*batch"] | None = None,
    scale: float | Float[Tensor, "*batch"] = 1.0,
    fit: Fit = "whole",
) -> TurnedCrop:
    """The crops in which cameras that turned towards boxes see all of them.

    Args:
        box: left, top, right, bottom of the subjects, pixels of the pictures.
        K_full: of these pictures, pixels.
        size: side of the square crops, pixels.
        how: "minimal" is the smallest turn (PersPose); "pcl" turns about y and x and takes the size
            of the box from the plane at its centre (Yu et al. 2021); "none" only cuts out.
        turned: which cameras turn; those whose K nobody knows should not.
        target_px: where the boxes' centres go instead of the principal point, pixels of a turned
            picture before it is cut. The crops stay around the principal point.
        roll: a further turn about the axis by which the subjects turn clockwise, radians.
        scale: side of the crops per side that is needed: above 1, subjects shrink.
        fit: "whole" shows all of a box, whose corners stick out when it turned. "area" shows as
            large a part of the view as an unturned crop, for boxes with a margin: subjects keep
            their size, and a corner may be cut off.

    Raises:
        InputError: if intrinsics or boxes are none, or a subject is too far from the axis or too
            large for a turned camera to see.
    """
    if how not in get_args(How) or fit not in get_args(Fit):
        raise InputError(
            f"how is minimal, pcl or none and fit is whole or area, not {how!r} and {fit!r}."
        )
    check_intrinsics(K_full)
    corners = perspective.box_corners(box)
    centre = (box[..., :2] + box[..., 2:]) / 2
    turns = torch.full(box.shape[:-1], how != "none", device=box.device)
    turns = turns if turned is None else turns & turned
    _check_boxes(box, centre, K_full, turns)
    R = torch.eye(3, dtype=K_full.dtype, device=K_full.device).expand_as(K_full)
    if how != "none":
        R = perspective.turn_towards(centre, K_full, target_px=target_px, how=how)
        R = torch.where(turns[..., None, None], R, torch.eye(3).to(R))
    if roll is not None:
        R = perspective.roll_turn(roll.to(R)) @ R
    rays = perspective.turn_points(R, perspective.pixel_rays(corners, K_full))
    _check_view(rays, turns)
    seen = rays[..., :2] / rays[..., 2:]
    # Cameras that did not turn look past their subject, so their crops are around the box instead.
    middle_ray = perspective.turn_points(R, perspective.pixel_rays(centre[..., None, :], K_full))[
        ..., 0, :
    ]
    middle = torch.where(turns[..., None], 0.0, middle_ray[..., :2] / middle_ray[..., 2:])
    if fit == "area":
        half = _half_size_of_area(box, K_full, seen)
    else:
        half = (seen - middle[..., None, :]).abs().amax((-2, -1))
    if how == "pcl":
        half = torch.where(turns, _half_size_of_pcl(box, centre, K_full), half)
    focal = size / 2 / (half * scale)
    return TurnedCrop(
        size=size, R_crop_full=R, K=_crop_intrinsics(focal, middle, size), K_full=K_full
    )


def can_turn(
    box: Float[Tensor, "*batch 4"], K_full: Float[Tensor, "*batch 3 3"]
) -> Bool[Tensor, "*batch"]:
    """Which boxes a camera that turned towards them sees whole: those `crop_towards` takes."""
    centre = (box[..., :2] + box[..., 2:]) / 2
    ray = perspective.pixel_rays(centre[..., None, :], K_full)
    corners = perspective.pixel_rays(perspective.box_corners(box), K_full)
    R = perspective.turn_towards(centre, K_full)
    angles = [_angles_from_axis(ray), _angles_from_axis(perspective.turn_points(R, corners))]
    return (torch.cat(angles, -1) <= MAX_ANGLE).all(-1)


def check_intrinsics(K: Float[Tensor, "*batch 3 3"]) -> None:
    """Refuse matrices that are no pinhole's.

    Raises:
        InputError: if a focal length is not positive, or K is not upper triangular with 1 below.
    """
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1)
    if not bool((focal > 0).all()):  # also those that are NaN
        worst = focal.flatten()[(~(focal > 0)).flatten().int().argmax()]
        raise InputError(
            f"expected positive focal lengths in K, found {float(worst):g}: give pixels, and flip "
            "the picture instead of the sign if it is mirrored."
        )
    below = torch.stack([K[..., 1, 0], K[..., 2, 0], K[..., 2, 1], K[..., 2, 2] - 1], -1)
    if not bool(torch.isfinite(K).all()) or bool((below.abs() > 1e-6).any()):
        raise InputError(
            "K is not a matrix of intrinsics: expected [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] "
            "of finite numbers in pixels."
        )


def _check_boxes(
    box: Float[Tensor, "*batch 4"],
    centre: Float[Tensor, "*batch 2"],
    K: Float[Tensor, "*batch 3 3"],
    turns: Bool[Tensor, "*batch"],
) -> None:
    sound = (box[..., 2:] > box[..., :2]).all(-1) & torch.isfinite(box).all(-1)
    if not bool(sound.all()):
        raise InputError(
            f"{_named(~sound, box)} is none: expected left, top, right, bottom in pixels, left of "
            "and above each other."
        )
    angle = _angles_from_axis(perspective.pixel_rays(centre[..., None, :], K))[..., 0]
    far = turns & (angle > MAX_ANGLE)
    if bool(far.any()):
        degrees = math.degrees(float(angle.flatten()[_first(far)]))
        raise InputError(
            f"{_named(far, box)} is {degrees:.0f} degrees from the optical axis, where a flat "
            f"picture is stretched beyond use: expected at most {math.degrees(MAX_ANGLE):.0f}; "
            "check the focal length, or undistort wide-angle pictures to a narrower view."
        )


def _check_view(rays: Float[Tensor, "*batch 4 3"], turns: Bool[Tensor, "*batch"]) -> None:
    angle = _angles_from_axis(rays)
    wide = turns & (angle > MAX_ANGLE).any(-1)
    if bool(wide.any()):
        degrees = math.degrees(float(angle.amax(-1).flatten()[_first(wide)]))
        raise InputError(
            f"{_named(wide, angle)} reaches {degrees:.0f} degrees from the middle of a camera that "
            f"turned towards it, which can see {math.degrees(MAX_ANGLE):.0f}: give a smaller box "
            "or check the focal length."
        )


def _angles_from_axis(rays: Float[Tensor, "*batch N 3"]) -> Float[Tensor, "*batch N"]:
    rays = rays.detach()
    return torch.atan2(torch.hypot(rays[..., 0], rays[..., 1]), rays[..., 2])


def _first(wrong: Bool[Tensor, "*batch"]) -> int:
    return int(wrong.flatten().int().argmax())


def _named(wrong: Bool[Tensor, "*batch"], like: Tensor) -> str:
    """Which box of a batch is meant, in words."""
    return f"box {_first(wrong)}" if wrong.numel() > 1 else "the box"


def _half_size_of_area(
    box: Float[Tensor, "*batch 4"],
    K: Float[Tensor, "*batch 3 3"],
    seen: Float[Tensor, "*batch 4 2"],
) -> Float[Tensor, "*batch"]:
    """Half the longer side as a tangent, shrunk as the turn shrinks the area of the box."""
    sides = (box[..., 2:] - box[..., :2]) / torch.stack([K[..., 0, 0], K[..., 1, 1]], -1)
    first, second = seen[..., 2, :] - seen[..., 0, :], seen[..., 3, :] - seen[..., 1, :]
    area = (first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]).abs() / 2  # diagonals
    return sides.amax(-1) / 2 * torch.sqrt(area / sides.prod(-1))


def _half_size_of_pcl(
    box: Float[Tensor, "*batch 4"],
    centre: Float[Tensor, "*batch 2"],
    K: Float[Tensor, "*batch 3 3"],
) -> Float[Tensor, "*batch"]:
    """Half the box as a tangent, from its pixels and the slant at its centre alone."""
    x, y, _ = perspective.pixel_rays(centre[..., None, :], K)[..., 0, :].unbind(-1)
    flat, length = torch.hypot(x, torch.ones_like(x)), torch.sqrt(x.square() + y.square() + 1)
    width, height = (box[..., 2:] - box[..., :2]).unbind(-1)
    slanted_x = width / K[..., 0, 0] / flat
    slanted_y = height / K[..., 1, 1] * flat / length
    return torch.maximum(slanted_x, slanted_y) / length / 2


def _crop_intrinsics(
    focal: Float[Tensor, "*batch"], middle: Float[Tensor, "*batch 2"], size: int
) -> Float[Tensor, "*batch 3 3"]:
    """K of a crop in whose middle the given tangents are."""
    centre = (size - 1) / 2 - focal[..., None] * middle
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = [focal, zero, centre[..., 0], zero, focal, centre[..., 1], zero, zero, one]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
