"""The pixels that people cover, as a list: painting works on these and skips the rest."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.surface import Surface

# Which panel of a garment each SMPL joint moves: 0 torso, 1 sleeve, 2 trouser leg.
TORSO, SLEEVE, LEG = 0, 1, 2
_SLEEVE_JOINTS = (16, 17, 18, 19, 20, 21, 22, 23)
_LEG_JOINTS = (1, 2, 4, 5, 7, 8, 10, 11)
_PANEL_OF_JOINT = tuple(
    SLEEVE if joint in _SLEEVE_JOINTS else LEG if joint in _LEG_JOINTS else TORSO
    for joint in range(24)
)
TWO_LEGGED = (Label.PANTS, Label.SOCKS)
# Axes of the average body in T-pose and typical radii around them, metres.
_TORSO_Z, _LEG_X, _ARM_Y = 0.0, 0.105, 0.395
_RADIUS = {TORSO: 0.15, SLEEVE: 0.05, LEG: 0.08}


@dataclass(frozen=True, eq=False)
class Points:
    """Pixels hit by people, in the order of their pictures."""

    pixel: Int[Tensor, " N"]  # index into the flattened (P, H, W)
    person: Int[Tensor, " N"]
    label: Int[Tensor, " N"]
    layer: Int[Tensor, " N"]  # -1 on skin
    part: Int[Tensor, " N"]
    rest: Float[Tensor, "N 3"]  # on the average body in T-pose, metres
    normal: Float[Tensor, "N 3"]  # unit, camera frame
    place: Float[Tensor, "N 3"]  # in the camera's frame, metres
    footprint: Float[Tensor, " N"]  # metres of surface that one pixel spans

    def at(self, index: Int[Tensor, " M"]) -> "Points":
        return Points(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class Panels:
    """Where points lie on flat cloth before it was sewn: metres around and along the limb."""

    around: Float[Tensor, " N"]  # 0 in front, positive to the person's left
    along: Float[Tensor, " N"]  # up the torso and legs, towards the shoulder on sleeves
    panel: Int[Tensor, " N"]
    angle: Float[Tensor, " N"]  # around the limb's axis, radians


def rays(K: Float[Tensor, "P 3 3"], size: tuple[int, int]) -> Float[Tensor, "P H W 3"]:
    """The viewing ray of every pixel, of depth one."""
    x = torch.arange(size[1], device=K.device, dtype=K.dtype)
    y = torch.arange(size[0], device=K.device, dtype=K.dtype)
    v = (y - K[:, 1, 2, None]) / K[:, 1, 1, None]  # (P, H)
    skewed = x - K[:, 0, 2, None, None] - K[:, 0, 1, None, None] * v[..., None]
    u = skewed / K[:, 0, 0, None, None]  # (P, H, W)
    return torch.stack([u, v[..., None].expand_as(u), torch.ones_like(u)], -1)


def covered_points(
    surface: Surface,
    K: Float[Tensor, "P 3 3"],
    where: Bool[Tensor, "P H W"] | None = None,
) -> Points:
    """Gather every pixel that shows a person, or those of them that are asked for."""
    num, height, width = surface.hit.shape
    shown = surface.hit if where is None else surface.hit & where
    pixel = shown.flatten().nonzero()[:, 0]
    person = pixel // (height * width)

    def listed(image: Tensor) -> Tensor:
        return image.flatten(0, 2)[pixel]

    ray = rays(K, (height, width)).flatten(0, 2)[pixel]
    depth, normal = listed(surface.depth), listed(surface.normal)
    facing = -torch.linalg.vecdot(normal, ray) / ray.norm(dim=-1)
    focal = (K[:, 0, 0] + K[:, 1, 1])[person] / 2
    return Points(
        pixel=pixel,
        person=person,
        label=listed(surface.label),
        layer=listed(surface.layer),
        part=listed(surface.part),
        rest=listed(surface.rest),
        normal=normal,
        place=ray * depth[:, None],
        footprint=depth / focal / facing.clamp(min=0.2).sqrt(),
    )


def panels(points: Points) -> Panels:
    """Unroll cloth from the torso, the arms and the legs; the cuts lie where seams are."""
    x, y, z = points.rest.unbind(-1)
    table = torch.tensor(_PANEL_OF_JOINT, device=x.device)
    panel = table[points.part]
    two_legged = (points.label == TWO_LEGGED[0]) | (points.label == TWO_LEGGED[1])
    panel = torch.where((panel == LEG) & ~two_legged, TORSO, panel)
    sleeve, leg = panel == SLEEVE, panel == LEG
    across = torch.where(leg, (x.abs() - _LEG_X) * x.sign(), x)
    across = torch.where(sleeve, y - _ARM_Y, across)
    angle = torch.atan2(across, z - _TORSO_Z)
    radius = torch.where(sleeve, _RADIUS[SLEEVE], _RADIUS[TORSO])
    radius = torch.where(leg, _RADIUS[LEG], radius)
    along = torch.where(sleeve, -x.abs(), y)
    return Panels(around=angle * radius, along=along, panel=panel, angle=angle)
