"""Where one surface ends in front of another, and how the loss changes as that border moves.

Two neighbouring pixels see one surface if their faces share a corner, or if one face's plane,
continued to the other pixel, comes close to the depth found there (the limit is a few times the
width of a pixel at that depth). Attributes that are constant on each face have no gradient inside
it: there every pair of different values is an outline.
"""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import Settings, edge_value, edge_values, pixel_centre


@wp.func
def plane_misses(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    image: int,
    f: int,
    p: Any,
    z: Any,
    limit: Any,
):
    """Whether a face's plane, seen at p, is farther than `limit` from depth z."""
    topology = wp.min(image, faces.shape[0] - 1)
    a = verts[image, faces[topology, f, 0]]
    b = verts[image, faces[topology, f, 1]]
    c = verts[image, faces[topology, f, 2]]
    e = edge_values(p, a, b, c, wp.sign(edge_value(c, a, b)))
    # 1 / z is linear in the image; where it is not positive the plane is not in view at all.
    inverse = e[0] / a[2] + e[1] / b[2] + e[2] / c[2]
    total = e[0] + e[1] + e[2]
    return inverse <= total - total or wp.abs(total / inverse - z) > limit


@wp.func
def shares_corner(faces: wp.array3d(dtype=wp.int32), image: int, f: int, g: int):
    topology = wp.min(image, faces.shape[0] - 1)
    shared = False
    for m in range(3):
        corner = faces[topology, f, m]
        if (
            corner == faces[topology, g, 0]
            or corner == faces[topology, g, 1]
            or corner == faces[topology, g, 2]
        ):
            shared = True
    return shared


@wp.func
def surface_breaks(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    image: int,
    f: int,
    g: int,
    p: Any,
    q: Any,
    zp: Any,
    zq: Any,
    limit: Any,
):
    """Whether face f at pixel p and face g at pixel q are pieces of two different surfaces."""
    # One question after the other: Warp would answer both sides of an `and`.
    if shares_corner(faces, image, f, g):
        return False
    if plane_misses(verts, faces, image, f, q, zq, limit):
        return plane_misses(verts, faces, image, g, p, zp, limit)
    return False


@wp.func
def loss_per_pixel_moved(
    pixel: int,
    other: int,
    index: wp.array2d(dtype=wp.int64),
    classes: wp.array2d(dtype=Any),
    classes_grad: wp.array2d(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
):
    """Change of the loss if the border between two pixels moves one pixel towards `other`."""
    gain = alpha_grad[pixel] - alpha_grad[pixel]
    for n in range(classes.shape[1]):
        gain += (classes_grad[pixel, n] + classes_grad[other, n]) * (
            classes[pixel, n] - classes[other, n]
        )
    if index[other, 0] < wp.int64(0):
        gain += alpha_grad[pixel] + alpha_grad[other]
    return gain * type(gain)(0.5)


@wp.func
def outline_pull(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    limit: Any,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
    classes: wp.array2d(dtype=Any),
    classes_grad: wp.array2d(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    image: int,
    column: int,
    row: int,
    p: Any,
):
    """Gradient with respect to the position (columns, rows) of the surface point seen at p."""
    pixel = (image * s.height + row) * s.width + column
    face = index[pixel, 0]
    z = depth[pixel, 0]
    pull = p - p
    for n in range(4):
        dx = wp.where(n == 0, 1, wp.where(n == 1, -1, 0))
        dy = wp.where(n == 2, 1, wp.where(n == 3, -1, 0))
        x = column + dx
        y = row + dy
        if x >= 0 and y >= 0 and x < s.width and y < s.height:
            other = (image * s.height + y) * s.width + x
            behind = index[other, 0]
            zq = depth[other, 0]
            in_front = behind < wp.int64(0) or z < zq or (z == zq and face < behind)
            if behind != face and in_front:
                breaks = True
                if behind >= wp.int64(0) and s.constant == 0:
                    q = pixel_centre(x, y, s, p)
                    f = int(face) - image * s.num_faces
                    g = int(behind) - image * s.num_faces
                    breaks = surface_breaks(verts, faces, image, f, g, p, q, z, zq, limit * z)
                if breaks:
                    gain = loss_per_pixel_moved(
                        pixel, other, index, classes, classes_grad, alpha_grad
                    )
                    zero = gain - gain
                    pull += type(p)(type(gain)(dx) * gain, type(gain)(dy) * gain, zero)
    return pull
