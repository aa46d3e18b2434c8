"""Send the gradients of the soft class image back to corners and attributes.

A face's gradient is summed over the pixels of a tile before it is added to the mesh's, which keeps
the number of additions to shared memory near the number of faces instead of that of face samples.
"""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator,index,call-overload"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import (
    TILE,
    Settings,
    along_depth,
    edge_value,
    edge_values,
    edge_values_adjoint,
    inverse_lengths2,
    is_inside,
    outline_distance2,
    outline_limits,
    outline_place_adjoint,
    pixel_centre,
)
from meshreg.render.warp.soft import clamped_weights, coverage, may_cover, soft_barycentric


def pack_gradients(
    first: int,
    classes_grad: wp.array2d(dtype=Any),
    blend: wp.array2d(dtype=Any),
    blend_grad: wp.array2d(dtype=Any),
    mean_grad: wp.array(dtype=Any),
):
    """Per pixel: the incoming gradient in whole chunks, and its product with the pixel's values."""
    pixel = first + wp.tid()
    total = type(mean_grad[pixel])(0.0)
    for n in range(blend.shape[1]):
        value = blend[pixel, n]
        up = value * type(total)(0.0)
        for k in range(4):
            channel = n * 4 + k
            if channel < classes_grad.shape[1]:
                up[k] = classes_grad[pixel, channel]
        blend_grad[pixel, n] = up
        total += wp.dot(up, value)
    mean_grad[pixel] = total


@wp.func
def soft_barycentric_adjoint(
    p: Any, e: Any, a: Any, b: Any, c: Any, sign: Any, perspective: int, g: Any
):
    """Gradients of sum(g * soft_barycentric) with respect to the corners."""
    zero = sign - sign
    u = clamped_weights(e)
    q = u
    if perspective == 1:
        q = type(u)(u[0] * b[2] * c[2], u[1] * a[2] * c[2], u[2] * a[2] * b[2])
    inverse = type(sign)(1.0) / (q[0] + q[1] + q[2])
    mean = wp.dot(g, q) * inverse
    h = type(g)(g[0] - mean, g[1] - mean, g[2] - mean) * inverse
    gz = type(g)(zero, zero, zero)
    if perspective == 1:
        gz = type(g)(
            h[1] * u[1] * c[2] + h[2] * u[2] * b[2],
            h[0] * u[0] * c[2] + h[2] * u[2] * a[2],
            h[0] * u[0] * b[2] + h[1] * u[1] * a[2],
        )
        h = type(g)(h[0] * b[2] * c[2], h[1] * a[2] * c[2], h[2] * a[2] * b[2])
    # A weight at 0 or 1 does not move; the others are edge values divided by the face's area.
    area = e[0] + e[1] + e[2]
    h = type(g)(
        wp.where(e[0] < zero or e[0] > area, zero, h[0]),
        wp.where(e[1] < zero or e[1] > area, zero, h[1]),
        wp.where(e[2] < zero or e[2] > area, zero, h[2]),
    )
    mean = wp.dot(h, u)
    h = type(g)(h[0] - mean, h[1] - mean, h[2] - mean) * (type(sign)(1.0) / area)
    ga, gb, gc = edge_values_adjoint(p, a, b, c, sign, h)
    return ga + along_depth(g, gz[0]), gb + along_depth(g, gz[1]), gc + along_depth(g, gz[2])


@wp.func
def face_adjoint(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    values: wp.array3d(dtype=Any),
    bound: wp.vec4i,
    image: int,
    f: int,
    tx: int,
    ty: int,
    first_image: int,
    s: Settings,
    reach: Any,
    blur: Any,
    sharpness: Any,
    rate: Any,
    near: Any,
    far: Any,
    state: wp.array(dtype=Any),
    blend_grad: wp.array2d(dtype=Any),
    mean_grad: wp.array(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
    values_grad: wp.array3d(dtype=Any),
):
    """Add the gradients that one face receives from the pixels of one tile."""
    topology = wp.min(image, faces.shape[0] - 1)
    row_set = wp.min(image, rows.shape[0] - 1)
    value_set = wp.min(image, values.shape[0] - 1)
    out_set = wp.where(values.shape[0] == 1, 0, image - first_image)
    a = verts[image, faces[topology, f, 0]]
    b = verts[image, faces[topology, f, 1]]
    c = verts[image, faces[topology, f, 2]]
    i = rows[row_set, f, 0]
    k = rows[row_set, f, 1]
    m = rows[row_set, f, 2]
    sign = wp.sign(edge_value(c, a, b))
    limits = outline_limits(a, b, c, reach)
    inverse = inverse_lengths2(a, b, c)
    depths = type(a)(a[2], b[2], c[2])
    ga = a - a
    gb = a - a
    gc = a - a
    for y in range(wp.max(bound[2], ty * TILE), wp.min(bound[3], ty * TILE + TILE - 1) + 1):
        for x in range(wp.max(bound[0], tx * TILE), wp.min(bound[1], tx * TILE + TILE - 1) + 1):
            p = pixel_centre(x, y, s, a)
            e = edge_values(p, a, b, c, sign)
            if may_cover(e, limits):
                d, edge, t = outline_distance2(p, a, b, c, inverse)
                inside = is_inside(e, 1)
                if inside or d < blur:
                    pixel = (image * s.height + y) * s.width + x
                    now = state[pixel]
                    covered, free = coverage(d, inside, sharpness)
                    w = soft_barycentric(e, a, b, c, s.perspective)
                    z = w[0] * depths[0] + w[1] * depths[1] + w[2] * depths[2]
                    toward = alpha_grad[pixel] * now[2] * covered
                    if z >= near and z <= far:
                        weight = covered * wp.exp((now[0] - z) * rate) / now[1]
                        g = a - a
                        for n in range(values.shape[2]):
                            up = blend_grad[pixel, n]
                            g += type(a)(
                                wp.dot(up, values[value_set, i, n]),
                                wp.dot(up, values[value_set, k, n]),
                                wp.dot(up, values[value_set, m, n]),
                            )
                            if values_grad.shape[0] > 0:
                                part = weight * up
                                wp.atomic_add(values_grad, out_set, i, n, w[0] * part)
                                wp.atomic_add(values_grad, out_set, k, n, w[1] * part)
                                wp.atomic_add(values_grad, out_set, m, n, w[2] * part)
                        # The slope with respect to the logarithm of the face's weight.
                        pull = weight * (wp.dot(g, w) - mean_grad[pixel])
                        toward += pull * free
                        gz = -pull * rate
                        g = g * weight + depths * gz
                        da, db, dc = soft_barycentric_adjoint(p, e, a, b, c, sign, s.perspective, g)
                        ga += da + along_depth(a, gz * w[0])
                        gb += db + along_depth(a, gz * w[1])
                        gc += dc + along_depth(a, gz * w[2])
                    gd = wp.where(inside, toward, -toward) * sharpness
                    da, db, dc = outline_place_adjoint(p, a, b, c, edge, t, gd)
                    ga += da
                    gb += db
                    gc += dc
    wp.atomic_add(verts_grad, image - first_image, faces[topology, f, 0], ga)
    wp.atomic_add(verts_grad, image - first_image, faces[topology, f, 1], gb)
    wp.atomic_add(verts_grad, image - first_image, faces[topology, f, 2], gc)


def blend_adjoint_by_tile(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    values: wp.array3d(dtype=Any),
    box: wp.array(dtype=wp.vec4i),
    start: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    first: int,
    first_image: int,
    s: Settings,
    reach: Any,
    blur: Any,
    sharpness: Any,
    rate: Any,
    near: Any,
    far: Any,
    state: wp.array(dtype=Any),
    blend_grad: wp.array2d(dtype=Any),
    mean_grad: wp.array(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
    values_grad: wp.array3d(dtype=Any),
):
    """One task per tile. For the CPU.

    `values_grad` may be empty (no gradient wanted) or start at `first_image` like `verts_grad`.
    """
    task = first + wp.tid()
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    for j in range(start[task], start[task + 1]):
        f = listed[j]
        face_adjoint(
            verts,
            faces,
            rows,
            values,
            box[image * s.num_faces + f],
            image,
            f,
            tx,
            ty,
            first_image,
            s,
            reach,
            blur,
            sharpness,
            rate,
            near,
            far,
            state,
            blend_grad,
            mean_grad,
            alpha_grad,
            verts_grad,
            values_grad,
        )


def blend_adjoint_by_pair(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    values: wp.array3d(dtype=Any),
    box: wp.array(dtype=wp.vec4i),
    tile_of: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    first: int,
    first_image: int,
    s: Settings,
    reach: Any,
    blur: Any,
    sharpness: Any,
    rate: Any,
    near: Any,
    far: Any,
    state: wp.array(dtype=Any),
    blend_grad: wp.array2d(dtype=Any),
    mean_grad: wp.array(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
    values_grad: wp.array3d(dtype=Any),
):
    """One thread per pair of a face and a tile that it touches. For CUDA."""
    j = first + wp.tid()
    f = listed[j]
    task = tile_of[j]
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    face_adjoint(
        verts,
        faces,
        rows,
        values,
        box[image * s.num_faces + f],
        image,
        f,
        tx,
        ty,
        first_image,
        s,
        reach,
        blur,
        sharpness,
        rate,
        near,
        far,
        state,
        blend_grad,
        mean_grad,
        alpha_grad,
        verts_grad,
        values_grad,
    )
