"""Several people in one picture: who is in front at each pixel, and how they look together."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from meshreg.data.sample import HIDDEN_LABEL, NO_PART, OCCLUDER
from meshreg.data.synthetic.surface import Surface

STEP, STEP_PX = 0.03, 3.0  # metres, and pixel widths: neighbours further apart are two surfaces


@dataclass(frozen=True, eq=False)
class Group:
    """Which person belongs to which picture; everybody's rows lie one after the other."""

    picture: Int[Tensor, " P"]
    number: Int[Tensor, " P"]  # within the picture; the subject is 0
    num_pictures: int

    @property
    def subject(self) -> Int[Tensor, " B"]:
        """The row of each picture's subject."""
        return (self.number == 0).nonzero()[:, 0]

    def rows_like(self, values: Float[Tensor, "P *rest"]) -> Int[Tensor, "P *rest"]:
        """The picture of every entry, for `scatter_reduce`."""
        return self.picture.view(-1, *[1] * (values.ndim - 1)).expand_as(values)


def in_front(
    surface: Surface, group: Group
) -> tuple[Float[Tensor, "P H W"], Float[Tensor, "B H W"]]:
    """1 where a person is the nearest one of the picture, and the depth there (inf: nobody)."""
    depth = torch.where(surface.hit, surface.depth, torch.inf)
    front = depth.new_full((group.num_pictures, *depth.shape[1:]), torch.inf)
    front = front.scatter_reduce(0, group.rows_like(depth), depth, "amin")
    wins = surface.hit & (depth == front[group.picture])
    return wins.to(depth), front


def together(
    people: Float[Tensor, "P H W 3"], wins: Float[Tensor, "P H W"], group: Group
) -> tuple[Float[Tensor, "B H W 3"], Float[Tensor, "B H W"]]:
    """All people of each picture before black, and 1 where anybody is."""
    num, height, width = group.num_pictures, *wins.shape[1:]
    shown = people.new_zeros(num, height, width, 3)
    shown = shown.index_add(0, group.picture, people * wins[..., None])
    covered = wins.new_zeros(num, height, width).index_add(0, group.picture, wins)
    return shown, covered.clamp(max=1)


def borders(surface: Surface, group: Group, focal: Float[Tensor, " B"]) -> Bool[Tensor, "B H W"]:
    """Pixels beside another person, layer or label, or beside a step in depth.

    `focal` is the focal length in pixels.
    """
    wins, front = in_front(surface, group)
    identity = (group.number + 1)[:, None, None] * 64 + surface.layer + 1
    identity = wins * (identity * 64 + surface.label).to(wins)
    seen = torch.zeros_like(front).scatter_reduce(0, group.rows_like(identity), identity, "amax")
    depth = torch.where(front.isfinite(), front, 0.0)
    step = STEP + STEP_PX * depth / focal[:, None, None]
    return (_spread(seen) > 0) | (_spread(depth) > step)


def _spread(values: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W"]:
    """Largest minus smallest of each pixel and its neighbours."""
    both = torch.stack([values, -values], 1)
    return max_pool2d(both, 3, 1, 1).sum(1)


def enlarged(mask: Bool[Tensor, "B H W"], factor: int) -> Bool[Tensor, "B h w"]:
    """A mask for a finer picture, with one fine pixel more all around."""
    fine = mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    return max_pool2d(fine.float()[:, None], 3, 1, 1)[:, 0] > 0


def shrunk(picture: Float[Tensor, "B H W C"], factor: int) -> Float[Tensor, "B h w C"]:
    """The mean of each block of factor x factor pixels."""
    if factor == 1:
        return picture
    return avg_pool2d(picture.permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1)


@dataclass(frozen=True, eq=False)
class Maps:
    """What is where in each picture, as `Sample` holds it."""

    labels: UInt8[Tensor, "B H W"]
    part: UInt8[Tensor, "B H W"]
    instance: UInt8[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]


def maps_of(surface: Surface, group: Group, covered: Float[Tensor, "B H W"]) -> Maps:
    """Label, part, instance and depth; `covered` is the share that a thing in front hides."""
    wins, front = in_front(surface, group)
    subject = group.subject
    seen = wins[subject] > 0
    behind_thing = covered > 0.5
    hidden = surface.hit[subject] & (~seen | behind_thing)
    labels = torch.where(seen, surface.label[subject], 0)
    part = torch.where(seen & ~behind_thing, surface.part[subject], NO_PART)
    number = wins * (group.number + 1).to(wins)[:, None, None]
    instance = torch.zeros_like(front).scatter_reduce(0, group.rows_like(number), number, "amax")
    instance = torch.where(behind_thing, float(OCCLUDER), instance)
    return Maps(
        labels=torch.where(hidden, HIDDEN_LABEL, labels).to(torch.uint8),
        part=part.to(torch.uint8),
        instance=instance.to(torch.uint8),
        depth=torch.where(front.isfinite(), front, 0.0),
    )
