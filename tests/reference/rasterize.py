"""A rasteriser as loops over pixels and faces in float64, to be checked by eye and differentiated.

It repeats the definitions of PyTorch3D's mesh rasteriser, with one change: barycentrics are
normalised once, after clipping, so that their gradients stay finite.
"""

import torch
from torch import Tensor


def project_to_ndc(verts_cam: Tensor, K: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixels (integer centres) to units of half the shorter side, x to the left and y up."""
    height, width = size
    points = []
    for b in range(len(verts_cam)):
        for point in verts_cam[b]:
            z = point[2]
            u, v = K[b, :2] @ (point / z)
            right = (u + 0.5 - width / 2) / (min(size) / 2)
            down = (v + 0.5 - height / 2) / (min(size) / 2)
            points.append(torch.stack([-right, -down, z]))
    return torch.stack(points).view(verts_cam.shape)


def cross(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (p[0] - a[0]) * (b[1] - a[1]) - (p[1] - a[1]) * (b[0] - a[0])


def segment_distance2(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    along = b[:2] - a[:2]
    t = ((p - a[:2]) @ along / (along @ along)).clamp(0, 1)
    away = a[:2] + t * along - p
    return away @ away


def hit_face(
    p: Tensor,
    corners: Tensor,
    *,
    blur: float = 0.0,
    perspective: bool = True,
    clip: bool = False,
    cull: bool = False,
    closed: bool = False,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Depth, barycentrics and signed squared distance of a face at a sample, or None."""
    a, b, c = corners
    area = cross(c, a, b)
    if area.abs() <= (0.0 if closed else 1e-8) or (cull and area < 0) or corners[:, 2].min() < 1e-8:
        return None
    weights = torch.stack([cross(p, b, c), cross(p, c, a), cross(p, a, b)]) / area
    inside = bool((weights >= 0).all() if closed else (weights > 0).all())
    if perspective:
        weights = weights * (corners[:, 2].prod() / corners[:, 2])
    if clip:
        weights = weights.clamp(min=0)
    weights = weights / weights.sum().clamp(min=1e-8)
    z = weights @ corners[:, 2]
    distance = min(
        segment_distance2(p, a, b), segment_distance2(p, a, c), segment_distance2(p, b, c)
    )
    if z < 0 or not (inside or distance < blur):
        return None
    return z, weights, -distance if inside else distance


def sample(row: int, column: int, size: tuple[int, int]) -> Tensor:
    height, width = size
    x = (width - 1 - 2 * column) / min(size)
    y = (height - 1 - 2 * row) / min(size)
    return torch.tensor([x, y], dtype=torch.float64)


def fragments(
    verts_ndc: Tensor, faces: Tensor, size: tuple[int, int], layers: int = 1, **options: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """pix_to_face, zbuf, barycentrics and dists; `options` are those of `hit_face`."""
    index, depth, bary, dist = [], [], [], []
    none = torch.tensor(-1.0, dtype=torch.float64)
    for b in range(len(verts_ndc)):
        for row in range(size[0]):
            for column in range(size[1]):
                p = sample(row, column, size)
                hits = []
                for f in range(len(faces)):
                    hit = hit_face(p, verts_ndc[b, faces[f]], **options)
                    if hit is not None:
                        hits.append((float(hit[0].detach()), b * len(faces) + f, hit))
                hits.sort(key=lambda entry: entry[:2])
                for k in range(layers):
                    found = k < len(hits)
                    index.append(hits[k][1] if found else -1)
                    z, w, d = hits[k][2] if found else (none, none.expand(3), none)
                    depth.append(z)
                    bary.append(w)
                    dist.append(d)
    shape = (len(verts_ndc), *size, layers)
    return (
        torch.tensor(index).view(shape),
        torch.stack(depth).view(shape),
        torch.stack(bary).view(*shape, 3),
        torch.stack(dist).view(shape),
    )


def semantic(
    verts_ndc: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    attributes: Tensor,
    background: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Interpolated attributes of the front face, and whether there is one; no outline gradient."""
    index, _, bary, _ = fragments(verts_ndc, faces, size, closed=True)
    classes = []
    for b in range(len(verts_ndc)):
        values = attributes[min(b, len(attributes) - 1)]
        for row in range(size[0]):
            for column in range(size[1]):
                face = int(index[b, row, column, 0])
                if face < 0:
                    classes.append(torch.full_like(values[0], background))
                else:
                    classes.append(bary[b, row, column, 0] @ values[faces[face - b * len(faces)]])
    return torch.stack(classes).view(*index.shape[:3], -1), (index[..., 0] >= 0).double()


def soft_weight(
    p: Tensor,
    corners: Tensor,
    *,
    sigma: float,
    dist_eps: float,
    perspective: bool = True,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Probability that a face covers a sample, its depth and barycentrics there, or None."""
    a, b, c = corners
    area = cross(c, a, b)
    if area == 0 or corners[:, 2].min() < 1e-8:
        return None
    weights = torch.stack([cross(p, b, c), cross(p, c, a), cross(p, a, b)]) / area
    distance = min(
        segment_distance2(p, a, b), segment_distance2(p, a, c), segment_distance2(p, b, c)
    )
    if (weights >= 0).all():
        distance = -distance
    covered = 1 / (1 + (distance / sigma).exp())
    if covered <= dist_eps:
        return None
    weights = weights.clamp(0, 1)
    weights = weights / weights.sum()
    if perspective:
        weights = weights / corners[:, 2]
        weights = weights / weights.sum()
    return covered, weights @ corners[:, 2], weights


def soft_semantic(
    verts_ndc: Tensor,
    faces: Tensor,
    size: tuple[int, int],
    attributes: Tensor,
    *,
    background: float = 0.0,
    per_face: bool = False,
    gamma: float = 0.1,
    z_near: float = 1.0,
    z_far: float = 100.0,
    eps: float = 1e-3,
    **options: object,
) -> tuple[Tensor, Tensor]:
    """Classes and alpha; `options` are those of `soft_weight`."""
    classes, alpha = [], []
    for b in range(len(verts_ndc)):
        values = attributes[min(b, len(attributes) - 1)]
        for row in range(size[0]):
            for column in range(size[1]):
                p = sample(row, column, size)
                uncovered = torch.ones((), dtype=torch.float64)
                numbers = [torch.full_like(values[0], background)]
                exponents = [torch.tensor(2 * eps / gamma, dtype=torch.float64)]
                for f, corners in enumerate(faces):
                    found = soft_weight(p, verts_ndc[b, corners], **options)
                    if found is None:
                        continue
                    covered, z, weights = found
                    uncovered = uncovered * (1 - covered)
                    if z_near <= z <= z_far:
                        exponents.append(covered.log() + (z_far - z) / (z_far - z_near) / gamma)
                        numbers.append(values[f] if per_face else weights @ values[corners])
                share = torch.stack(exponents).softmax(0)
                classes.append(share @ torch.stack(numbers))
                alpha.append(1 - uncovered)
    shape = (len(verts_ndc), *size)
    return torch.stack(classes).view(*shape, -1), torch.stack(alpha).view(shape)
