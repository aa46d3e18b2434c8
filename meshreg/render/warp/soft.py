"""Blend all faces near each pixel by distance and depth: the fused soft class image.

After Liu et al., "Soft Rasterizer", ICCV 2019. A face at signed squared distance d (negative
inside) covers a pixel with probability D = 1 / (1 + exp(d / sigma)). Its weight in the classes is
D exp((zeta - m) / gamma), where zeta falls from 1 at the near depth to 0 at the far depth; the
background joins with weight exp((2 eps - m) / gamma), and m is the largest exponent of a pixel.
Alpha is 1 - prod(1 - D).

`state` holds three numbers per pixel: the depth that belongs to m, the sum of the weights, and the
probability that no face covers the pixel. Depths are kept instead of zeta / gamma because their
differences lose fewer digits in float32.
"""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator,index,call-overload"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import (
    TILE,
    Settings,
    edge_value,
    edge_values,
    inverse_lengths2,
    is_inside,
    outline_distance2,
    outline_limits,
    pixel_centre,
)


@wp.func
def may_cover(e: Any, limits: Any):
    """A cheap test that most pixels of a face's box fail; a sliver's area may round to nothing."""
    zero = e[0] - e[0]
    near = e[0] >= limits[0] and e[1] >= limits[1] and e[2] >= limits[2]
    return near and e[0] + e[1] + e[2] > zero


@wp.func
def clamped_weights(e: Any):
    """Barycentrics in the image, each clamped to 0..1; their sum is not yet one."""
    zero = e[0] - e[0]
    one = type(zero)(1.0)
    u = e * (one / (e[0] + e[1] + e[2]))
    return type(e)(wp.clamp(u[0], zero, one), wp.clamp(u[1], zero, one), wp.clamp(u[2], zero, one))


@wp.func
def soft_barycentric(e: Any, a: Any, b: Any, c: Any, perspective: int):
    """Weights of the point of the face that stands for a sample, which may lie outside it."""
    u = clamped_weights(e)
    if perspective == 1:
        u = type(e)(u[0] * b[2] * c[2], u[1] * a[2] * c[2], u[2] * a[2] * b[2])
    return u * (type(u[0])(1.0) / (u[0] + u[1] + u[2]))


@wp.func
def coverage(d: Any, inside: bool, sharpness: Any):
    """Probability that a face covers a sample at squared distance d, and one minus it."""
    one = type(d)(1.0)
    q = wp.exp(-d * sharpness)
    large = one / (one + q)
    small = q * large
    return wp.where(inside, large, small), wp.where(inside, small, large)


@wp.func
def blend_in(
    pixel: int,
    covered: Any,
    free: Any,
    w: Any,
    z: Any,
    near: Any,
    far: Any,
    rate: Any,
    values: wp.array3d(dtype=Any),
    value_set: int,
    row: wp.vec3i,
    blend: wp.array2d(dtype=Any),
    state: wp.array(dtype=Any),
):
    """Add one face to a pixel; what was there shrinks if the face is the nearest so far."""
    now = state[pixel]
    top = now[0]
    total = now[1]
    if z >= near and z <= far:
        shrink = type(z)(1.0)
        if z < top:
            shrink = wp.exp((z - top) * rate)
            top = z
        weight = covered * wp.exp((top - z) * rate)
        total = total * shrink + weight
        for n in range(values.shape[2]):
            mixed = (
                w[0] * values[value_set, row[0], n]
                + w[1] * values[value_set, row[1], n]
                + w[2] * values[value_set, row[2], n]
            )
            blend[pixel, n] = blend[pixel, n] * shrink + weight * mixed
    state[pixel] = type(w)(top, total, now[2] * free)


def blend_by_tile(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    values: wp.array3d(dtype=Any),
    box: wp.array(dtype=wp.vec4i),
    start: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    first: int,
    s: Settings,
    reach: Any,
    blur: Any,
    sharpness: Any,
    rate: Any,
    near: Any,
    far: Any,
    behind: Any,
    blend: wp.array2d(dtype=Any),
    state: wp.array(dtype=Any),
):
    """One task per tile: each face visits only its own pixels. For the CPU.

    `blend` comes in as the background, which lies at the depth `behind`.
    """
    task = first + wp.tid()
    one = type(reach)(1.0)
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    for y in range(ty * TILE, wp.min(ty * TILE + TILE, s.height)):
        for x in range(tx * TILE, wp.min(tx * TILE + TILE, s.width)):
            state[(image * s.height + y) * s.width + x] = type(verts[0, 0])(behind, one, one)
    if start[task] == start[task + 1]:
        return
    topology = wp.min(image, faces.shape[0] - 1)
    row_set = wp.min(image, rows.shape[0] - 1)
    value_set = wp.min(image, values.shape[0] - 1)
    for j in range(start[task], start[task + 1]):
        f = listed[j]
        bound = box[image * s.num_faces + f]
        a = verts[image, faces[topology, f, 0]]
        b = verts[image, faces[topology, f, 1]]
        c = verts[image, faces[topology, f, 2]]
        i = rows[row_set, f, 0]
        k = rows[row_set, f, 1]
        m = rows[row_set, f, 2]
        sign = wp.sign(edge_value(c, a, b))
        limits = outline_limits(a, b, c, reach)
        inverse = inverse_lengths2(a, b, c)
        for y in range(wp.max(bound[2], ty * TILE), wp.min(bound[3], ty * TILE + TILE - 1) + 1):
            for x in range(wp.max(bound[0], tx * TILE), wp.min(bound[1], tx * TILE + TILE - 1) + 1):
                p = pixel_centre(x, y, s, a)
                e = edge_values(p, a, b, c, sign)
                if may_cover(e, limits):
                    d, edge, t = outline_distance2(p, a, b, c, inverse)
                    inside = is_inside(e, 1)
                    if inside or d < blur:
                        pixel = (image * s.height + y) * s.width + x
                        covered, free = coverage(d, inside, sharpness)
                        w = soft_barycentric(e, a, b, c, s.perspective)
                        z = w[0] * a[2] + w[1] * b[2] + w[2] * c[2]
                        blend_in(
                            pixel,
                            covered,
                            free,
                            w,
                            z,
                            near,
                            far,
                            rate,
                            values,
                            value_set,
                            wp.vec3i(i, k, m),
                            blend,
                            state,
                        )
    for y in range(ty * TILE, wp.min(ty * TILE + TILE, s.height)):
        for x in range(tx * TILE, wp.min(tx * TILE + TILE, s.width)):
            pixel = (image * s.height + y) * s.width + x
            inverse_total = one / state[pixel][1]
            for n in range(values.shape[2]):
                blend[pixel, n] = blend[pixel, n] * inverse_total


def blend_by_pixel(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    values: wp.array3d(dtype=Any),
    box: wp.array(dtype=wp.vec4i),
    start: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    first: int,
    s: Settings,
    reach: Any,
    blur: Any,
    sharpness: Any,
    rate: Any,
    near: Any,
    far: Any,
    behind: Any,
    blend: wp.array2d(dtype=Any),
    state: wp.array(dtype=Any),
):
    """One thread per pixel and chunk of channels; neighbours read the same face. For CUDA."""
    one = type(reach)(1.0)
    lane = wp.tid() & 255
    block = first / 256 + wp.tid() / 256
    # The chunks of a tile are separate blocks, each of which walks through the tile's faces.
    task = block / values.shape[2]
    n = block - task * values.shape[2]
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    # 32 lanes cover a patch of 8 x 4 pixels, so that they tend to hit the same faces.
    patch = lane / 32
    spot = lane - patch * 32
    x = tx * 16 + (patch & 1) * 8 + (spot & 7)
    y = ty * 16 + patch / 2 * 4 + spot / 8
    if x >= s.width or y >= s.height:
        return
    topology = wp.min(image, faces.shape[0] - 1)
    row_set = wp.min(image, rows.shape[0] - 1)
    value_set = wp.min(image, values.shape[0] - 1)
    pixel = (image * s.height + y) * s.width + x
    top = behind
    total = one
    uncovered = one
    mix = blend[pixel, n]
    for j in range(start[task], start[task + 1]):
        f = listed[j]
        bound = box[image * s.num_faces + f]
        if x >= bound[0] and x <= bound[1] and y >= bound[2] and y <= bound[3]:
            a = verts[image, faces[topology, f, 0]]
            b = verts[image, faces[topology, f, 1]]
            c = verts[image, faces[topology, f, 2]]
            p = pixel_centre(x, y, s, a)
            e = edge_values(p, a, b, c, wp.sign(edge_value(c, a, b)))
            if may_cover(e, outline_limits(a, b, c, reach)):
                d, edge, t = outline_distance2(p, a, b, c, inverse_lengths2(a, b, c))
                inside = is_inside(e, 1)
                if inside or d < blur:
                    covered, free = coverage(d, inside, sharpness)
                    w = soft_barycentric(e, a, b, c, s.perspective)
                    z = w[0] * a[2] + w[1] * b[2] + w[2] * c[2]
                    uncovered = uncovered * free
                    if z >= near and z <= far:
                        shrink = one
                        if z < top:
                            shrink = wp.exp((z - top) * rate)
                            top = z
                        weight = covered * wp.exp((top - z) * rate)
                        total = total * shrink + weight
                        mix = mix * shrink + weight * (
                            w[0] * values[value_set, rows[row_set, f, 0], n]
                            + w[1] * values[value_set, rows[row_set, f, 1], n]
                            + w[2] * values[value_set, rows[row_set, f, 2], n]
                        )
    blend[pixel, n] = mix / total
    if n == 0:
        state[pixel] = type(verts[0, 0])(top, total, uncovered)
