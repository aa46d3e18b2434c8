"""Soft studio light on a mesh: what colour each point of its surface has for the eye."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from meshreg.geometry.mesh import face_normals, vertex_normals
from meshreg.render.painting import Samples, Scene

# A studio that travels with the camera. Directions lead from the surface to the light, in camera
# axes (x right, y down, z forward); strengths are linear light.
KEY_DIRECTION, KEY_STRENGTH = (-0.85, -0.70, -0.48), 1.02
FILL_DIRECTION, FILL_STRENGTH = (0.55, 0.05, -0.80), 0.26
SKY_STRENGTH, GROUND_STRENGTH = 0.24, 0.07
RIM_STRENGTH, GLOSS_STRENGTH, GLOSS_EXPONENT = 0.20, 0.07, 18.0
WRAP = 0.15  # how far the key light reaches around the terminator, which keeps shadows soft
GAMMA = 2.2  # close enough to the sRGB curve for a display


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


def _facing_side(scene: Scene) -> Float[Tensor, "F 1"]:
    """1 where a face's outside is seen; -1 where a cut or a hole lets the eye see its inside."""
    corner = scene.verts_cam[scene.faces[:, 0]]
    inside = torch.linalg.vecdot(face_normals(scene.verts_cam, scene.faces), corner) > 0
    return torch.where(inside, -1.0, 1.0)[:, None].to(scene.verts_cam)


def sample_normals(scene: Scene, samples: Samples) -> Float[Tensor, "N 3"]:
    """Unit normals of the surface in camera axes, on the side that is seen."""
    smooth = samples.mix(scene, vertex_normals(scene.verts_cam, scene.faces))
    return normalize(smooth * _facing_side(scene)[samples.face], dim=1)


def studio(scene: Scene, samples: Samples) -> Float[Tensor, "N 4"]:
    """Paint opaque surfaces in their faces' colours under the studio's light."""
    toward_eye = samples.mix(scene, normalize(-scene.verts_cam, dim=1))
    color = shade(
        sample_normals(scene, samples),
        normalize(toward_eye, dim=1),
        (scene.face_color**GAMMA)[samples.face],
    )
    return pad(color, (0, 1), value=1.0)
