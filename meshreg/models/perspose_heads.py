"""What PersPose's layers put out: decoded, mirrored back, averaged, and turned into joints."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.joint_estimate import FLIP, LEAF_FLIP, JointEstimate
from meshreg.geometry.cameras import flip_intrinsics
from meshreg.geometry.joint_decoding import (
    CENTRES,
    EDGES,
    back_projected,
    expected_places,
    joint_densities,
)
from meshreg.geometry.rotations import rot6d_to_rotmat

DEPTH_RANGE = 1.1  # metres before and behind the root
# Metres per pixel of a crop that is 256 wide: the middle of the range, and the logarithm of how far
# it reaches in all. A person in a smaller crop has fewer pixels, and each covers more.
DENSITY, DENSITY_RANGE, DENSITY_SIZE = 0.007, 3.0, 256


@dataclass(frozen=True)
class PixelRule:
    """Where pixels are in the numbers of a network; released ones differ from the rest of us."""

    start: float = CENTRES  # the picture's edge
    one_focal: bool = False  # whether both axes have the mean focal length

    def mirrored_x(self, x: Float[Tensor, "*shape"], width: int) -> Float[Tensor, "*shape"]:
        """Where a place is in the mirror image of a picture."""
        return width + 2 * self.start - x

    def centred_K(self, K: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
        """The intrinsics for pixels whose centres are integers."""
        centred = K.clone()
        centred[:, :2, 2] += CENTRES - self.start
        return centred

    def mirrored_K(self, K: Float[Tensor, "B 3 3"], width: int) -> Float[Tensor, "B 3 3"]:
        """The intrinsics of the mirror image."""
        flipped = flip_intrinsics(K, width)
        flipped[:, 0, 2] = self.mirrored_x(K[:, 0, 2], width)
        return flipped


OURS, RELEASED = PixelRule(), PixelRule(start=EDGES, one_focal=True)


@dataclass(frozen=True, eq=False)
class RawOutput:
    """What the layers say, before any activation."""

    heatmaps: Float[Tensor, "B 25 h w"]  # logits
    depth: Float[Tensor, "B 25"]
    density: Float[Tensor, "B 1"]
    twists: Float[Tensor, "B 75"]
    betas: Float[Tensor, "B S"]
    leaves: Float[Tensor, "B 30"]


@dataclass(frozen=True, eq=False)
class Reading:
    """The same in units, before the camera comes in."""

    points_px: Float[Tensor, "B 25 2"]  # pixels of the crop
    depth: Float[Tensor, "B 25"]  # metres behind the root
    rho0: Float[Tensor, " B"]  # metres per pixel at the root
    twists: Float[Tensor, "B 25 3"]
    leaf_rotmat: Float[Tensor, "B 5 3 3"]
    betas: Float[Tensor, "B S"]

    def mirrored(self, width: int, rule: PixelRule) -> "Reading":
        """What the same body would read like in the mirror image."""
        mirror = self.depth.new_tensor([-1.0, 1.0, 1.0])
        x, y = self.points_px[:, FLIP].unbind(-1)
        leaves = mirror[:, None] * self.leaf_rotmat[:, LEAF_FLIP] * mirror
        return Reading(
            points_px=torch.stack([rule.mirrored_x(x, width), y], -1),
            depth=self.depth[:, FLIP],
            rho0=self.rho0,
            twists=self.twists[:, FLIP] * mirror,
            leaf_rotmat=leaves,
            betas=self.betas,
        )


def read(raw: RawOutput, stride: int, rule: PixelRule) -> Reading:
    """Apply the activations; in single precision at least, whatever the network ran in."""
    heatmaps, depth, density = (_at_least_single(x) for x in (raw.heatmaps, raw.depth, raw.density))
    depth = DEPTH_RANGE * (2 * depth.sigmoid() - 1)
    middle = DENSITY * DENSITY_SIZE / (stride * heatmaps.shape[-1])
    return Reading(
        points_px=expected_places(heatmaps, stride, start=rule.start),
        depth=torch.cat([torch.zeros_like(depth[:, :1]), depth[:, 1:]], 1),
        rho0=middle * torch.exp(DENSITY_RANGE * (density[:, 0].sigmoid() - 0.5)),
        twists=_at_least_single(raw.twists).unflatten(1, (25, 3)),
        leaf_rotmat=rot6d_to_rotmat(_at_least_single(raw.leaves).unflatten(1, (5, 6))),
        betas=_at_least_single(raw.betas),
    )


def averaged(first: Reading, second: Reading) -> Reading:
    """The mean of two readings of one body; rotations have none, so the first one's stay."""
    return Reading(
        points_px=(first.points_px + second.points_px) / 2,
        depth=(first.depth + second.depth) / 2,
        rho0=(first.rho0 + second.rho0) / 2,
        twists=(first.twists + second.twists) / 2,
        leaf_rotmat=first.leaf_rotmat,
        betas=(first.betas + second.betas) / 2,
    )


def in_camera(reading: Reading, K: Float[Tensor, "B 3 3"], rule: PixelRule) -> JointEstimate:
    """The joints in front of the camera whose intrinsics of the crop are K."""
    K = K.to(reading.depth)
    density = joint_densities(reading.depth, reading.rho0, K)
    return JointEstimate(
        points_px=reading.points_px,
        depth=reading.depth,
        density=density,
        joints_cam=back_projected(reading.points_px, density, K, one_focal=rule.one_focal),
        twists=reading.twists,
        leaf_rotmat=reading.leaf_rotmat,
        betas=reading.betas,
    )


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
