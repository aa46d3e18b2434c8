"""Project vertices to NDC, and send gradients back to camera space."""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# mypy: disable-error-code="no-untyped-def,operator"

from typing import Any

import warp as wp


def project(
    verts: wp.array2d(dtype=Any),
    rows_ndc: wp.array2d(dtype=Any),
    first: int,
    min_depth: Any,
    projected: wp.array2d(dtype=Any),
):
    """Per vertex: (x, y, z) from camera space; x = y = 0 at or behind the camera."""
    i = first + wp.tid()
    image = i / verts.shape[1]
    vertex = i - image * verts.shape[1]
    camera = wp.min(image, rows_ndc.shape[0] - 1)
    v = verts[image, vertex]
    zero = min_depth - min_depth
    out = type(v)(zero, zero, v[2])
    if v[2] > min_depth:
        out = type(v)(
            wp.dot(rows_ndc[camera, 0], v) / v[2], wp.dot(rows_ndc[camera, 1], v) / v[2], v[2]
        )
    projected[image, vertex] = out


def project_adjoint(
    projected: wp.array2d(dtype=Any),
    rows_ndc: wp.array2d(dtype=Any),
    first: int,
    min_depth: Any,
    projected_grad: wp.array2d(dtype=Any),
    verts_grad: wp.array2d(dtype=Any),
):
    """Per vertex: the gradient in camera space."""
    i = first + wp.tid()
    image = i / projected.shape[1]
    vertex = i - image * projected.shape[1]
    camera = wp.min(image, rows_ndc.shape[0] - 1)
    p = projected[image, vertex]
    g = projected_grad[image, vertex]
    zero = min_depth - min_depth
    out = type(p)(zero, zero, g[2])
    if p[2] > min_depth:
        gx = g[0] / p[2]
        gy = g[1] / p[2]
        along = type(p)(zero, zero, g[2] - gx * p[0] - gy * p[1])
        out = gx * rows_ndc[camera, 0] + gy * rows_ndc[camera, 1] + along
    verts_grad[image, vertex] = out
