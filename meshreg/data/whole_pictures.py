"""Whole pictures with their fields of view: batches to learn from, and a folder of drawn ones."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from meshreg.body.assets import load_body_data
from meshreg.data.augment import NumberedBatches, recoloured
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.cached import CachedPeople, CacheIndex, read_index, write_cache
from meshreg.data.chance import chance
from meshreg.data.mixture import Source
from meshreg.data.sample import Batch
from meshreg.data.synthetic.rendered import PeopleRecipe, RenderedPeople
from meshreg.errors import InputError
from meshreg.geometry.warping import warp_pictures

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SeenWidths:
    """Letter-boxed whole pictures and how wide their cameras see."""

    image: UInt8[Tensor, "B 3 S S"]  # RGB, black beyond the picture's border
    fov_deg: Float[Tensor, " B"]  # across the longer side of the picture
    index: Int[Tensor, " B"]  # number of the sample within its seed

    def to(self, device: torch.device | str) -> "SeenWidths":
        """The same batch with its tensors on `device`."""
        return SeenWidths(self.image.to(device), self.fov_deg.to(device), self.index.to(device))


@dataclass(frozen=True)
class WidthBatches:
    """Numbered batches of samples as pictures for a network, changed by chance."""

    batches: NumberedBatches
    settings: AugmentSettings
    size: int  # side of the network's pictures, pixels
    seed: int = 0
    rank: int = 0

    def at(self, number: int) -> SeenWidths:
        """Batch number n: mirrored, cut down around the middle, recoloured."""
        batch = self.batches.at(number)
        rng = chance(self.seed, self.rank, number)
        mirror, cut = torch.rand(2, len(batch), generator=rng)
        left = 1 - self.settings.zoom * cut  # a smaller picture by the same lens
        flipped = torch.where(
            (mirror < self.settings.mirror)[:, None, None, None], batch.image.flip(-1), batch.image
        )
        image = _middle_of(flipped, left, self.size)
        return SeenWidths(
            image=recoloured(image, self.settings, rng),
            fov_deg=_narrowed(true_fov_deg(batch), left),
            index=batch.index,
        )


def as_seen(source: Source, indices: Sequence[int], size: int) -> SeenWidths:
    """These samples as they are, at a network's size."""
    batch = source.take(indices)
    image = _middle_of(batch.image, torch.ones(len(batch)), size)
    return SeenWidths(image=image, fov_deg=true_fov_deg(batch), index=batch.index)


def true_fov_deg(batch: Batch) -> Float[Tensor, " B"]:
    """The angles across square pictures, degrees."""
    side = batch.image.shape[-1]
    return torch.rad2deg(2 * torch.atan(side / 2 / batch.K[:, 0, 0]))


def _narrowed(fov_deg: Float[Tensor, " B"], left: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The angles across the middle parts of pictures, of whose sides the share `left` stays."""
    return torch.rad2deg(2 * torch.atan(left * torch.tan(torch.deg2rad(fov_deg) / 2)))


def _middle_of(
    image: UInt8[Tensor, "B 3 H W"], left: Float[Tensor, " B"], size: int
) -> UInt8[Tensor, "B 3 h w"]:
    """The middle parts of square pictures, at another size."""
    scale = size / (left * image.shape[-1])
    to_from = torch.eye(3).repeat(len(image), 1, 1)
    to_from[:, 0, 0] = to_from[:, 1, 1] = scale
    to_from[:, :2, 2] = ((size - 1) / 2 - scale * (image.shape[-1] - 1) / 2)[:, None]
    return warp_pictures(image, to_from, (size, size))


def drawn_pictures(folder: Path, recipe: PeopleRecipe, count: int) -> CachedPeople:
    """The first pictures of a recipe from a folder, where they are drawn if it is not there.

    Raises:
        InputError: if the folder holds others, or it cannot be written.
    """
    assert recipe.whole, "squares around people do not show how wide a camera sees"
    index = CacheIndex(
        count=count,
        size=recipe.size,
        maps=(),
        topology_hash=load_body_data().topology_hash,
        made_of=repr(recipe),
    )
    if not folder.is_dir():
        _LOG.info("drawing %d pictures into %s, once for all runs", count, folder)
        write_cache(folder, RenderedPeople(recipe, count=count), index)
    elif read_index(folder) != index:
        raise InputError(
            f"{folder} holds other pictures than asked for: delete it or name another."
        )
    return CachedPeople(folder)
