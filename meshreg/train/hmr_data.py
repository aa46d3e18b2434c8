"""The data of a regressor's training, from its config to batches by number."""

import logging
from dataclasses import fields, replace
from pathlib import Path

from meshreg.body.assets import load_body_data
from meshreg.body.smpl import Body
from meshreg.data.augment import Augmented
from meshreg.data.cached import CachedPeople, CacheIndex, read_index, write_cache
from meshreg.data.centred import centred
from meshreg.data.mixture import Mixture, Source
from meshreg.data.people import Pictures
from meshreg.data.photographs import Photographs
from meshreg.data.remembered import Remembered
from meshreg.data.sample import Batch, Sample
from meshreg.data.shard_samples import ShardSamples
from meshreg.data.sized import First, Sized
from meshreg.data.synthetic.odd_motion import odd_motion_in_a_line
from meshreg.data.synthetic.rendered import PeopleRecipe, RenderedPeople
from meshreg.errors import InputError
from meshreg.geometry.turned_crop import How
from meshreg.train.hmr_config import DataConfig, SourceConfig

_LOG = logging.getLogger(__name__)
KEPT_MAPS = ("labels",)  # what the losses look at


def make_batches(
    config: DataConfig, *, body: Body, seed: int, rank: int, world_size: int
) -> Augmented:
    """Mixed and augmented batches of one process.

    Raises:
        InputError: if data is missing, damaged, or of another body.
    """
    sources = {
        name: make_source(source, config.size, body, config.centred)
        for name, source in config.sources.items()
    }
    mixture = Mixture(
        sources,
        {name: source.weight for name, source in config.sources.items()},
        batch_size=config.batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    return Augmented(mixture, config.augment, seed=seed, rank=rank, how=config.centred)


def make_source(config: SourceConfig, size: int, body: Body, how: How = "none") -> Source:
    """One source, its pictures at the size of the run.

    `how` cameras will turn: photographs are then taken from the full pictures as turned cameras
    see them, and people drawn so, while ready-cut pictures turn only as far as they reach. What is
    turned already does not turn once more; PCL's turns have no such short cut.
    """
    if config.kind == "synthetic":
        _check_drawn(body)
        recipe = PeopleRecipe(
            seed=config.seed,
            size=size,
            poses=config.poses,
            backgrounds=config.backgrounds,
            supersampling=config.supersampling,
            device=config.device,
            turned=how == "minimal",
        )
        people = RenderedPeople(recipe, count=config.count)
        if config.poses != "prior":
            with odd_motion_in_a_line(_LOG, config.poses):
                recipe.open_files()
        return people if config.count is None else Remembered(people)
    source: Source
    assert config.path is not None
    if config.kind == "shards":
        source = _shards(config.path, size, body, cached=config.cached)
    else:
        assert config.images is not None
        scheme = config.scheme or "cihp"
        pictures = Pictures(config.images, masks=config.masks, scheme=scheme, size=size)
        source = Photographs(config.path, config.kind, pictures, body, centred=how == "minimal")
    return source if config.count is None else First(source, config.count)


def _check_drawn(body: Body) -> None:
    """Refuse to teach one body the joints and shapes of another."""
    if body.topology_hash != load_body_data().topology_hash:
        raise InputError(
            f"drawn people have the built-in body, but model.body is {body.data.name}: leave "
            '"kind: synthetic" out of data.sources and data.judge, or set model.body=builtin.'
        )


def _shards(folder: Path, size: int, body: Body, *, cached: bool) -> Source:
    shards = ShardSamples(folder, topology_hash=body.topology_hash)
    return _cache_of(shards, size) if cached else Sized(shards, size)


def _cache_of(shards: ShardSamples, size: int) -> CachedPeople:
    """The cache of these shards, made if it is not there."""
    folder = shards.folder.with_name(f"{shards.folder.name}_cached_{size}")
    index = CacheIndex(
        count=shards.count,
        size=size,
        maps=KEPT_MAPS,
        topology_hash=shards.manifest.topology_hash,
        made_of=shards.manifest.settings_hash,
    )
    if not folder.is_dir():
        _LOG.info("decoding %d people into %s, once for all runs", shards.count, folder)
        write_cache(folder, shards, index)
    elif read_index(folder) != index:
        raise InputError(f"{folder} is of other shards: delete it to make it anew.")
    return CachedPeople(folder)


def judged_batches(config: DataConfig, body: Body) -> list[Batch]:
    """The pictures of evaluations, turned like those of the training; none without a `judge`.

    Errors from the pelvis are the same in turned cameras.

    Raises:
        InputError: if data is missing, damaged, or of another body, or nobody's joints are known.
    """
    if config.judge is None:
        return []
    source = make_source(config.judge, config.size, body, config.centred)
    count = min(config.judge_count, source.count or config.judge_count)
    step = config.batch_size
    batches = [source.take(range(i, min(i + step, count))) for i in range(0, count, step)]
    known = [_with_joints(batch) for batch in batches]
    if not any(map(len, known)):
        raise InputError(
            "data.judge tells nobody's joints in 3D, so nothing can be judged by it: give people "
            "whose pose and shape on this body are known."
        )
    known = [batch for batch in known if len(batch)]
    return known if config.centred == "none" else [centred(b, config.centred) for b in known]


def _with_joints(batch: Batch) -> Batch:
    """Those people of whom the body's joints are known."""
    rows = (batch.joints_weight > 0).all(1)
    return replace(batch, **{f.name: getattr(batch, f.name)[rows] for f in fields(Sample)})
