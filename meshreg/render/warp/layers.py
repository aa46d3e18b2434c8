"""Describe the faces found at every pixel, and send gradients back to their corners."""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import (
    Settings,
    barycentric,
    barycentric_adjoint,
    edge_value,
    edge_values,
    inverse_lengths2,
    is_inside,
    outline_distance2,
    outline_distance2_adjoint,
    pixel_centre,
    run_start,
)


@wp.func
def describe_pixel(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    image: int,
    row: int,
    column: int,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    bary: wp.array2d(dtype=Any),
    dist: wp.array2d(dtype=Any),
):
    pixel = (image * s.height + row) * s.width + column
    topology = wp.min(image, faces.shape[0] - 1)
    for k in range(s.layers):
        face = index[pixel, k]
        if face < wp.int64(0):
            nothing = -type(dist[pixel, k])(1.0)
            bary[pixel, k] = type(bary[pixel, k])(nothing, nothing, nothing)
            dist[pixel, k] = nothing
        else:
            f = int(face) - image * s.num_faces
            a = verts[image, faces[topology, f, 0]]
            b = verts[image, faces[topology, f, 1]]
            c = verts[image, faces[topology, f, 2]]
            p = pixel_centre(column, row, s, a)
            e = edge_values(p, a, b, c, wp.sign(edge_value(c, a, b)))
            bary[pixel, k] = barycentric(e, a, b, c, s.perspective, s.clip)
            d, edge, t = outline_distance2(p, a, b, c, inverse_lengths2(a, b, c))
            dist[pixel, k] = wp.where(is_inside(e, s.closed), -d, d)


def describe_layers(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    first: int,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    bary: wp.array2d(dtype=Any),
    dist: wp.array2d(dtype=Any),
):
    """Per run of pixels: barycentrics and signed squared distance of the faces found."""
    image, row, start = run_start(first + wp.tid(), s)
    for column in range(start, start + s.run):
        describe_pixel(verts, faces, image, row, column, s, index, bary, dist)


@wp.func
def describe_pixel_adjoint(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    image: int,
    row: int,
    column: int,
    out: int,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    depth_grad: wp.array2d(dtype=Any),
    bary_grad: wp.array2d(dtype=Any),
    dist_grad: wp.array2d(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
):
    pixel = (image * s.height + row) * s.width + column
    topology = wp.min(image, faces.shape[0] - 1)
    for k in range(s.layers):
        face = index[pixel, k]
        if face < wp.int64(0):
            return
        f = int(face) - image * s.num_faces
        i = faces[topology, f, 0]
        j = faces[topology, f, 1]
        m = faces[topology, f, 2]
        a = verts[image, i]
        b = verts[image, j]
        c = verts[image, m]
        p = pixel_centre(column, row, s, a)
        sign = wp.sign(edge_value(c, a, b))
        e = edge_values(p, a, b, c, sign)
        w = barycentric(e, a, b, c, s.perspective, s.clip)
        gz = depth_grad[pixel, k]
        g = bary_grad[pixel, k] + gz * type(a)(a[2], b[2], c[2])
        ga, gb, gc = barycentric_adjoint(p, a, b, c, sign, s.perspective, s.clip, g)
        gd = dist_grad[pixel, k]
        gd = wp.where(is_inside(e, s.closed), -gd, gd)
        zero = gz - gz
        if gd != zero:  # hard pictures do not use the distance
            da, db, dc = outline_distance2_adjoint(p, a, b, c, gd)
            ga = ga + da
            gb = gb + db
            gc = gc + dc
        wp.atomic_add(verts_grad, out, i, ga + type(a)(zero, zero, gz * w[0]))
        wp.atomic_add(verts_grad, out, j, gb + type(a)(zero, zero, gz * w[1]))
        wp.atomic_add(verts_grad, out, m, gc + type(a)(zero, zero, gz * w[2]))


def describe_layers_adjoint(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    first: int,
    first_image: int,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    depth_grad: wp.array2d(dtype=Any),
    bary_grad: wp.array2d(dtype=Any),
    dist_grad: wp.array2d(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
):
    """Add the gradients of depth, barycentrics and distance to the faces' corners."""
    image, row, start = run_start(first + wp.tid(), s)
    for column in range(start, start + s.run):
        describe_pixel_adjoint(
            verts,
            faces,
            image,
            row,
            column,
            image - first_image,
            s,
            index,
            depth_grad,
            bary_grad,
            dist_grad,
            verts_grad,
        )
