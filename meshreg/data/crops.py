"""Cutting a person out of a picture, turned, mirrored or resized, with everything that is known.

A turn is one of the camera, not of the picture about the person: K stays true, and the body's root
turns exactly as the camera does. Pixel operations are in `meshreg.data.images`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS, Skeleton
from meshreg.geometry import perspective
from meshreg.geometry.turned_crop import crop_towards

_MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True)
class View:
    """A deliberate change of how a person is seen; the default changes nothing."""

    scale: float = 1.0  # side of the new box per side of the old one: above 1, the person shrinks
    roll: float = 0.0  # radians that the picture turns clockwise, because the camera rolls
    flip: bool = False  # whether the picture is mirrored left to right, after the turn
    shift: tuple[float, float] = (0.0, 0.0)  # of the box, in its new sides, right and down
    # Whether the camera first turns towards the box, which undoes the distortion of perspective;
    # only where K is known
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Window:
    """A square view of a full picture, and what happens to all that is in it; double precision."""

    size: int  # side, pixels
    # Homography, affine unless centred; pixels of the full picture to the window's
    crop_from_full: Float[Tensor, "3 3"]
    R_new_cam: Float[Tensor, "3 3"]  # the camera's turn
    flip: bool
    K: Float[Tensor, "3 3"]  # of the window, pixels
    K_full: Float[Tensor, "3 3"]  # of the full picture as turned and mirrored, pixels
    box: Float[Tensor, "3"]  # centre x, y and side in that picture, pixels

    def pixels(
        self, points_px: Float[Tensor, "N 2"], joints: Skeleton | None = None
    ) -> Float[Tensor, "N 2"]:
        """Where points of the full picture are in the window; `joints` says which swap sides."""
        moved = perspective.move_pixels(points_px.double(), self.crop_from_full)
        return self.swapped(moved, joints)

    def pixels_back(
        self, points_px: Float[Tensor, "N 2"], joints: Skeleton | None = None
    ) -> Float[Tensor, "N 2"]:
        """Where points of the window are in the full picture."""
        back = torch.linalg.inv(self.crop_from_full)
        return self.swapped(perspective.move_pixels(points_px.double(), back), joints)

    def points(
        self, points_cam: Float[Tensor, "N 3"], joints: Skeleton | None = None
    ) -> Float[Tensor, "N 3"]:
        """Where points of the camera's frame are in that of the window's."""
        return self.swapped(points_cam.double() @ self._matrix.T, joints)

    def points_back(
        self, points: Float[Tensor, "N 3"], joints: Skeleton | None = None
    ) -> Float[Tensor, "N 3"]:
        """Where points of the window's frame are in the full picture's camera."""
        return self.swapped(points.double() @ self._matrix, joints)

    def pose(self, pose_rotmat: Float[Tensor, "24 3 3"]) -> Float[Tensor, "24 3 3"]:
        """The pose whose body is seen in the window."""
        return self._mirrored(perspective.turn_pose(self.R_new_cam, pose_rotmat.double()))

    def pose_back(self, pose_rotmat: Float[Tensor, "24 3 3"]) -> Float[Tensor, "24 3 3"]:
        """The pose in the full picture's camera of a body that is seen in the window."""
        return perspective.turn_pose(self.R_new_cam.T, self._mirrored(pose_rotmat.double()))

    def _mirrored(self, pose: Float[Tensor, "24 3 3"]) -> Float[Tensor, "24 3 3"]:
        return self.swapped(_MIRROR @ pose @ _MIRROR, SKELETONS["smpl24"]) if self.flip else pose

    def transl(
        self, transl: Float[Tensor, "3"], pelvis_rest: Float[Tensor, "3"]
    ) -> Float[Tensor, "3"]:
        """The translation of that body, whose unposed pelvis is at `pelvis_rest`.

        Bodies turn about their pelvis, so it is the pelvis that moves as points do.
        """
        rest = pelvis_rest.double()
        return self.points((rest + transl.double())[None])[0] - rest

    def transl_back(
        self, transl: Float[Tensor, "3"], pelvis_rest: Float[Tensor, "3"]
    ) -> Float[Tensor, "3"]:
        """The translation in the full picture's camera of a body that is seen in the window."""
        rest = pelvis_rest.double()
        return self.points_back((rest + transl.double())[None])[0] - rest

    def swapped(
        self, values: Float[Tensor, "N *rest"], joints: Skeleton | None
    ) -> Float[Tensor, "N *rest"]:
        """Values per joint in the window's order: mirrored people have their sides exchanged."""
        return values[list(joints.flip)] if self.flip and joints is not None else values

    @property
    def _matrix(self) -> Float[Tensor, "3 3"]:
        return _MIRROR @ self.R_new_cam if self.flip else self.R_new_cam


def cut_window(  # noqa: PLR0913
    K_full: Float[Tensor, "3 3"],
    full_size: tuple[int, int],
    box: Float[Tensor, "3"],
    size: int,
    view: View | None = None,
) -> Window:
    """The window of `size` pixels that shows `box` (centre x, centre y, side) of a picture.

    Raises:
        InputError: if the camera is to turn towards the box and cannot.
    """
    view = view or View()
    assert size > 0 and view.scale > 0, (size, view)
    K, box = K_full.double(), box.double()
    R = perspective.roll_turn(torch.tensor(view.roll, dtype=torch.float64))
    side = box[2]
    if view.centred:
        towards, side = _turned(box, K)
        R = R @ towards
    moved = perspective.homography(R, K)
    if view.flip:
        mirror = _MIRROR.clone()
        mirror[0, 2] = full_size[1] - 1
        moved, K = mirror @ moved, mirror @ K @ _MIRROR
    centre = perspective.move_pixels(box[None, :2], moved)[0]
    side = side * view.scale
    centre = centre + side * torch.tensor(view.shift, dtype=torch.float64)
    cut = _crop(centre, side, size)
    return Window(
        size=size,
        crop_from_full=cut @ moved,
        R_new_cam=R,
        flip=view.flip,
        K=cut @ K,
        K_full=K,
        box=torch.cat([centre, side[None]]),
    )


def _turned(
    box: Float[Tensor, "3"], K: Float[Tensor, "3 3"]
) -> tuple[Float[Tensor, "3 3"], Float[Tensor, ""]]:
    """The camera's turn towards a square, and the side of as large a one in the turned picture."""
    square = torch.cat([box[:2] - box[2] / 2, box[:2] + box[2] / 2])
    crop = crop_towards(square, K, 1, fit="area")  # refuses what no camera can see
    return crop.R_crop_full, K.diagonal()[:2].amax() / crop.K[0, 0]


def _crop(centre: Float[Tensor, "2"], side: Float[Tensor, ""], size: int) -> Float[Tensor, "3 3"]:
    """Maps the square around `centre` to pixels -0.5 ... size - 0.5, both ways."""
    cut = torch.eye(3, dtype=torch.float64)
    cut[:2] *= size / side
    cut[:2, 2] = (size - 1) / 2 - centre * size / side
    return cut


def box_around(points_px: Float[Tensor, "N 2"], *, margin: float = 1.2) -> Float[Tensor, "3"]:
    """The square (centre x, centre y, side) around points, its side longer by `margin`."""
    low, high = points_px.amin(0), points_px.amax(0)
    side = (high - low).max() * margin
    return torch.cat([(low + high) / 2, side[None]])
