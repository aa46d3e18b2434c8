"""Colour the front surface with vertex attributes, and differentiate through its moving outlines.

Where a nearer surface ends in front of something else, the border between two neighbouring pixels
p and q moves with the surface point of the nearer one. Moving that point by one pixel from p
towards q changes the loss by (g_p + g_q) / 2 . (C_p - C_q), where C are the pixels' values and g
the loss's gradients; summed along an outline this is the integral of its normal motion. The idea
is that of the edge gradients of Pidhorskyi et al., "Rasterized Edge Gradients", ECCV 2024.

Inside one surface the barycentrics carry the gradient; `meshreg.render.warp.outlines` tells where
a surface ends, with `gap` in pixel widths.

`rows` holds, for each face, the rows of `attributes` that belong to its corners: three vertices, or
three times the face itself.
"""

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
    pixel_centre,
    run_start,
)
from meshreg.render.warp.outlines import outline_pull


@wp.func
def shade_pixel(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    attributes: wp.array3d(dtype=Any),
    image: int,
    row: int,
    column: int,
    s: Settings,
    background: Any,
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
    classes: wp.array2d(dtype=Any),
    alpha: wp.array(dtype=Any),
    seen_depth: wp.array(dtype=Any),
):
    pixel = (image * s.height + row) * s.width + column
    face = index[pixel, 0]
    if face < wp.int64(0):
        for n in range(classes.shape[1]):
            classes[pixel, n] = background
        alpha[pixel] = type(background)(0.0)
        seen_depth[pixel] = type(background)(0.0)
        return
    alpha[pixel] = type(background)(1.0)
    seen_depth[pixel] = depth[pixel, 0]
    f = int(face) - image * s.num_faces
    topology = wp.min(image, faces.shape[0] - 1)
    a = verts[image, faces[topology, f, 0]]
    b = verts[image, faces[topology, f, 1]]
    c = verts[image, faces[topology, f, 2]]
    row_set = wp.min(image, rows.shape[0] - 1)
    i = rows[row_set, f, 0]
    j = rows[row_set, f, 1]
    m = rows[row_set, f, 2]
    p = pixel_centre(column, row, s, a)
    e = edge_values(p, a, b, c, wp.sign(edge_value(c, a, b)))
    w = barycentric(e, a, b, c, s.perspective, s.clip)
    values = wp.min(image, attributes.shape[0] - 1)
    for n in range(attributes.shape[2]):
        classes[pixel, n] = (
            w[0] * attributes[values, i, n]
            + w[1] * attributes[values, j, n]
            + w[2] * attributes[values, m, n]
        )


def shade(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    attributes: wp.array3d(dtype=Any),
    first: int,
    s: Settings,
    background: Any,
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
    classes: wp.array2d(dtype=Any),
    alpha: wp.array(dtype=Any),
    seen_depth: wp.array(dtype=Any),
):
    """Interpolate the attributes of every pixel's front face, or take the background."""
    image, row, start = run_start(first + wp.tid(), s)
    for column in range(start, start + s.run):
        shade_pixel(
            verts,
            faces,
            rows,
            attributes,
            image,
            row,
            column,
            s,
            background,
            index,
            depth,
            classes,
            alpha,
            seen_depth,
        )


@wp.func
def shade_pixel_adjoint(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    attributes: wp.array3d(dtype=Any),
    limit: Any,
    image: int,
    row: int,
    column: int,
    out_image: int,
    s: Settings,
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
    classes: wp.array2d(dtype=Any),
    classes_grad: wp.array2d(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
    attributes_grad: wp.array3d(dtype=Any),
):
    pixel = (image * s.height + row) * s.width + column
    face = index[pixel, 0]
    if face < wp.int64(0):
        return
    f = int(face) - image * s.num_faces
    topology = wp.min(image, faces.shape[0] - 1)
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
    values = wp.min(image, attributes.shape[0] - 1)
    row_set = wp.min(image, rows.shape[0] - 1)
    ri = rows[row_set, f, 0]
    rj = rows[row_set, f, 1]
    rm = rows[row_set, f, 2]
    bary_grad = a - a
    for n in range(attributes.shape[2]):
        g = classes_grad[pixel, n]
        bary_grad += g * type(a)(
            attributes[values, ri, n], attributes[values, rj, n], attributes[values, rm, n]
        )
        if attributes_grad.shape[0] > 0:
            out = wp.where(attributes.shape[0] == 1, 0, out_image)
            wp.atomic_add(attributes_grad, out, ri, n, g * w[0])
            wp.atomic_add(attributes_grad, out, rj, n, g * w[1])
            wp.atomic_add(attributes_grad, out, rm, n, g * w[2])
    ga, gb, gc = barycentric_adjoint(p, a, b, c, sign, s.perspective, s.clip, bary_grad)
    pull = outline_pull(
        verts,
        faces,
        limit,
        s,
        index,
        depth,
        classes,
        classes_grad,
        alpha_grad,
        image,
        column,
        row,
        p,
    )
    # Columns and rows grow against NDC's axes; the corners share the motion of the point between
    # them by its barycentrics in the image.
    pixels_per_ndc = type(sign)(wp.min(s.height, s.width)) * type(sign)(0.5)
    pull = pull * (-pixels_per_ndc / (e[0] + e[1] + e[2]))
    wp.atomic_add(verts_grad, out_image, i, ga + e[0] * pull)
    wp.atomic_add(verts_grad, out_image, j, gb + e[1] * pull)
    wp.atomic_add(verts_grad, out_image, m, gc + e[2] * pull)


def shade_adjoint(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    rows: wp.array3d(dtype=wp.int32),
    attributes: wp.array3d(dtype=Any),
    pixel_width: wp.array(dtype=Any),
    first: int,
    first_image: int,
    s: Settings,
    gap: Any,
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
    classes: wp.array2d(dtype=Any),
    classes_grad: wp.array2d(dtype=Any),
    alpha_grad: wp.array(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
    attributes_grad: wp.array3d(dtype=Any),
):
    """Gradients of the front faces' corners and, if asked for, of their attributes.

    `attributes_grad` may be empty (no gradient wanted) or start at `first_image` like `verts_grad`.
    """
    image, row, start = run_start(first + wp.tid(), s)
    limit = gap * pixel_width[image]
    for column in range(start, start + s.run):
        shade_pixel_adjoint(
            verts,
            faces,
            rows,
            attributes,
            limit,
            image,
            row,
            column,
            image - first_image,
            s,
            index,
            depth,
            classes,
            classes_grad,
            alpha_grad,
            verts_grad,
            attributes_grad,
        )
