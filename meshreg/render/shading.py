"""Draws a coloured mesh as a soft-lit, anti-aliased picture with transparency."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.geometry.mesh import face_normals, vertex_normals
from meshreg.render.rasterizer import Rasterizer

# A studio that travels with the camera. Directions lead from the surface to the light, in camera
# axes (x right, y down, z forward); strengths are linear light.
KEY_DIRECTION, KEY_STRENGTH = (-0.70, -0.75, -0.55), 0.92
FILL_DIRECTION, FILL_STRENGTH = (0.75, 0.05, -0.65), 0.22
SKY_STRENGTH, GROUND_STRENGTH = 0.28, 0.07
RIM_STRENGTH, GLOSS_STRENGTH, GLOSS_EXPONENT = 0.20, 0.07, 18.0
WRAP = 0.15  # how far the key light reaches around the terminator, which keeps shadows soft
GAMMA = 2.2  # close enough to the sRGB curve for a display

Window = tuple[int, int, int, int]  # pixels x0 <= x < x1, y0 <= y < y1


@dataclass(frozen=True, eq=False)
class Scene:
    """One triangle soup in camera coordinates with a colour per face."""

    verts_cam: Float[Tensor, "V 3"]  # metres
    faces: Int[Tensor, "F 3"]  # int64
    face_color: Float[Tensor, "F 3"]  # display RGB in 0..1


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


def shade(
    normals: Float[Tensor, "N 3"], toward_eye: Float[Tensor, "N 3"], color: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Light surface points by a key, a fill, a sky and a faint rim; display RGB in 0..1."""
    key, fill = (
        torch.nn.functional.normalize(normals.new_tensor(direction), dim=0)
        for direction in (KEY_DIRECTION, FILL_DIRECTION)
    )
    upward = 0.5 - 0.5 * normals[:, 1:2]
    key_light = ((normals @ key)[:, None] + WRAP).clamp(min=0) / (1 + WRAP)
    fill_light = (normals @ fill)[:, None].clamp(min=0)
    diffuse = (
        GROUND_STRENGTH
        + (SKY_STRENGTH - GROUND_STRENGTH) * upward
        + KEY_STRENGTH * key_light
        + FILL_STRENGTH * fill_light
    )
    facing = (normals * toward_eye).sum(1, keepdim=True).clamp(0, 1)
    rim = RIM_STRENGTH * (1 - facing) ** 4 * upward
    halfway = torch.nn.functional.normalize(toward_eye + key, dim=1)
    gloss = (normals * halfway).sum(1, keepdim=True).clamp(min=0) ** GLOSS_EXPONENT
    light = color**GAMMA * diffuse + rim + GLOSS_STRENGTH * gloss
    return light.clamp(0, 1) ** (1 / GAMMA)


def _shaded_pixels(
    scene: Scene, face: Int[Tensor, "N"], bary: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    corners = scene.faces[face]
    normals = vertex_normals(scene.verts_cam, scene.faces)
    normal = (bary[..., None] * normals[corners]).sum(1)
    toward_eye = -(bary[..., None] * scene.verts_cam[corners]).sum(1)
    # Where the near plane or a hole lets the eye see the inside, light that inside.
    flat = face_normals(scene.verts_cam, scene.faces)[face]
    inside = (flat * toward_eye).sum(1, keepdim=True) < 0
    return shade(
        torch.nn.functional.normalize(torch.where(inside, -normal, normal), dim=1),
        torch.nn.functional.normalize(toward_eye, dim=1),
        scene.face_color[face],
    )


def _box_filter(pixels: Float[Tensor, "h w C"], scale: int) -> Float[Tensor, "H W C"]:
    height, width, channels = pixels.shape
    blocks = pixels.reshape(height // scale, scale, width // scale, scale, channels)
    return blocks.mean(dim=(1, 3))


@torch.no_grad()
def render_rgba(
    scene: Scene,
    K: Float[Tensor, "3 3"],
    window: Window,
    *,
    supersample: int,
    rasterizer: Rasterizer,
) -> Float[Tensor, "H W 4"]:
    """The shaded scene: RGB already multiplied by coverage, then coverage; all in 0..1."""
    x0, y0, x1, y1 = window
    fragments = rasterizer.fragments(
        scene.verts_cam[None],
        scene.faces,
        window_K(K, x0, y0, supersample)[None],
        size=((y1 - y0) * supersample, (x1 - x0) * supersample),
        faces_per_pixel=1,
    )
    face = fragments.pix_to_face[0, ..., 0].long()
    covered = face >= 0
    rgba = scene.verts_cam.new_zeros(*face.shape, 4)
    bary = fragments.bary_coords[0, ..., 0, :][covered].to(rgba.dtype)
    color = _shaded_pixels(scene, face[covered], bary)
    rgba[covered] = torch.cat((color, torch.ones_like(color[:, :1])), dim=1)
    return _box_filter(rgba, supersample)
