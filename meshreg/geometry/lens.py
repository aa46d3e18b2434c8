"""Cameras in the unit of the screen, with the distortion of their lens: what lifters project with.

The distortion is that of Human3.6M's calibration, three radial and two tangential numbers; it is a
polynomial that means nothing far off the axis, so a distorted camera sees no further than 45
degrees to each side.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.geometry.cameras import Camera
from meshreg.geometry.screen import to_screen

_NEAREST = 1e-3  # metres; keeps the division finite
_UNDISTORTIONS = 20  # repetitions; each shrinks the error by the strength of the distortion


@dataclass(frozen=True, eq=False)
class Lens:
    """A camera for each of F frames."""

    focal: Float[Tensor, "F 2"]  # half widths of the picture
    centre: Float[Tensor, "F 2"]  # where the optical axis is, half widths from the middle
    radial: Float[Tensor, "F 3"]
    tangential: Float[Tensor, "F 2"]
    reach: float = math.inf  # tangent of the angle beyond which points stay at the border

    def __len__(self) -> int:
        return len(self.focal)

    def frames(self, chosen: slice) -> "Lens":
        """The cameras of some frames."""
        return replace(
            self,
            focal=self.focal[chosen],
            centre=self.centre[chosen],
            radial=self.radial[chosen],
            tangential=self.tangential[chosen],
        )

    def to(self, x: Tensor) -> "Lens":
        """With the type and on the device of a tensor."""
        return Lens(
            self.focal.to(x),
            self.centre.to(x),
            self.radial.to(x),
            self.tangential.to(x),
            self.reach,
        )

    def project(self, points_cam: Float[Tensor, "F J 3"]) -> Float[Tensor, "F J 2"]:
        """Where points are seen."""
        depth = points_cam[..., 2:]
        flat = points_cam[..., :2] / torch.where(depth.abs() < _NEAREST, _NEAREST, depth)
        seen = self._distorted(flat.clamp(-self.reach, self.reach))
        return self.focal[:, None] * seen + self.centre[:, None]

    def directions(self, points: Float[Tensor, "F J 2"]) -> Float[Tensor, "F J 2"]:
        """x/z and y/z of what is seen at points of the screen."""
        seen = (points - self.centre[:, None]) / self.focal[:, None]
        if math.isinf(self.reach):
            return seen
        flat = seen
        for _ in range(_UNDISTORTIONS):
            flat = (flat + seen - self._distorted(flat)).clamp(-self.reach, self.reach)
        return flat

    def _distorted(self, flat: Float[Tensor, "F J 2"]) -> Float[Tensor, "F J 2"]:
        if math.isinf(self.reach):
            return flat
        square = flat.square().sum(-1, keepdim=True)
        powers = torch.cat([square, square**2, square**3], -1)
        along = (self.radial[:, None] * powers).sum(-1, keepdim=True)
        across = (self.tangential[:, None] * flat).sum(-1, keepdim=True)
        return flat * (1 + along + across) + self.tangential[:, None] * square


def lens_of_camera(camera: Camera, frames: int) -> Lens:
    """A pinhole camera, the same in so many frames."""
    focal = torch.stack([camera.K[0, 0], camera.K[1, 1]]) * (2 / camera.size[1])
    centre = to_screen(camera.K[:2, 2], camera.size)
    return pinholes(focal.expand(frames, 2), centre.expand(frames, 2))


def pinholes(focal: Float[Tensor, "F 2"], centre: Float[Tensor, "F 2"]) -> Lens:
    """Cameras without distortion."""
    return Lens(focal, centre, focal.new_zeros(len(focal), 3), focal.new_zeros(len(focal), 2))


def h36m_lenses(numbers: Float[Tensor, "F 9"]) -> Lens:
    """Human3.6M's cameras: focal length, centre, three radial and two tangential numbers."""
    focal, centre, radial, tangential = numbers.split([2, 2, 3, 2], 1)
    return Lens(focal, centre, radial, tangential, reach=1.0)
