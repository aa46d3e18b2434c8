"""Pictures of meshes: laid over the photo they were fitted to, or seen from another side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.annotate import PAPER, Color, check_image
from meshreg.render.annotate import contact_sheet as contact_sheet
from meshreg.render.annotate import draw_keypoints as draw_keypoints
from meshreg.render.rasterizer import Rasterizer
from meshreg.render.rasterizer import rasterizer as load_rasterizer
from meshreg.render.shading import Scene, Window, render_rgba

Meshes = Float[Tensor, "V 3"] | Float[Tensor, "P V 3"] | Sequence[Float[Tensor, "V 3"]]

# One colour per person, in this order and then again from the start.
PERSON_COLORS: tuple[Color, ...] = (
    (184, 210, 238),
    (238, 214, 184),
    (190, 220, 188),
    (232, 190, 200),
    (206, 196, 234),
    (234, 226, 172),
)
SHADOW = 0.22  # how much of the paper's light the shadow takes
VIEW_FOV_DEG = 25.0  # of the shorter image side; long enough not to distort a body
VIEW_MARGIN = 0.06  # share of the image left free on each side
BAND_PIXELS = 2**21  # drawn at once, which bounds the memory for large photos


def _person_colors(color: Color | Sequence[Color] | None, count: int) -> list[Color]:
    if color is None:
        choices: Sequence[Color] = PERSON_COLORS
    elif isinstance(color[0], Sequence):
        choices = color  # type: ignore[assignment]  # the first element told which of the two it is
    else:
        choices = [color]  # type: ignore[list-item]
    return [choices[person % len(choices)] for person in range(count)]


def _scene(meshes: Meshes, faces: Tensor, color: Color | Sequence[Color] | None) -> Scene:
    """Put all people into one mesh, so that they hide each other as they should."""
    people = [meshes] if isinstance(meshes, Tensor) and meshes.ndim == 2 else list(meshes)
    colors = _person_colors(color, len(people))
    if not people:
        return Scene(torch.zeros(0, 3), faces.new_zeros(0, 3).long(), torch.zeros(0, 3))
    verts = torch.cat([person.detach().float() for person in people])
    if not bool(verts.isfinite().all()):
        raise InputError(
            "expected finite vertices, found NaN or infinity: look at the fit that made them."
        )
    starts = torch.tensor([0] + [len(person) for person in people[:-1]]).cumsum(0).tolist()
    return Scene(
        verts_cam=verts,
        faces=torch.cat([faces.long() + start for start in starts]),
        face_color=(verts.new_tensor(colors) / 255).repeat_interleave(len(faces), dim=0),
    )


def _visible_window(verts_cam: Tensor, K: Tensor, width: int, height: int) -> Window | None:
    """The pixels that the mesh can touch, so that a small person in a large photo is cheap."""
    in_front = verts_cam[:, 2] > 1e-6
    if not bool(in_front.any()):
        return None
    if not bool(in_front.all()):  # parts behind the camera project to anywhere
        return 0, 0, width, height
    homogeneous = verts_cam @ K.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    limit = pixels.new_tensor([width, height])
    # Pixel i spans i - 0.5 .. i + 0.5.
    x0, y0 = (pixels.amin(0) + 0.5).floor().clamp(min=0).minimum(limit).int().tolist()
    x1, y1 = (pixels.amax(0) + 1.5).floor().clamp(min=0).minimum(limit).int().tolist()
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _bands(window: Window, supersample: int) -> Iterator[Window]:
    x0, y0, x1, y1 = window
    rows = max(1, BAND_PIXELS // ((x1 - x0) * supersample**2))
    for top in range(y0, y1, rows):
        yield x0, top, x1, min(top + rows, y1)


def _paint(
    canvas: np.ndarray, scene: Scene, K: Tensor, alpha: float, supersample: int, backend: Rasterizer
) -> None:
    """Blend the scene into the canvas in place; pixels it does not touch keep their bits."""
    height, width = canvas.shape[:2]
    K = K.detach().to(scene.verts_cam)
    window = _visible_window(scene.verts_cam, K, width, height)
    if window is None:
        return
    for band in _bands(window, supersample):
        x0, y0, x1, y1 = band
        rgba = render_rgba(scene, K, band, supersample=supersample, rasterizer=backend)
        layer = (alpha * rgba).cpu().numpy()
        region = canvas[y0:y1, x0:x1]
        region[:] = np.rint(region * (1 - layer[..., 3:]) + 255 * layer[..., :3])


def _check_drawing(alpha: float, supersample: int) -> None:
    if not 0 <= alpha <= 1 or supersample < 1:
        raise InputError(
            f"expected 0 <= alpha <= 1 and supersample >= 1, found {alpha} and {supersample}: "
            "alpha 1 hides the photo behind the mesh, supersample 2 smooths its edges."
        )


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
    _check_drawing(alpha, supersample)
    canvas = image.copy()
    scene = _scene(verts_cam, faces, color)
    _paint(canvas, scene, K, alpha, supersample, rasterizer or load_rasterizer())
    return canvas


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


def _framing_shift(verts: Tensor, K: Tensor, width: int, height: int) -> Tensor:
    """The translation that centres the mesh in the view and steps back until all of it fits."""
    low, high = verts.amin(0), verts.amax(0)
    centred = verts - (low + high) / 2
    half = verts.new_tensor([width, height]) / 2 * (1 - 2 * VIEW_MARGIN)
    slope = half / K[0, 0].to(verts)
    distance = (centred[:, :2].abs() / slope - centred[:, 2:]).max().clamp(min=0.01)
    return (
        torch.stack((distance.new_zeros(()), distance.new_zeros(()), distance)) - (low + high) / 2
    )


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
            shadow = torch.nn.functional.avg_pool2d(shadow, kernel, stride=1, padding=padding)
    canvas[:] = np.rint(canvas * (1 - SHADOW * shadow[0, 0, ..., None].cpu().numpy()))


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
    _check_drawing(1.0, supersample)
    height, width = size
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    scene = _scene(verts_cam, faces, color)
    if len(scene.verts_cam) == 0:
        return canvas
    backend = rasterizer or load_rasterizer()
    R_view_cam = _view_rotation(azimuth_deg, elevation_deg).to(scene.verts_cam)
    K = _view_K(width, height).to(scene.verts_cam)
    verts_view = scene.verts_cam @ R_view_cam.T
    pressed = scene.verts_cam.clone()
    pressed[:, 1] = pressed[:, 1].max()
    ground_view = pressed @ R_view_cam.T
    shift = _framing_shift(torch.cat((verts_view, ground_view)), K, width, height)
    if elevation_deg >= 0:  # from below, the ground would hide the body
        _cast_shadow(canvas, ground_view + shift, scene.faces, K, backend)
    _paint(canvas, replace(scene, verts_cam=verts_view + shift), K, 1.0, supersample, backend)
    return canvas
