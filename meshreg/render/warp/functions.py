"""The geometry of one triangle and one pixel, shared by every kernel, in either precision.

Points are NDC x, y and camera depth z. Every edge value is computed from corners relative to the
pixel, so that the two faces beside an edge see exactly opposite numbers and leave no gap.
"""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator"

from typing import Any

import warp as wp

TILE = wp.constant(16)  # side in pixels; the CUDA kernels' thread layout assumes it


@wp.struct
class Settings:
    """The whole-number settings of one call."""

    num_faces: int
    run: int  # neighbouring pixels of a row that one task describes
    height: int
    width: int
    layers: int  # faces kept per pixel
    tiles_x: int
    tiles_y: int
    perspective: int  # 1: interpolate in space, 0: in the image
    clip: int  # 1: barycentrics of pixels outside a face are clamped to it
    cull: int  # 1: faces seen from behind are dropped
    closed: int  # 1: a sample on the outline of a face belongs to it
    constant: int  # 1: attributes are constant on a face, so that every class border is an outline


@wp.func
def run_start(task: int, s: Settings):
    """The image, row and first column of a task's run of pixels."""
    per_row = s.width / s.run
    image = task / (s.height * per_row)
    row = task / per_row - image * s.height
    column = (task - (image * s.height + row) * per_row) * s.run
    return image, row, column


@wp.func
def pixel_centre(column: int, row: int, s: Settings, like: Any):
    """NDC position (x, y) of a pixel centre; `like` only tells the precision."""
    shorter = type(like[0])(wp.min(s.height, s.width))
    x = type(like[0])(s.width - 1 - 2 * column) / shorter
    y = type(like[0])(s.height - 1 - 2 * row) / shorter
    return type(like)(x, y, x - x)


@wp.func
def edge_value(p: Any, a: Any, b: Any):
    """Twice the signed area of (p, a, b), exactly opposite for (p, b, a)."""
    return (a[1] - p[1]) * (b[0] - p[0]) - (a[0] - p[0]) * (b[1] - p[1])


@wp.func
def edge_values(p: Any, a: Any, b: Any, c: Any, sign: Any):
    """The edge values opposite a, b and c, made positive inside by the face's orientation."""
    return type(a)(
        sign * edge_value(p, b, c), sign * edge_value(p, c, a), sign * edge_value(p, a, b)
    )


@wp.func
def is_inside(e: Any, closed: int):
    """Whether edge values are those of a sample inside the face (or on its outline, if closed)."""
    zero = e[0] - e[0]
    if closed == 1:
        return e[0] >= zero and e[1] >= zero and e[2] >= zero and e[0] + e[1] + e[2] > zero
    return e[0] > zero and e[1] > zero and e[2] > zero


@wp.func
def unnormalised(e: Any, a: Any, b: Any, c: Any, perspective: int, clip: int):
    """Barycentrics up to a common factor, which a single division then removes."""
    t = e
    if perspective == 1:
        t = type(e)(e[0] * b[2] * c[2], e[1] * a[2] * c[2], e[2] * a[2] * b[2])
    if clip == 1:
        zero = e[0] - e[0]
        t = type(e)(wp.max(t[0], zero), wp.max(t[1], zero), wp.max(t[2], zero))
    return t


@wp.func
def normaliser(e: Any, t: Any, perspective: int, clip: int):
    """What divides the unnormalised barycentrics, and whether PyTorch3D's floor of it applied.

    The floor matters only outside a face whose barycentrics are not clipped.
    """
    total = t[0] + t[1] + t[2]
    floored = False
    if perspective == 1 and clip == 0:
        floor = (e[0] + e[1] + e[2]) * type(total)(1e-8)
        floored = total < floor
        total = wp.max(total, floor)
    return total, floored


@wp.func
def barycentric(e: Any, a: Any, b: Any, c: Any, perspective: int, clip: int):
    t = unnormalised(e, a, b, c, perspective, clip)
    total, floored = normaliser(e, t, perspective, clip)
    return t / total


@wp.func
def edge_values_adjoint(p: Any, a: Any, b: Any, c: Any, sign: Any, h: Any):
    """Gradients of sum(h * edge_values) with respect to the corners."""
    zero = sign - sign
    h = h * sign
    u = a - p
    v = b - p
    w = c - p
    ga = type(h)(h[1] * w[1] - h[2] * v[1], h[2] * v[0] - h[1] * w[0], zero)
    gb = type(h)(h[2] * u[1] - h[0] * w[1], h[0] * w[0] - h[2] * u[0], zero)
    gc = type(h)(h[0] * v[1] - h[1] * u[1], h[1] * u[0] - h[0] * v[0], zero)
    return ga, gb, gc


@wp.func
def along_depth(like: Any, z: Any):
    """A gradient with respect to depth alone."""
    return type(like)(z - z, z - z, z)


@wp.func
def barycentric_adjoint(
    p: Any, a: Any, b: Any, c: Any, sign: Any, perspective: int, clip: int, g: Any
):
    """Gradients of sum(g * barycentric) with respect to the corners (x, y, z)."""
    one = type(sign)(1.0)
    zero = type(sign)(0.0)
    e = edge_values(p, a, b, c, sign)
    t = unnormalised(e, a, b, c, perspective, clip)
    total, floored = normaliser(e, t, perspective, clip)
    # d(t_i / total): the weighted mean of g drops out of every component.
    h = (g - type(g)(one, one, one) * (wp.dot(g, t) / total)) / total
    if floored:  # far-off extrapolation behind the horizon of the face's plane: no useful slope
        h = type(g)(zero, zero, zero)
    if clip == 1:
        h = type(g)(
            wp.where(e[0] < zero, zero, h[0]),
            wp.where(e[1] < zero, zero, h[1]),
            wp.where(e[2] < zero, zero, h[2]),
        )
    gz = type(g)(zero, zero, zero)
    if perspective == 1:
        gz = type(g)(
            h[1] * e[1] * c[2] + h[2] * e[2] * b[2],
            h[0] * e[0] * c[2] + h[2] * e[2] * a[2],
            h[0] * e[0] * b[2] + h[1] * e[1] * a[2],
        )
        h = type(g)(h[0] * b[2] * c[2], h[1] * a[2] * c[2], h[2] * a[2] * b[2])
    ga, gb, gc = edge_values_adjoint(p, a, b, c, sign, h)
    return ga + along_depth(g, gz[0]), gb + along_depth(g, gz[1]), gc + along_depth(g, gz[2])


@wp.func
def inverse_length2(a: Any, b: Any):
    dx = b[0] - a[0]
    dy = b[1] - a[1]
    return type(dx)(1.0) / wp.max(dx * dx + dy * dy, type(dx)(1e-12))


@wp.func
def foot(p: Any, a: Any, b: Any, inverse: Any):
    """Where on the segment a-b (0..1) the point nearest to p lies; inverse is 1 / |b - a|^2."""
    t = ((p[0] - a[0]) * (b[0] - a[0]) + (p[1] - a[1]) * (b[1] - a[1])) * inverse
    return wp.clamp(t, type(t)(0.0), type(t)(1.0))


@wp.func
def distance2(p: Any, a: Any, b: Any, t: Any):
    x = a[0] + t * (b[0] - a[0]) - p[0]
    y = a[1] + t * (b[1] - a[1]) - p[1]
    return x * x + y * y


@wp.func
def outline_distance2(p: Any, a: Any, b: Any, c: Any, inverse: Any):
    """Squared distance to the outline, the edge (0: ab, 1: ac, 2: bc) and the place on it."""
    t0 = foot(p, a, b, inverse[0])
    t1 = foot(p, a, c, inverse[1])
    t2 = foot(p, b, c, inverse[2])
    d0 = distance2(p, a, b, t0)
    d1 = distance2(p, a, c, t1)
    d2 = distance2(p, b, c, t2)
    d = wp.min(d0, wp.min(d1, d2))
    edge = wp.where(d0 <= d, 0, wp.where(d1 <= d, 1, 2))
    t = wp.where(d0 <= d, t0, wp.where(d1 <= d, t1, t2))
    return d, edge, t


@wp.func
def inverse_lengths2(a: Any, b: Any, c: Any):
    return type(a)(inverse_length2(a, b), inverse_length2(a, c), inverse_length2(b, c))


@wp.func
def outline_limits(a: Any, b: Any, c: Any, reach: Any):
    """Edge values below these belong to samples farther than `reach` outside an edge."""
    grown = -reach * type(reach)(1.001)
    return type(a)(
        grown * wp.sqrt((c[0] - b[0]) * (c[0] - b[0]) + (c[1] - b[1]) * (c[1] - b[1])),
        grown * wp.sqrt((a[0] - c[0]) * (a[0] - c[0]) + (a[1] - c[1]) * (a[1] - c[1])),
        grown * wp.sqrt((b[0] - a[0]) * (b[0] - a[0]) + (b[1] - a[1]) * (b[1] - a[1])),
    )


@wp.func
def outline_place_adjoint(p: Any, a: Any, b: Any, c: Any, edge: int, t: Any, g: Any):
    """Gradients of g * outline_distance2 for its place (edge, t), which is optimal and so fixed."""
    zero = type(g)(0.0)
    start = a
    end = b
    if edge == 1:
        end = c
    elif edge == 2:
        start = b
        end = c
    pull = (start + t * (end - start) - p) * (type(g)(2.0) * g)
    pull = type(a)(pull[0], pull[1], zero)
    near = (type(g)(1.0) - t) * pull
    far = t * pull
    if edge == 0:
        return near, far, type(a)(zero, zero, zero)
    if edge == 1:
        return near, type(a)(zero, zero, zero), far
    return type(a)(zero, zero, zero), near, far


@wp.func
def outline_distance2_adjoint(p: Any, a: Any, b: Any, c: Any, g: Any):
    """Gradients of g * outline_distance2."""
    d, edge, t = outline_distance2(p, a, b, c, inverse_lengths2(a, b, c))
    ga, gb, gc = outline_place_adjoint(p, a, b, c, edge, t, g)
    return ga, gb, gc
