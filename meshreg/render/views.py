"""Meshes seen from another side: one view, a walk all around them, or how they move."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d

from meshreg.errors import InputError
from meshreg.render.annotate import PAPER, Color
from meshreg.render.painting import Meshes, Scene, check_drawing, paint, scene_of
from meshreg.render.rasterizer import Rasterizer
from meshreg.render.rasterizer import rasterizer as load_rasterizer
from meshreg.render.shading import studio

SHADOW = 0.22  # how much of the paper's light the shadow takes
VIEW_FOV_DEG = 25.0  # of the shorter image side; long enough not to distort a body
VIEW_MARGIN = 0.06  # share of the image left free on each side


def _view_rotation(azimuth_deg: float, elevation_deg: float) -> Tensor:
    """R_view_cam of a viewer who walked around the upright axis and then climbed."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    right = (math.cos(azimuth), 0.0, math.sin(azimuth))
    forward = (
        -math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    )
    x, z = torch.tensor(right), torch.tensor(forward)
    return torch.stack((x, torch.linalg.cross(z, x), z))


def _view_K(width: int, height: int) -> Tensor:
    focal = 0.5 * min(width, height) / math.tan(math.radians(VIEW_FOV_DEG) / 2)
    return torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])


def _pressed_flat(verts_cam: Tensor) -> Tensor:
    """The mesh on the ground, which touches its lowest point."""
    pressed = verts_cam.clone()
    pressed[:, 1] = pressed[:, 1].max()
    return pressed


def _distance(points: Tensor, K: Tensor, size: tuple[int, int]) -> Tensor:
    """How far forward points around the eye must move until the view holds all of them."""
    half = points.new_tensor([size[1], size[0]]) / 2 * (1 - 2 * VIEW_MARGIN)
    slope = half / K[0, 0]
    return (points[:, :2].abs() / slope - points[:, 2:]).max().clamp(min=0.01)


def _cast_shadow(
    canvas: np.ndarray, ground: Tensor, faces: Tensor, K: Tensor, backend: Rasterizer
) -> None:
    """Darken the paper softly where the mesh, pressed flat onto the ground, would be seen."""
    size = canvas.shape[:2]
    with torch.no_grad():
        fragments = backend.fragments(ground[None], faces, K[None], size)
    shadow = (fragments.pix_to_face[None, ..., 0] >= 0).to(K)
    radius = max(1, min(size) // 40)
    for _ in range(3):  # three box filters come close to a Gaussian
        for kernel, padding in (
            ((2 * radius + 1, 1), (radius, 0)),
            ((1, 2 * radius + 1), (0, radius)),
        ):
            shadow = avg_pool2d(shadow, kernel, stride=1, padding=padding)
    canvas[:] = np.rint(canvas * (1 - SHADOW * shadow[0, 0, ..., None].cpu().numpy()))


def _picture(
    scene: Scene,
    R_view_cam: Tensor,
    t_view_cam: Tensor,
    size: tuple[int, int],
    *,
    shadow: bool,
    supersample: int,
    rasterizer: Rasterizer,
) -> np.ndarray:
    """The scene, moved into the view's axes, on white paper."""
    canvas = np.full((*size, 3), PAPER, np.uint8)
    K = _view_K(size[1], size[0]).to(scene.verts_cam)
    if shadow:
        ground_view = _pressed_flat(scene.verts_cam) @ R_view_cam.T + t_view_cam
        _cast_shadow(canvas, ground_view, scene.faces, K, rasterizer)
    seen = replace(scene, verts_cam=scene.verts_cam @ R_view_cam.T + t_view_cam)
    paint(canvas, seen, K, studio, alpha=1.0, supersample=supersample, rasterizer=rasterizer)
    return canvas


def draw_view(
    verts_cam: Meshes,
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    azimuth_deg: float = 90.0,
    elevation_deg: float = 0.0,
    color: Color | Sequence[Color] | None = None,
    supersample: int = 2,
    rasterizer: Rasterizer | None = None,
) -> np.ndarray:
    """Show the bodies from another side on white paper, framed to fill an (H, W) picture.

    The upright axis is the photo camera's up. The viewer walks `azimuth_deg` around it, towards the
    photo's right side (0 = where the photo was taken, 90 = from the right), then climbs by
    `elevation_deg` (90 = from the top, the photo's depth pointing up).

    Raises:
        InputError: if a vertex is not finite.
    """
    check_drawing(1.0, supersample)
    scene = scene_of(verts_cam, faces, color)
    if len(scene.verts_cam) == 0:
        return np.full((*size, 3), PAPER, np.uint8)
    R_view_cam = _view_rotation(azimuth_deg, elevation_deg).to(scene.verts_cam)
    points = torch.cat((scene.verts_cam, _pressed_flat(scene.verts_cam))) @ R_view_cam.T
    middle = (points.amin(0) + points.amax(0)) / 2
    t_view_cam = -middle
    t_view_cam[2] += _distance(points - middle, _view_K(size[1], size[0]), size)
    return _picture(
        scene,
        R_view_cam,
        t_view_cam,
        size,
        shadow=elevation_deg >= 0,  # from below, the ground would hide the body
        supersample=supersample,
        rasterizer=rasterizer or load_rasterizer(),
    )


def turntable(
    verts_cam: Meshes,
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    frames: int = 36,
    elevation_deg: float = 10.0,
    color: Color | Sequence[Color] | None = None,
    supersample: int = 2,
    rasterizer: Rasterizer | None = None,
) -> list[np.ndarray]:
    """Walk once around the bodies: (H, W) pictures as of `draw_view`, at one distance.

    The first picture is seen from the photo's side, the one after a quarter from the photo's right.
    The last one is a step short of the first, so that they repeat without a jolt.

    Raises:
        InputError: if a vertex is not finite, or `frames` is less than 1.
    """
    check_drawing(1.0, supersample)
    if frames < 1:
        raise InputError(f"expected at least one frame, found {frames}: 36 turn smoothly.")
    scene = scene_of(verts_cam, faces, color)
    if len(scene.verts_cam) == 0:
        return [np.full((*size, 3), PAPER, np.uint8) for _ in range(frames)]
    steps = [360.0 * i / frames for i in range(frames)]
    rotations = [_view_rotation(step, elevation_deg).to(scene.verts_cam) for step in steps]
    middle = (scene.verts_cam.amin(0) + scene.verts_cam.amax(0)) / 2
    points = torch.cat((scene.verts_cam, _pressed_flat(scene.verts_cam))) - middle
    K = _view_K(size[1], size[0])
    distance = torch.stack([_distance(points @ R.T, K, size) for R in rotations]).max()
    forward = distance * torch.tensor([0.0, 0.0, 1.0]).to(distance)
    backend = rasterizer or load_rasterizer()
    return [
        _picture(
            scene,
            R_view_cam,
            forward - R_view_cam @ middle,
            size,
            shadow=elevation_deg >= 0,
            supersample=supersample,
            rasterizer=backend,
        )
        for R_view_cam in rotations
    ]


def draw_motion(
    verts_cam: Float[Tensor, "T V 3"],
    faces: Int[Tensor, "F 3"],
    size: tuple[int, int],
    *,
    azimuth_deg: float = 35.0,
    elevation_deg: float = 14.0,
    supersample: int = 2,
    rasterizer: Rasterizer | None = None,
) -> list[np.ndarray]:
    """A body over time in one view that holds all of its motion: (H, W) pictures as of `draw_view`.

    Raises:
        InputError: if a vertex is not finite.
    """
    check_drawing(1.0, supersample)
    R_view_cam = _view_rotation(azimuth_deg, elevation_deg).to(verts_cam)
    corners = verts_cam.flatten(0, 1)
    points = torch.cat((corners, _pressed_flat(corners))) @ R_view_cam.T
    middle = (points.amin(0) + points.amax(0)) / 2
    t_view_cam = -middle
    t_view_cam[2] += _distance(points - middle, _view_K(size[1], size[0]), size)
    backend = rasterizer or load_rasterizer()
    return [
        _picture(
            scene_of(frame, faces, None),
            R_view_cam,
            t_view_cam,
            size,
            shadow=elevation_deg >= 0,
            supersample=supersample,
            rasterizer=backend,
        )
        for frame in verts_cam
    ]
