"""Draws a coloured mesh as a soft-lit, anti-aliased picture with transparency."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.geometry.mesh import face_normals, vertex_normals
from meshreg.render.rasterizer import Rasterizer

# A studio that travels with the camera. Directions lead from the surface to the light, in camera
# axes (x right, y down, z forward); strengths are linear light.
KEY_DIRECTION, KEY_STRENGTH = (-0.85, -0.70, -0.48), 1.02
FILL_DIRECTION, FILL_STRENGTH = (0.55, 0.05, -0.80), 0.26
SKY_STRENGTH, GROUND_STRENGTH = 0.24, 0.07
RIM_STRENGTH, GLOSS_STRENGTH, GLOSS_EXPONENT = 0.20, 0.07, 18.0
WRAP = 0.15  # how far the key light reaches around the terminator, which keeps shadows soft
NEAR = 0.01  # metres; a body that reaches behind the camera is cut here
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
    normals: Float[Tensor, "N 3"], toward_eye: Float[Tensor, "N 3"], albedo: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    """Light surface points by a key, a fill, a sky and a faint rim.

    The albedo is linear, the result is display RGB in 0..1.
    """
    key, fill = (
        normalize(normals.new_tensor(direction), dim=0)
        for direction in (KEY_DIRECTION, FILL_DIRECTION)
    )
    upward = 0.5 - 0.5 * normals[:, 1]
    diffuse = (
        GROUND_STRENGTH
        + (SKY_STRENGTH - GROUND_STRENGTH) * upward
        + KEY_STRENGTH * (normals @ key + WRAP).clamp(min=0) / (1 + WRAP)
        + FILL_STRENGTH * (normals @ fill).clamp(min=0)
    )
    facing = torch.linalg.vecdot(normals, toward_eye).clamp(0, 1)
    halfway = normalize(toward_eye + key, dim=1)
    gloss = torch.linalg.vecdot(normals, halfway).clamp(min=0) ** GLOSS_EXPONENT
    white = RIM_STRENGTH * (1 - facing) ** 4 * upward + GLOSS_STRENGTH * gloss
    return torch.addcmul(white[:, None], albedo, diffuse[:, None]).clamp_(0, 1).pow_(1 / GAMMA)


def _shaded_pixels(
    scene: Scene, face: Int[Tensor, "N"], bary: Float[Tensor, "N 3"]
) -> Float[Tensor, "N 3"]:
    toward_eye = normalize(-scene.verts_cam, dim=1)
    # Where the near plane or a hole lets the eye see the inside, light that inside.
    first = scene.faces[:, 0]
    outward = torch.linalg.vecdot(face_normals(scene.verts_cam, scene.faces), toward_eye[first])
    side = torch.where(outward < 0, -1.0, 1.0)[:, None].to(bary)
    per_vertex = torch.cat((vertex_normals(scene.verts_cam, scene.faces), toward_eye), dim=1)
    per_face = torch.cat((scene.face_color**GAMMA, side), dim=1)[face]
    mixed = torch.einsum("nc,ncd->nd", bary, per_vertex[scene.faces[face]])
    return shade(
        normalize(mixed[:, :3] * per_face[:, 3:], dim=1),
        normalize(mixed[:, 3:], dim=1),
        per_face[:, :3],
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
    size = ((y1 - y0) * supersample, (x1 - x0) * supersample)
    fragments = rasterizer.fragments(
        scene.verts_cam[None],
        scene.faces,
        window_K(K, x0, y0, supersample)[None],
        size,
        z_clip=NEAR,
    )
    face = fragments.pix_to_face.reshape(-1).long()
    covered = torch.nonzero(face >= 0)[:, 0]
    rgba = scene.verts_cam.new_zeros(len(face), 4)
    bary = fragments.bary_coords.reshape(-1, 3)[covered].to(rgba)
    color = _shaded_pixels(scene, face[covered], bary)
    rgba[covered] = torch.nn.functional.pad(color, (0, 1), value=1.0)
    return _box_filter(rgba.reshape(*size, 4), supersample)
