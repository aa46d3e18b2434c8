"""The geometry of many (triangle, sample) pairs at once, as differentiable tensor arithmetic.

Corners have the layout (x y z, three corners, pairs) with x and y in NDC and z the camera depth.
Everything is computed from corners relative to the sample, so that the two faces beside an edge
see exactly opposite numbers and leave no gap.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

# The outline's edges ab, ac and bc; of equally near ones the first counts.
STARTS, ENDS = [0, 0, 1], [1, 2, 2]


def pixel_centres(
    column: Int[Tensor, " N"], row: Int[Tensor, " N"], size: tuple[int, int], like: Tensor
) -> Float[Tensor, "2 N"]:
    """NDC positions of pixel centres in the precision of `like`."""
    height, width = size
    places = torch.stack([width - 1 - 2 * column, height - 1 - 2 * row])
    return places.to(like.dtype) / min(size)


def signed_area(corners: Float[Tensor, "3 3 N"]) -> Float[Tensor, " N"]:
    """Twice the area in the image; positive if the corners run anti-clockwise there."""
    a, b, c = corners[:2].unbind(1)
    return (a[1] - c[1]) * (b[0] - c[0]) - (a[0] - c[0]) * (b[1] - c[1])


def edge_values(
    corners: Float[Tensor, "3 3 N"], sample: Float[Tensor, "2 N"]
) -> Float[Tensor, "3 N"]:
    """Unnormalised barycentrics in the image; all are positive inside, whatever the orientation."""
    x, y = corners[:2] - sample[:, None]
    values = y.roll(-1, 0) * x.roll(-2, 0) - x.roll(-1, 0) * y.roll(-2, 0)
    return values * signed_area(corners).detach().sign()


def is_inside(edges: Float[Tensor, "3 N"], closed: bool) -> Bool[Tensor, " N"]:
    """Whether the sample lies inside its face, or, if `closed`, on its outline."""
    if closed:
        return (edges >= 0).all(0) & (edges.sum(0) > 0)
    return (edges > 0).all(0)


def barycentric(
    edges: Float[Tensor, "3 N"], z: Float[Tensor, "3 N"], *, perspective: bool, clip: bool
) -> Float[Tensor, "3 N"]:
    """Barycentrics of the samples, normalised once after clipping.

    PyTorch3D divides, clips and divides again, which is the same function; but its first divisor
    may be almost zero outside a face seen nearly edge-on, and the slopes then drown in rounding.
    """
    weights = edges * z.roll(-1, 0) * z.roll(-2, 0) if perspective else edges
    if clip:
        weights = weights.clamp(min=0)
    total = weights.sum(0)
    if clip or not perspective:
        return weights / total
    # Beyond the horizon of the face's plane PyTorch3D holds the divisor at a floor.
    floor = edges.detach().sum(0) * 1e-8
    beyond = total < floor
    return torch.where(
        beyond, (weights / floor).detach(), weights / torch.where(beyond, floor, total)
    )


def soft_barycentric(
    edges: Float[Tensor, "3 N"], z: Float[Tensor, "3 N"], *, perspective: bool
) -> Float[Tensor, "3 N"]:
    """Weights of the point of the face that stands for a sample, which may lie outside it.

    Those in the image are clamped to 0..1 as SoftRas does it; PyTorch3D clamps at 0 only.
    """
    weights = (edges * (1 / edges.sum(0))).clamp(0, 1)
    if perspective:
        weights = weights * z.roll(-1, 0) * z.roll(-2, 0)
    return weights * (1 / weights.sum(0))


def outline_distance2(
    corners: Float[Tensor, "3 3 N"], sample: Float[Tensor, "2 N"]
) -> Float[Tensor, " N"]:
    """Squared distance from the samples to the outlines of their faces.

    The nearest point's place on its edge is optimal, so it counts as constant: first derivatives
    are exact, second ones are not.
    """
    start, end = corners[:2, STARTS], corners[:2, ENDS]
    with torch.no_grad():
        along = end - start
        inverse = 1 / along.square().sum(0).clamp(min=1e-12)
        place = (((sample[:, None] - start) * along).sum(0) * inverse).clamp(0, 1)
    distance2 = (start + place * (end - start) - sample[:, None]).square().sum(0)
    with torch.no_grad():
        least = distance2.amin(0)
        edge = torch.where(distance2[0] <= least, 0, torch.where(distance2[1] <= least, 1, 2))
    return distance2.gather(0, edge[None])[0]


def signed_distance2(
    corners: Float[Tensor, "3 3 N"], sample: Float[Tensor, "2 N"], inside: Bool[Tensor, " N"]
) -> Float[Tensor, " N"]:
    distance2 = outline_distance2(corners, sample)
    return torch.where(inside, -distance2, distance2)
