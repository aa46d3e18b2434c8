"""From what the camera sees of people to their colours, in linear light."""

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.fabric import Skin, weave
from meshreg.data.synthetic.faces import bare_skin, hair
from meshreg.data.synthetic.lights import Lights, shade
from meshreg.data.synthetic.looks import Look, stack_cloths, stack_heads
from meshreg.data.synthetic.points import Points, covered_points
from meshreg.data.synthetic.shadows import ShadowMap, openness
from meshreg.data.synthetic.surface import Surface

_STEEPEST = 0.9  # relief never slopes more than this
_GAP = 0.05  # metres; neighbouring pixels further apart lie on different limbs


def paint(
    surface: Surface,
    looks: Sequence[Look],
    lights: Lights,
    K: Float[Tensor, "P 3 3"],
    *,
    shadow: ShadowMap | None = None,
    where: Bool[Tensor, "P H W"] | None = None,
) -> Float[Tensor, "P H W 3"]:
    """Linear RGB of every person, black where nobody is; `shadow` adds shadows of the key.

    With `where` only these pixels are painted.
    """
    points = covered_points(surface, K, where)
    skin = _materials(points, looks)
    normal = _roughened(points, skin.relief, surface)
    lit = torch.ones_like(skin.relief)
    if shadow is not None:
        lit = shadow.lit(points.place + 0.01 * points.normal, points.person)
    light = shade(
        skin,
        normal,
        normalize(-points.place, dim=1),
        lights,
        points.person,
        lit,
        openness(surface, points, points.normal, K),
    )
    picture = torch.zeros_like(surface.normal).flatten(0, 2)
    picture[points.pixel] = light
    return picture.unflatten(0, surface.hit.shape)


def _materials(points: Points, looks: Sequence[Look]) -> Skin:
    """Cloth, hair or skin at each point, by its label and layer."""
    device = points.place.device
    heads, cloths = stack_heads(looks, device), stack_cloths(looks, device)
    num_layers = len(looks[0].cloths)
    hairy = points.label == Label.HAIR
    clad = (points.layer >= 0) & ~hairy
    kinds = []
    for mask in (clad, hairy, ~(clad | hairy)):
        index = mask.nonzero()[:, 0]
        kinds.append((index, points.at(index)))
    (on_cloth, cloth), (on_hair, locks), (on_skin, bare) = kinds
    found = [
        weave(cloth, cloths.at(cloth.person * num_layers + cloth.layer)),
        hair(locks, heads.at(locks.person)),
        bare_skin(bare, heads.at(bare.person)),
    ]
    order = torch.cat([on_cloth, on_hair, on_skin]).argsort()
    return Skin(
        **{f.name: torch.cat([getattr(s, f.name) for s in found])[order] for f in fields(Skin)}
    )


def _roughened(
    points: Points, relief: Float[Tensor, " N"], surface: Surface
) -> Float[Tensor, "N 3"]:
    """Normals tilted by the relief's slope between neighbouring pixels (Mikkelsen 2010)."""
    num, height, width = surface.hit.shape
    table = torch.full((num * height * width,), -1, device=relief.device)
    table[points.pixel] = torch.arange(len(relief), device=relief.device)
    within = points.pixel % (height * width)
    row, column = within // width, within % width
    right = _difference(points, relief, table, (column < width - 1) * 1, (column > 0) * 1)
    down = _difference(points, relief, table, (row < height - 1) * width, (row > 0) * width)
    across = torch.linalg.cross(down[0], points.normal)
    along = torch.linalg.cross(points.normal, right[0])
    area = torch.linalg.vecdot(right[0], across)
    slope = (right[1][:, None] * across + down[1][:, None] * along) / torch.where(
        area.abs() > 1e-9, area, torch.inf
    )[:, None]
    steep = slope.norm(dim=1, keepdim=True)
    slope = slope * (_STEEPEST / steep.clamp(min=_STEEPEST))
    return normalize(points.normal - slope, dim=1)


def _difference(
    points: Points, relief: Tensor, table: Tensor, ahead: Tensor, behind: Tensor
) -> tuple[Tensor, Tensor]:
    """Change of place and relief from the pixel behind to the one ahead, of the same surface."""
    own = torch.arange(len(relief), device=relief.device)

    def neighbour(offset: Tensor) -> Tensor:
        other = table[points.pixel + offset]
        other = torch.where(other >= 0, other, own)
        near = (points.place[other, 2] - points.place[:, 2]).abs() < _GAP
        # Where two panels meet their reliefs do not: a seam, not a cliff.
        cliff = (relief[other] - relief).abs() > 2 * points.footprint
        same = points.layer[other] == points.layer
        return torch.where(near & same & ~cliff, other, own)

    front, back = neighbour(ahead), neighbour(-behind)
    return points.place[front] - points.place[back], relief[front] - relief[back]


def in_picture(lights: Lights, index: Tensor) -> Lights:
    """The lights of some people, picked by index."""
    return replace(lights, **{f.name: getattr(lights, f.name)[index] for f in fields(Lights)})
