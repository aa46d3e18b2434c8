"""Shards at random, and decoded into memory-mapped arrays."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_people import plain_body, plain_people

from meshreg.data.cached import CachedPeople, CacheIndex, read_index, write_cache
from meshreg.data.resized import resized
from meshreg.data.sample import stack
from meshreg.data.shard_reader import ShardReader
from meshreg.data.shard_samples import ShardSamples
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import Manifest, shard_path
from meshreg.errors import InputError, MissingFileError

COUNT, SIZE = 10, 48
KEPT = ("K", "K_full", "box", "betas", "pose_rotmat", "transl", "joints_cam", "joints_px")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    topology = plain_body().topology_hash
    manifest = Manifest(count=COUNT, shard_size=4, seed=0, topology_hash=topology)
    write_shards(folder, manifest, plain_people)
    return folder


def index(maps: tuple[str, ...] = ("labels",), size: int = 32) -> CacheIndex:
    topology = plain_body().topology_hash
    return CacheIndex(count=COUNT, size=size, maps=maps, topology_hash=topology, made_of="x")


@pytest.fixture
def cache(shards: Path, tmp_path: Path) -> Path:
    write_cache(tmp_path / "cache", ShardSamples(shards), index())
    return tmp_path / "cache"


# --- shards at random -----------------------------------------------------------------------------
def test_any_sample_is_that_of_the_reader(shards: Path) -> None:
    in_order = stack(list(ShardReader(shards)))
    wanted = [9, 0, 4, 4, 3]
    found = ShardSamples(shards, topology_hash=plain_body().topology_hash).take(wanted)
    for name in vars(in_order):
        assert torch.equal(getattr(found, name), getattr(in_order, name)[wanted]), name


def test_broken_shards_are_named(shards: Path, tmp_path: Path) -> None:
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = shard_path(tmp_path, 1)
    content = bytearray(broken.read_bytes())
    content[148:156] = b"garbage!"  # the checksum of the first header
    broken.write_bytes(content)
    source = ShardSamples(tmp_path)
    source.take([0, 9])
    with pytest.raises(InputError, match=r"000001.tar is damaged .*: delete it and run"):
        source.take([4])
    broken.write_bytes(content[: len(content) // 1024 * 512])
    with pytest.raises(InputError, match=r"000001.tar is damaged \(its end is missing\)"):
        ShardSamples(tmp_path)
    broken.unlink()
    with pytest.raises(MissingFileError, match=r"000001.tar is not in"):
        ShardSamples(tmp_path)
    with pytest.raises(InputError, match="body"):
        ShardSamples(shards, topology_hash="other")


# --- the cache ------------------------------------------------------------------------------------
def test_a_cache_holds_the_resized_samples(shards: Path, cache: Path) -> None:
    wanted = [7, 2, 2]
    expected = resized(ShardSamples(shards).take(wanted), 32)
    found = CachedPeople(cache, topology_hash=plain_body().topology_hash).take(wanted)
    for name in (*KEPT, "image", "labels", "index", "full_size", "joints_visible"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name
    assert found.part.unique().tolist() == [255] and not found.depth.any()
    assert found.vertices_cam.shape == (3, 0, 3)
    found.image.zero_()  # a copy: the files do not change
    assert CachedPeople(cache).take(wanted).image.any()


def test_maps_are_kept_on_request(shards: Path, tmp_path: Path) -> None:
    write_cache(tmp_path / "all", ShardSamples(shards), index(("labels", "depth", "part"), SIZE))
    expected = ShardSamples(shards).take([1, 8])
    found = CachedPeople(tmp_path / "all").take([1, 8])
    assert torch.equal(found.part, expected.part)
    torch.testing.assert_close(found.depth, expected.depth, atol=1e-3, rtol=1e-3)
    assert found.depth.dtype == torch.float32


def test_workers_get_the_folder_not_the_arrays(cache: Path) -> None:
    people = CachedPeople(cache)
    sent = pickle.dumps(people)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent).take([3]).image, people.take([3]).image)  # noqa: S301


def test_an_interrupted_cache_leaves_nothing(shards: Path, tmp_path: Path) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path / "cache", ShardSamples(shards), index(), on_samples=stop)
    assert not list(tmp_path.iterdir())


def test_broken_caches_are_named(cache: Path) -> None:
    with pytest.raises(InputError, match="body"):
        CachedPeople(cache, topology_hash="other")
    np.save(cache / "betas.npy", np.zeros((3, 10), np.float32))
    with pytest.raises(InputError, match=r"betas.npy is damaged \(3 samples instead of 10\)"):
        CachedPeople(cache)
    (cache / "betas.npy").write_bytes(b"no")
    with pytest.raises(InputError, match=r"betas.npy is damaged .*: delete .* to make it anew"):
        CachedPeople(cache)
    values = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps(values | {"format": 7}))
    with pytest.raises(InputError, match="format 7 instead of 1"):
        read_index(cache)
    with pytest.raises(MissingFileError, match=r"has no cache.json"):
        CachedPeople(cache.parent)
