"""Find the nearest K faces of every pixel: one search for the CPU, one for CUDA."""

# Kernels list every array they touch, and Warp reads types that mypy cannot.
# ruff: noqa: PLR0913
# mypy: disable-error-code="no-untyped-def,operator,index,call-overload"

from typing import Any

import warp as wp

from meshreg.render.warp.functions import (
    TILE,
    Settings,
    barycentric,
    edge_value,
    edge_values,
    inverse_lengths2,
    is_inside,
    outline_distance2,
    outline_limits,
    pixel_centre,
)


@wp.func
def clear_layers(
    pixel: int,
    layers: int,
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    count[pixel] = 0
    for k in range(layers):
        index[pixel, k] = wp.int64(-1)
        depth[pixel, k] = -type(depth[pixel, k])(1.0)


@wp.func
def keep_layer(
    pixel: int,
    face: int,
    z: Any,
    layers: int,
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    """Insert a face into a pixel's list, which is ordered by depth and then by face number."""
    n = count[pixel]
    place = int(n)
    wanted = True
    if n == layers:
        place = layers - 1
        last = depth[pixel, place]
        wanted = z < last or (z == last and wp.int64(face) < index[pixel, place])
    else:
        count[pixel] = n + 1
    if wanted:
        while place > 0 and (
            depth[pixel, place - 1] > z
            or (depth[pixel, place - 1] == z and index[pixel, place - 1] > wp.int64(face))
        ):
            depth[pixel, place] = depth[pixel, place - 1]
            index[pixel, place] = index[pixel, place - 1]
            place = place - 1
        depth[pixel, place] = z
        index[pixel, place] = wp.int64(face)


@wp.func
def displaces_partner(
    p: Any,
    pixel: int,
    partner: int,
    distance: Any,
    a: Any,
    b: Any,
    c: Any,
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    """Of the two pieces of a cut face a pixel keeps the nearer one; a, b, c are the partner's.

    Takes the partner off the pixel's list and says True if `distance` is the shorter one.
    """
    n = count[pixel]
    place = int(n)
    for k in range(n):
        if index[pixel, k] == wp.int64(partner):
            place = k
    if place == n:
        return True
    d, edge, t = outline_distance2(p, a, b, c, inverse_lengths2(a, b, c))
    if is_inside(edge_values(p, a, b, c, wp.sign(edge_value(c, a, b))), 0):
        d = -d
    if distance >= d:
        return False
    for k in range(place, n - 1):
        index[pixel, k] = index[pixel, k + 1]
        depth[pixel, k] = depth[pixel, k + 1]
    index[pixel, n - 1] = wp.int64(-1)
    depth[pixel, n - 1] = -type(d)(1.0)
    count[pixel] = n - 1
    return True


@wp.func
def try_face(
    p: Any,
    pixel: int,
    image: int,
    f: int,
    a: Any,
    b: Any,
    c: Any,
    limits: Any,
    inverse: Any,
    blur: Any,
    s: Settings,
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    partner: wp.array2d(dtype=wp.int32),
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    """Test one face at one pixel and keep it if it is hit and near enough."""
    zero = blur - blur
    e = edge_values(p, a, b, c, wp.sign(edge_value(c, a, b)))
    possible = e[0] >= limits[0] and e[1] >= limits[1] and e[2] >= limits[2]
    if possible and count[pixel] == s.layers and (s.clip == 1 or blur == zero):
        # All of the face lies behind the last kept layer; the factor leaves room for rounding.
        nearest = wp.min(a[2], wp.min(b[2], c[2])) * type(blur)(0.9999)
        possible = nearest <= depth[pixel, s.layers - 1]
    if possible:
        hit = is_inside(e, s.closed)
        d = zero
        if not hit and blur > zero:
            d, edge, t = outline_distance2(p, a, b, c, inverse)
            hit = d < blur
        if hit:
            w = barycentric(e, a, b, c, s.perspective, s.clip)
            z = w[0] * a[2] + w[1] * b[2] + w[2] * c[2]
            hit = z >= zero
            if hit and partner.shape[0] > 0:
                other = partner[image, f]
                if other >= 0:
                    d, edge, t = outline_distance2(p, a, b, c, inverse)
                    d = wp.where(is_inside(e, s.closed), -d, d)
                    hit = displaces_partner(
                        p,
                        pixel,
                        image * s.num_faces + other,
                        d,
                        verts[image, faces[image, other, 0]],
                        verts[image, faces[image, other, 1]],
                        verts[image, faces[image, other, 2]],
                        count,
                        index,
                        depth,
                    )
            if hit:
                keep_layer(pixel, image * s.num_faces + f, z, s.layers, count, index, depth)


def find_layers_by_tile(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    box: wp.array(dtype=wp.vec4i),
    start: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    partner: wp.array2d(dtype=wp.int32),
    first: int,
    s: Settings,
    reach: Any,
    blur: Any,
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    """One task per tile: each face visits only its own pixels. Fewest tests, for the CPU."""
    task = first + wp.tid()
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    topology = wp.min(image, faces.shape[0] - 1)
    for y in range(ty * TILE, wp.min(ty * TILE + TILE, s.height)):
        for x in range(tx * TILE, wp.min(tx * TILE + TILE, s.width)):
            clear_layers((image * s.height + y) * s.width + x, s.layers, count, index, depth)
    for j in range(start[task], start[task + 1]):
        f = listed[j]
        bound = box[image * s.num_faces + f]
        a = verts[image, faces[topology, f, 0]]
        b = verts[image, faces[topology, f, 1]]
        c = verts[image, faces[topology, f, 2]]
        limits = a - a
        inverse = a - a
        # Sharp pictures of whole faces can do without these square roots and divisions.
        if blur > blur - blur or partner.shape[0] > 0:
            limits = outline_limits(a, b, c, reach)
            inverse = inverse_lengths2(a, b, c)
        for y in range(wp.max(bound[2], ty * TILE), wp.min(bound[3], ty * TILE + TILE - 1) + 1):
            for x in range(wp.max(bound[0], tx * TILE), wp.min(bound[1], tx * TILE + TILE - 1) + 1):
                p = pixel_centre(x, y, s, a)
                pixel = (image * s.height + y) * s.width + x
                try_face(
                    p,
                    pixel,
                    image,
                    f,
                    a,
                    b,
                    c,
                    limits,
                    inverse,
                    blur,
                    s,
                    verts,
                    faces,
                    partner,
                    count,
                    index,
                    depth,
                )


def find_layers_by_pixel(
    verts: wp.array2d(dtype=Any),
    faces: wp.array3d(dtype=wp.int32),
    box: wp.array(dtype=wp.vec4i),
    start: wp.array(dtype=wp.int32),
    listed: wp.array(dtype=wp.int32),
    partner: wp.array2d(dtype=wp.int32),
    first: int,
    s: Settings,
    reach: Any,
    blur: Any,
    count: wp.array(dtype=wp.int32),
    index: wp.array2d(dtype=wp.int64),
    depth: wp.array2d(dtype=Any),
):
    """One thread per pixel of a 16-pixel tile; neighbours read the same face. For CUDA."""
    i = first + wp.tid()
    task = i / 256
    lane = i - task * 256
    image = task / (s.tiles_x * s.tiles_y)
    ty = (task - image * s.tiles_x * s.tiles_y) / s.tiles_x
    tx = task - (image * s.tiles_y + ty) * s.tiles_x
    # 32 lanes cover a patch of 8 x 4 pixels, so that they tend to hit the same faces.
    patch = lane / 32
    spot = lane - patch * 32
    x = tx * 16 + (patch - patch / 2 * 2) * 8 + (spot - spot / 8 * 8)
    y = ty * 16 + patch / 2 * 4 + spot / 8
    if x < s.width and y < s.height:
        topology = wp.min(image, faces.shape[0] - 1)
        pixel = (image * s.height + y) * s.width + x
        clear_layers(pixel, s.layers, count, index, depth)
        for j in range(start[task], start[task + 1]):
            f = listed[j]
            bound = box[image * s.num_faces + f]
            if x >= bound[0] and x <= bound[1] and y >= bound[2] and y <= bound[3]:
                a = verts[image, faces[topology, f, 0]]
                b = verts[image, faces[topology, f, 1]]
                c = verts[image, faces[topology, f, 2]]
                p = pixel_centre(x, y, s, a)
                limits = outline_limits(a, b, c, reach)
                inverse = inverse_lengths2(a, b, c)
                try_face(
                    p,
                    pixel,
                    image,
                    f,
                    a,
                    b,
                    c,
                    limits,
                    inverse,
                    blur,
                    s,
                    verts,
                    faces,
                    partner,
                    count,
                    index,
                    depth,
                )
