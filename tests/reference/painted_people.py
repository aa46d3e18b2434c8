"""Surfaces of the bare body with layers painted on, for tests that need somebody to look at."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.clothing.labels import Label
from meshreg.data.synthetic.surface import Surface
from meshreg.geometry.mesh import vertex_normals
from meshreg.losses.priors import load_pose_prior
from meshreg.render.rasterizer import rasterizer

LAYERS = (Label.PANTS, Label.UPPER_CLOTHES, Label.LEFT_SHOE, Label.HAIR)
RIGHT_SIDE = {Label.LEFT_SHOE: Label.RIGHT_SHOE}


@dataclass(frozen=True, eq=False)
class Figures:
    """Posed people in the camera's frame and what the camera sees of them."""

    surface: Surface
    vertices: Tensor  # (P, V, 3)
    faces: Tensor
    K: Tensor


@functools.cache
def body() -> Body:
    return load_body()


@functools.cache
def _template() -> tuple[Tensor, Tensor, Tensor]:
    """How far inside each layer, label of the bare skin, and strongest joint, per vertex."""
    shape = body()
    x, y, z = shape.v_template.unbind(-1)
    part = shape.weights.argmax(-1)
    arm = x.abs()
    fields = torch.stack(
        [
            torch.minimum(0.06 - y, y + 0.93),
            torch.minimum(torch.minimum(y + 0.08, 0.32 - arm), 0.43 - y),
            -0.9 - y,
            torch.minimum((y - 0.66) + 1.1 * (0.09 - z).clamp(-0.1, 0.05), (y - 0.53) * 3 + 0 * z),
        ],
        -1,
    )
    fields[:, 3] = torch.where(part == 15, fields[:, 3], torch.tensor(-0.1))
    skin = torch.full_like(part, Label.TORSO_SKIN)
    skin[part == 15] = Label.FACE
    for label, joints in {
        Label.LEFT_ARM: (16, 18, 20, 22),
        Label.RIGHT_ARM: (17, 19, 21, 23),
        Label.LEFT_LEG: (1, 4, 7, 10),
        Label.RIGHT_LEG: (2, 5, 8, 11),
    }.items():
        skin[torch.isin(part, torch.tensor(joints))] = label
    return fields, skin, part


def poses(count: int, *, first: int = 0, turn: bool = True) -> tuple[Tensor, Tensor]:
    """Poses of the shipped bank, upright and turned to all sides, and betas."""
    _, bank = load_pose_prior()
    index = (torch.arange(first, first + count) * 37) % len(bank.body_pose)
    root = bank.root_rotmat[index].float()
    angle = torch.arange(first, first + count) * (2.4 if turn else 0.0)
    spin = torch.zeros(count, 3, 3)
    spin[:, 0, 0], spin[:, 0, 2] = angle.cos(), angle.sin()
    spin[:, 2, 0], spin[:, 2, 2] = -angle.sin(), angle.cos()
    spin[:, 1, 1] = 1
    import roma

    pose = torch.eye(3).expand(count, 24, 3, 3).clone()
    rotvec = bank.body_pose[index].float()
    pose[:, 1 : 1 + rotvec.shape[1]] = rotvec if rotvec.ndim == 4 else roma.rotvec_to_rotmat(rotvec)
    pose[:, 0] = spin @ root if turn else torch.eye(3)
    generator = torch.Generator().manual_seed(first)
    return pose, torch.randn(count, 10, generator=generator) * 0.8


def figures(
    count: int = 2, size: int = 64, *, first: int = 0, close_up: bool = False, pitch: float = 0.15
) -> Figures:
    """People that fill the picture from head to foot, or a face and shoulders."""
    pose, betas = poses(count, first=first, turn=not close_up)
    if close_up:
        yaw = (torch.arange(count) % 5 - 2) * 0.35
        pose[:, 0] = 0
        pose[:, 0, 1, 1] = 1
        pose[:, 0, 0, 0] = pose[:, 0, 2, 2] = yaw.cos()
        pose[:, 0, 0, 2], pose[:, 0, 2, 0] = yaw.sin(), -yaw.sin()
        pose[:, 12] = pose[:, 15] = torch.eye(3)
    out = body()(betas, pose, torch.zeros(count, 3))
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    tilt = torch.tensor(
        [
            [1, 0, 0],
            [0, math.cos(pitch), -math.sin(pitch)],
            [0, math.sin(pitch), math.cos(pitch)],
        ],
        dtype=torch.float32,
    )
    vertices = out.vertices @ (tilt @ flip).T
    if close_up:
        middle = (out.joints[:, 15] @ (tilt @ flip).T)[:, None] - torch.tensor([0, 0.04, 0])
        radius = torch.full((count,), 0.17)
    else:
        middle = (vertices.amax(1, keepdim=True) + vertices.amin(1, keepdim=True)) / 2
        radius = (vertices - middle)[..., :2].abs().amax((1, 2))
    focal = 1.6 * size
    distance = radius * 1.15 * focal / (size / 2)
    distance = distance + (0.15 if not close_up else 0.1)
    vertices = vertices - middle
    vertices[..., 2] += distance[:, None]
    K = torch.tensor([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
    K = K.expand(count, 3, 3).contiguous()
    return Figures(look_at(vertices, K, size), vertices, body().faces, K)


def look_at(vertices: Tensor, K: Tensor, size: int) -> Surface:
    shape = body()
    fields, skin, part = _template()
    found = rasterizer("warp").fragments(vertices, shape.faces, K, (size, size))
    pixel = found.pix_to_face[..., 0]
    hit = pixel >= 0
    face = torch.where(hit, pixel, 0) % len(shape.faces)
    person = torch.arange(len(vertices))[:, None, None].expand_as(face)
    corner = shape.faces[face]
    weight = found.bary_coords[..., 0, :] * hit[..., None]
    strongest = corner.gather(-1, weight.argmax(-1, keepdim=True))[..., 0]
    inside = torch.einsum("phwc,phwcl->phwl", weight, fields[corner]) > 0
    order = torch.arange(1, len(LAYERS) + 1)
    layer = (inside * order).amax(-1) - 1
    layer = torch.where(hit, layer, -1)
    rest = torch.einsum("phwc,phwcx->phwx", weight, shape.v_template[corner])
    names = torch.tensor([[int(name), int(RIGHT_SIDE.get(name, name))] for name in LAYERS])
    side = (rest[..., 0] < 0).long()
    label = torch.where(layer >= 0, names[layer.clamp(min=0), side], skin[strongest])
    normals = vertex_normals(vertices, shape.faces)[person[..., None], corner]
    normal = torch.einsum("phwc,phwcx->phwx", weight, normals)
    return Surface(
        hit=hit,
        label=torch.where(hit, label, 0),
        layer=layer,
        piece=torch.zeros_like(label),
        part=torch.where(hit, part[strongest], 0),
        rest=rest,
        normal=torch.nn.functional.normalize(normal, dim=-1),
        depth=torch.where(hit, found.zbuf[..., 0], 0.0),
    )
