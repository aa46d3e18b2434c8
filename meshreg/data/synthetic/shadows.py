"""Where light does not reach: shadows that bodies cast, and hollows that see little sky."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.data.synthetic.points import Points
from meshreg.data.synthetic.surface import Surface
from meshreg.render.rasterizer import Rasterizer

_FAR = 60.0  # metres from the light to the person: far enough for nearly parallel rays
_BIAS = 0.020  # metres; the casters are the bare bodies, which lie inside their clothes
_DIRECTIONS = 8
_RADII = (0.018, 0.06, 0.15)  # metres at which hollows are felt for
_HEM_GAP = 0.06  # a garment's edge casts a shadow on what lies at most this far behind it


def _light_axes(direction: Float[Tensor, "P 3"]) -> Float[Tensor, "P 3 3"]:
    """Rotations into the frame of cameras that look along the light."""
    forward = normalize(-direction, dim=1)
    other = torch.where(
        forward[:, 1:2].abs() < 0.9,
        forward.new_tensor((0.0, 1, 0)),
        forward.new_tensor((1.0, 0, 0)),
    )
    right = normalize(torch.linalg.cross(other.expand_as(forward), forward), dim=1)
    return torch.stack([right, torch.linalg.cross(forward, right), forward], 1)


class ShadowMap:
    """Depths that a far light sees of each person, to be asked which points it reaches."""

    def __init__(
        self,
        vertices: Float[Tensor, "P V 3"],
        faces: Int[Tensor, "F 3"],
        direction: Float[Tensor, "P 3"],
        rasterizer: Rasterizer,
        *,
        size: int = 96,
    ) -> None:
        self.axes = _light_axes(direction)
        seen = torch.einsum("pij,pvj->pvi", self.axes, vertices)
        low, high = seen.amin(1), seen.amax(1)
        self.origin = (low + high) / 2
        self.origin[:, 2] -= _FAR
        seen = seen - self.origin[:, None]
        radius = (high - low)[:, :2].amax(1) / 2
        self.focal = 0.47 * size * (_FAR - 3) / radius
        self.size = size
        K = torch.zeros_like(self.axes)
        K[:, 0, 0] = K[:, 1, 1] = self.focal
        K[:, 0, 2] = K[:, 1, 2] = (size - 1) / 2
        K[:, 2, 2] = 1
        found = rasterizer.fragments(seen, faces, K, (size, size))
        depth = found.zbuf[..., 0]
        self.depth = torch.where(depth > 0, depth, 2 * _FAR)

    def covers(self, place: Float[Tensor, "N 3"], person: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Which points lie where the map sees, so that they can be in the person's shadow."""
        seen = torch.einsum("nij,nj->ni", self.axes[person], place) - self.origin[person]
        where = (seen[:, :2] / seen[:, 2:] * self.focal[person, None]).abs()
        return (where < self.size / 2).all(1)

    def lit(self, place: Float[Tensor, "N 3"], person: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The share of the light that reaches points (camera frame): 0 in full shadow."""
        seen = torch.einsum("nij,nj->ni", self.axes[person], place) - self.origin[person]
        where = seen[:, :2] / seen[:, 2:] * self.focal[person, None] + (self.size - 1) / 2
        corner = where.floor()
        t = where - corner
        corner = corner.long()
        total = torch.zeros_like(seen[:, 0])
        weight = [
            torch.stack([1 - t[:, a], torch.ones_like(t[:, a]), t[:, a]], 1) / 2 for a in (0, 1)
        ]
        flat = self.depth.flatten()
        for row in range(3):
            y = (corner[:, 1] + row - (t[:, 1] < 0).long()).clamp(0, self.size - 1)
            for column in range(3):
                x = (corner[:, 0] + column).clamp(0, self.size - 1)
                nearest = flat[(person * self.size + y) * self.size + x]
                clear = ((nearest + _BIAS - seen[:, 2]) * 60 + 0.5).clamp(0, 1)
                total = total + weight[1][:, row] * weight[0][:, column] * clear
        return total


def openness(
    surface: Surface, points: Points, normal: Float[Tensor, "N 3"], K: Float[Tensor, "P 3 3"]
) -> Float[Tensor, " N"]:
    """How much of the sky points see, judged by nearby pixels that rise above their tangent plane.

    Screen-space ambient occlusion; points just behind the edge of an outer garment darken too.
    Skew in `K` is neglected.
    """
    num, height, width = surface.hit.shape
    # Columns rather than rows of three: every step below runs over contiguous memory.
    px, py, pz = points.place.T.contiguous()
    nx, ny, nz = normal.T.contiguous()
    depth = torch.where(surface.hit, surface.depth, 1e3).flatten()  # nobody there: far behind
    layer = points.layer.to(normal)
    layers = torch.where(surface.hit, surface.layer, -1).to(normal).flatten()
    start = points.person * (height * width)
    row = (points.pixel - start) // width
    column = (points.pixel - start) % width
    fx, fy, cx, cy = (K[:, i, j][points.person] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    closed = torch.zeros_like(layer)
    for ring, radius in enumerate(_RADII):
        reach = (radius * fx / pz).clamp_(min=1.0)
        falloff = 1 / (2.5 * radius) ** 2
        blocked = torch.zeros_like(layer)
        for k in range(_DIRECTIONS):
            angle = 2 * math.pi * (k + 0.33 * ring) / _DIRECTIONS
            y = (reach * math.sin(angle)).round_().long().add_(row).clamp_(0, height - 1)
            x = (reach * math.cos(angle)).round_().long().add_(column).clamp_(0, width - 1)
            other = torch.add(start, y, alpha=width).add_(x)
            z = depth.index_select(0, other)
            dx, dy, dz = (x - cx).mul_(z / fx).sub_(px), (y - cy).mul_(z / fy).sub_(py), z - pz
            square = (dx * dx).addcmul_(dy, dy).addcmul_(dz, dz).clamp_(min=1e-8)
            above = (dx * nx).addcmul_(dy, ny).addcmul_(dz, nz)
            rise = above.mul_(square.rsqrt()).sub_(0.12).clamp_(min=0)
            blocked += rise.div_(square.mul_(falloff).add_(1))
            if ring == 0:
                edge = (layers.index_select(0, other) > layer) & (dz.abs() < _HEM_GAP)
                blocked += edge * (0.30 if math.sin(angle) < 0 else 0.12)
        closed += blocked * ((0.7, 1.0, 1.1)[ring] / _DIRECTIONS)
    return torch.exp(-1.9 * closed)
