"""The data of a regressor's training, from its config to batches by number."""

import logging

from meshreg.data.augment import Augmented
from meshreg.data.cached import CachedPeople, CacheIndex, read_index, write_cache
from meshreg.data.mixture import Mixture, Source
from meshreg.data.remembered import Remembered
from meshreg.data.sample import Batch
from meshreg.data.shard_samples import ShardSamples
from meshreg.data.sized import First, Sized
from meshreg.data.synthetic.rendered import PeopleRecipe, RenderedPeople
from meshreg.errors import InputError
from meshreg.train.hmr_config import DataConfig, SourceConfig

_LOG = logging.getLogger(__name__)
KEPT_MAPS = ("labels",)  # what the losses look at


def make_batches(
    config: DataConfig, *, topology_hash: str, seed: int, rank: int, world_size: int
) -> Augmented:
    """Mixed and augmented batches of one process.

    Raises:
        InputError: if data is missing, damaged, or of another body.
    """
    sources = {
        name: make_source(source, config.size, topology_hash)
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
    return Augmented(mixture, config.augment, seed=seed, rank=rank)


def make_source(config: SourceConfig, size: int, topology_hash: str) -> Source:
    """One source, its pictures at the size of the run."""
    if config.kind == "synthetic":
        recipe = PeopleRecipe(
            seed=config.seed,
            size=size,
            poses=config.poses,
            backgrounds=config.backgrounds,
            supersampling=config.supersampling,
            device=config.device,
        )
        people = RenderedPeople(recipe, count=config.count)
        return people if config.count is None else Remembered(people)
    assert config.path is not None
    shards = ShardSamples(config.path, topology_hash=topology_hash)
    source: Source = _cache_of(shards, size) if config.cached else Sized(shards, size)
    return source if config.count is None else First(source, config.count)


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


def judged_batches(config: DataConfig, topology_hash: str) -> list[Batch]:
    """The pictures of evaluations, as they are; none without a `judge`."""
    if config.judge is None:
        return []
    source = make_source(config.judge, config.size, topology_hash)
    count = min(config.judge_count, source.count or config.judge_count)
    step = config.batch_size
    return [source.take(range(i, min(i + step, count))) for i in range(0, count, step)]
