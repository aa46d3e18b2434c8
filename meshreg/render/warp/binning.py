"""Sort faces into image tiles: kernels that find each face's pixels and list the faces per tile."""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import TILE, Settings, edge_value


@wp.func
def lowest_pixel(limit: Any, extent: int, shorter: Any):
    """First pixel index whose centre does not lie beyond the NDC `limit` (axes point backwards)."""
    size = type(limit)(extent)
    place = (size - type(limit)(1.0) - limit * shorter) * type(limit)(0.5)
    # The margin absorbs rounding; the exact test comes later, per pixel.
    return int(wp.ceil(wp.clamp(place - type(limit)(1e-3), type(limit)(-1.0), size)))


@wp.func
def highest_pixel(limit: Any, extent: int, shorter: Any):
    size = type(limit)(extent)
    place = (size - type(limit)(1.0) - limit * shorter) * type(limit)(0.5)
    return int(wp.floor(wp.clamp(place + type(limit)(1e-3), type(limit)(-1.0), size)))


@wp.func
def same_place(a: Any, b: Any):
    return a[0] == b[0] and a[1] == b[1]


def bound_faces(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    first: int,
    s: Settings,
    reach: Any,
    min_area: Any,
    min_depth: Any,
    box: wp.array(dtype=wp.vec4i),
    tile_count: wp.array(dtype=wp.int32),
):
    """Per face: its pixel box (x0, x1, y0, y1), empty if it cannot be seen; count tiles touched."""
    i = first + wp.tid()
    image = i / s.num_faces
    f = i - image * s.num_faces
    topology = wp.min(image, faces.shape[0] - 1)
    a = verts[image, faces[topology, f, 0]]
    b = verts[image, faces[topology, f, 1]]
    c = verts[image, faces[topology, f, 2]]
    area = edge_value(c, a, b)
    nearest = wp.min(a[2], wp.min(b[2], c[2]))
    seen = nearest >= min_depth and wp.abs(area) > min_area
    # Fused arithmetic may leave a face with two equal corners some dust of an area.
    if same_place(a, b) or same_place(b, c) or same_place(c, a):
        seen = False
    if s.cull == 1 and area < area - area:
        seen = False
    box[i] = wp.vec4i(1, 0, 1, 0)
    if seen:
        shorter = type(reach)(wp.min(s.height, s.width))
        left = wp.max(a[0], wp.max(b[0], c[0])) + reach
        right = wp.min(a[0], wp.min(b[0], c[0])) - reach
        top = wp.max(a[1], wp.max(b[1], c[1])) + reach
        bottom = wp.min(a[1], wp.min(b[1], c[1])) - reach
        x0 = wp.max(lowest_pixel(left, s.width, shorter), 0)
        x1 = wp.min(highest_pixel(right, s.width, shorter), s.width - 1)
        y0 = wp.max(lowest_pixel(top, s.height, shorter), 0)
        y1 = wp.min(highest_pixel(bottom, s.height, shorter), s.height - 1)
        if x0 <= x1 and y0 <= y1:
            box[i] = wp.vec4i(x0, x1, y0, y1)
            for ty in range(y0 / TILE, y1 / TILE + 1):
                for tx in range(x0 / TILE, x1 / TILE + 1):
                    wp.atomic_add(tile_count, (image * s.tiles_y + ty) * s.tiles_x + tx, 1)


def list_faces(
    box: wp.array(dtype=wp.vec4i),
    first: int,
    s: Settings,
    order: wp.array(dtype=wp.int32),
    cursor: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
):
    """Write each face into the lists of the tiles its box touches.

    `order` may tell which face of the image comes when; if it is empty they come as numbered.
    """
    i = first + wp.tid()
    image = i / s.num_faces
    if order.shape[0] > 0:
        i = image * s.num_faces + order[i]
    bound = box[i]
    if bound[0] <= bound[1]:
        for ty in range(bound[2] / TILE, bound[3] / TILE + 1):
            for tx in range(bound[0] / TILE, bound[1] / TILE + 1):
                place = wp.atomic_add(cursor, (image * s.tiles_y + ty) * s.tiles_x + tx, 1)
                listed[place] = i - image * s.num_faces
