"""Meshes onto an image: sampled finely, coloured by a painter, averaged and blended in place."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from meshreg.errors import InputError
from meshreg.render.annotate import Color
from meshreg.render.rasterizer import Rasterizer

Meshes = Float[Tensor, "V 3"] | Float[Tensor, "P V 3"] | Sequence[Float[Tensor, "V 3"]]
Window = tuple[int, int, int, int]  # pixels x0 <= x < x1, y0 <= y < y1

# One colour per person, in this order and then again from the start.
PERSON_COLORS: tuple[Color, ...] = (
    (184, 210, 238),
    (238, 214, 184),
    (190, 220, 188),
    (232, 190, 200),
    (206, 196, 234),
    (234, 226, 172),
)
NEAR = 0.01  # metres; a body that reaches behind the camera is cut here
BAND_PIXELS = 2**21  # drawn at once, which bounds the memory for large photos


@dataclass(frozen=True, eq=False)
class Scene:
    """One triangle soup in camera coordinates with a colour per face."""

    verts_cam: Float[Tensor, "V 3"]  # metres
    faces: Int[Tensor, "F 3"]  # int64
    face_color: Float[Tensor, "F 3"]  # display RGB in 0..1


@dataclass(frozen=True, eq=False)
class Samples:
    """The points of the front surface that are seen; `step` of them lie side by side in a pixel."""

    face: Int[Tensor, "N"]  # int64
    bary: Float[Tensor, "N 3"]  # weights of the face's corners, in space
    K: Float[Tensor, "3 3"]  # intrinsics of the finer image, one sample per pixel
    step: int

    def mix(self, scene: Scene, per_vertex: Float[Tensor, "V C"]) -> Float[Tensor, "N C"]:
        """Interpolate values of vertices at the samples."""
        corners = scene.faces[self.face]
        return embedding_bag(corners, per_vertex, per_sample_weights=self.bary, mode="sum")


# Gives each sample display RGB in 0..1, multiplied by its opacity, and the opacity.
Painter = Callable[[Scene, Samples], Float[Tensor, "N 4"]]


def _person_colors(color: Color | Sequence[Color] | None, count: int) -> list[Color]:
    if color is None:
        choices: Sequence[Color] = PERSON_COLORS
    elif isinstance(color[0], Sequence):
        choices = color  # type: ignore[assignment]  # the first element told which of the two it is
    else:
        choices = [color]  # type: ignore[list-item]
    return [choices[person % len(choices)] for person in range(count)]


def scene_of(meshes: Meshes, faces: Tensor, color: Color | Sequence[Color] | None) -> Scene:
    """Put all people into one mesh, so that they hide each other as they should.

    Raises:
        InputError: if a vertex is not finite.
    """
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


def window_K(K: Float[Tensor, "3 3"], x0: int, y0: int, scale: int) -> Float[Tensor, "3 3"]:
    """Intrinsics of a window whose first pixel is (x0, y0), drawn `scale` times as fine."""
    to_window = K.new_tensor(
        [
            [scale, 0, (0.5 - x0) * scale - 0.5],
            [0, scale, (0.5 - y0) * scale - 0.5],
            [0, 0, 1],
        ]
    )
    return to_window @ K


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


def _box_filter(pixels: Float[Tensor, "h w C"], scale: int) -> Float[Tensor, "H W C"]:
    # Sums of shifted pictures: a mean over axes this short would take three times as long.
    rows = sum(pixels[i::scale] for i in range(1, scale)) + pixels[::scale]
    total = sum(rows[:, i::scale] for i in range(1, scale)) + rows[:, ::scale]
    return total / scale**2


@torch.no_grad()
def render_rgba(
    scene: Scene,
    K: Float[Tensor, "3 3"],
    window: Window,
    painter: Painter,
    *,
    supersample: int,
    rasterizer: Rasterizer,
) -> Float[Tensor, "H W 4"]:
    """The painted scene: RGB already multiplied by coverage, then coverage; all in 0..1."""
    x0, y0, x1, y1 = window
    size = ((y1 - y0) * supersample, (x1 - x0) * supersample)
    fine_K = window_K(K, x0, y0, supersample)
    reaches_behind = bool((scene.verts_cam[:, 2] < NEAR).any())  # cutting takes its time
    fragments = rasterizer.fragments(
        scene.verts_cam[None],
        scene.faces,
        fine_K[None],
        size,
        z_clip=NEAR if reaches_behind else None,
    )
    face = fragments.pix_to_face.reshape(-1).long()
    covered = torch.nonzero(face >= 0)[:, 0]
    samples = Samples(
        face=face[covered],
        bary=fragments.bary_coords.reshape(-1, 3)[covered].to(scene.verts_cam),
        K=fine_K,
        step=supersample,
    )
    rgba = scene.verts_cam.new_zeros(len(face), 4)
    rgba[covered] = painter(scene, samples)
    return _box_filter(rgba.reshape(*size, 4), supersample)


def paint(
    canvas: np.ndarray,  # (H, W, 3) uint8
    scene: Scene,
    K: Float[Tensor, "3 3"],
    painter: Painter,
    *,
    alpha: float,
    supersample: int,
    rasterizer: Rasterizer,
) -> None:
    """Blend the scene into the canvas in place; pixels it does not touch keep their bits."""
    height, width = canvas.shape[:2]
    K = K.detach().to(scene.verts_cam)
    window = _visible_window(scene.verts_cam, K, width, height)
    if window is None:
        return
    for band in _bands(window, supersample):
        x0, y0, x1, y1 = band
        rgba = render_rgba(scene, K, band, painter, supersample=supersample, rasterizer=rasterizer)
        layer = (alpha * rgba).cpu().numpy()
        region = canvas[y0:y1, x0:x1]
        region[:] = np.rint(region * (1 - layer[..., 3:]) + 255 * layer[..., :3])


def check_drawing(alpha: float, supersample: int) -> None:
    """Refuse settings that no picture can be drawn with.

    Raises:
        InputError: if alpha is not in 0..1, or there is no sample per pixel.
    """
    if not 0 <= alpha <= 1 or supersample < 1:
        raise InputError(
            f"expected 0 <= alpha <= 1 and supersample >= 1, found {alpha} and {supersample}: "
            "alpha 1 hides the photo behind the mesh, supersample 2 smooths its edges."
        )
