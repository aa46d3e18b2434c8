"""Meshes over the photo they were fitted to: shaded, as a wire net, or as colours of direction."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from meshreg.errors import InputError
from meshreg.render.annotate import Color, check_image
from meshreg.render.annotate import contact_sheet as contact_sheet
from meshreg.render.annotate import draw_keypoints as draw_keypoints
from meshreg.render.annotate import draw_labels as draw_labels
from meshreg.render.painting import Meshes, Painter, Samples, Scene, check_drawing, paint, scene_of
from meshreg.render.rasterizer import Rasterizer
from meshreg.render.rasterizer import rasterizer as load_rasterizer
from meshreg.render.shading import sample_normals, studio
from meshreg.render.views import draw_view as draw_view
from meshreg.render.views import turntable as turntable


def draw_overlay(
    image: np.ndarray,
    verts_cam: Meshes,
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "3 3"],
    *,
    color: Color | Sequence[Color] | None = None,
    alpha: float = 0.9,
    supersample: int = 2,
    rasterizer: Rasterizer | None = None,
) -> np.ndarray:
    """Lay one or several shaded bodies over the photo they were fitted to.

    Args:
        image: RGB, (H, W, 3) uint8; it is not changed.
        verts_cam: one body, a batch or a list of bodies, metres, in the photo's camera.
        faces: triangles, shared by all bodies.
        K: the photo's intrinsics.
        color: one RGB for all bodies or one per body; by default each body gets its own.
        alpha: 1 hides the photo behind the body.
        supersample: samples per pixel side; 2 or more smooths the edges.
        rasterizer: what finds the visible triangle of each pixel.

    Raises:
        InputError: if the image is not 8-bit RGB, or a vertex is not finite.
    """
    check_image(image)
    check_drawing(alpha, supersample)
    canvas = image.copy()
    paint(
        canvas,
        scene_of(verts_cam, faces, color),
        K,
        studio,
        alpha=alpha,
        supersample=supersample,
        rasterizer=rasterizer or load_rasterizer(),
    )
    return canvas


def _normal_colors(scene: Scene, samples: Samples) -> Float[Tensor, "N 4"]:
    right_up_back = sample_normals(scene, samples) * scene.verts_cam.new_tensor([1, -1, -1])
    return pad(0.5 + 0.5 * right_up_back, (0, 1), value=1.0)


def draw_normals(
    verts_cam: Meshes,
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "3 3"],
    size: tuple[int, int],
    *,
    supersample: int = 2,
    rasterizer: Rasterizer | None = None,
) -> np.ndarray:
    """Show which way the visible surface faces, as an (H, W) RGB picture on black.

    Red grows to the right, green upwards and blue towards the camera, from 0 for -1 to 255 for +1:
    what faces the camera is (128, 128, 255). `supersample=1` keeps outlines unmixed, for use as
    data.

    Raises:
        InputError: if a vertex is not finite.
    """
    check_drawing(1.0, supersample)
    canvas = np.zeros((*size, 3), np.uint8)
    paint(
        canvas,
        scene_of(verts_cam, faces, None),
        K,
        _normal_colors,
        alpha=1.0,
        supersample=supersample,
        rasterizer=rasterizer or load_rasterizer(),
    )
    return canvas


def _edge_distances(scene: Scene, samples: Samples) -> Float[Tensor, "N"]:
    """How far each sample is from the nearest edge of its face, in samples.

    The distance to the edge opposite corner i is b_i det(p0, p1, p2) / (z |p_j x p_k|), with the
    corners p in homogeneous pixels, b the barycentrics in space and z the sample's depth: no
    division by a corner's depth, so corners behind the camera do no harm.
    """
    # The principal point moves the picture as a whole; without it fewer digits are lost.
    K = samples.K * samples.K.new_tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    seen, of_sample = torch.unique(samples.face, return_inverse=True)
    corners = scene.verts_cam[scene.faces[seen]]
    p = corners @ K.T
    edge = p.roll(-1, 1) - p
    volume = torch.linalg.vecdot(p[:, 0], torch.linalg.cross(edge[:, 0], -edge[:, 2])).abs()
    opposite = torch.linalg.cross(p.roll(-1, 1), edge.roll(-1, 1))  # p_j x (p_k - p_j)
    height = volume[:, None] / opposite[..., :2].norm(dim=-1).clamp(min=1e-30)
    depth = torch.linalg.vecdot(samples.bary, corners[of_sample, :, 2])
    return (samples.bary * height[of_sample]).amin(1).clamp(min=0) / depth


def _net(scene: Scene, samples: Samples, *, width: float) -> Float[Tensor, "N 4"]:
    """Lines of `width` pixels along the edges; each face paints its half of them."""
    distance = _edge_distances(scene, samples)
    opacity = (0.5 * width * samples.step + 0.5 - distance).clamp(0, 1)[:, None]
    return torch.cat((scene.face_color[samples.face] * opacity, opacity), dim=1)


def draw_wireframe(
    image: np.ndarray,
    verts_cam: Meshes,
    faces: Int[Tensor, "F 3"],
    K: Float[Tensor, "3 3"],
    *,
    color: Color | Sequence[Color] | None = None,
    width: float = 0.5,
    supersample: int = 3,
    rasterizer: Rasterizer | None = None,
) -> np.ndarray:
    """Draw the edges of the visible triangles as a smooth net over a photo or a blank picture.

    The arguments are those of `draw_overlay`; `width` is that of the lines in pixels. Edges behind
    another surface are hidden.

    Raises:
        InputError: if the image is not 8-bit RGB, a vertex not finite, or the width not above 0.
    """
    check_image(image)
    check_drawing(1.0, supersample)
    if width <= 0:
        raise InputError(f"expected a line width above 0 pixels, found {width}: 0.5 is fine.")
    canvas = image.copy()
    net: Painter = partial(_net, width=width)
    paint(
        canvas,
        scene_of(verts_cam, faces, color),
        K,
        net,
        alpha=1.0,
        supersample=supersample,
        rasterizer=rasterizer or load_rasterizer(),
    )
    return canvas
