"""Reading shards: everything comes back out, split over readers; what is broken is named."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_people import plain_body, plain_people
from torch.utils.data import DataLoader

from meshreg.data.sample import Sample, stack, with_vertices
from meshreg.data.shard_codec import decode, encode
from meshreg.data.shard_reader import ShardReader
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import Manifest, read_manifest, shard_path
from meshreg.errors import InputError

COUNT = 10


def manifest() -> Manifest:
    values = {"count": COUNT, "shard_size": 4, "seed": 0, "settings": {"size": 48}}
    return Manifest(topology_hash=plain_body().topology_hash, **values)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    assert write_shards(folder, manifest(), plain_people) == 3
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


# --- one sample -----------------------------------------------------------------------------------
def test_a_sample_survives_its_files() -> None:
    sample = plain_people(3).render([5])[0]
    again = decode(encode(sample, jpeg_quality=None), "it")
    for name in ("image", "labels", "part", "instance", "index", "full_size"):
        assert torch.equal(getattr(again, name), getattr(sample, name)), name
        assert getattr(again, name).dtype == getattr(sample, name).dtype, name
    for name in ("K", "K_full", "box", "betas", "pose_rotmat", "transl", "joints_cam", "joints_px"):
        torch.testing.assert_close(getattr(again, name), getattr(sample, name), atol=0, rtol=0)
    assert torch.equal(again.joints_visible, sample.joints_visible)
    assert torch.equal(again.joints_self_hidden, sample.joints_self_hidden)
    assert sample.joints_visible.any() and sample.joints_self_hidden.any()
    assert (again.depth - sample.depth).abs().max() <= 0.00051
    assert torch.equal(again.depth == 0, sample.depth == 0)
    filled = with_vertices(stack([again]), plain_body())
    torch.testing.assert_close(filled.vertices_cam[0], sample.vertices_cam)


def test_jpeg_is_close_and_follows_the_quality() -> None:
    sample = plain_people(3, size=128).render([5])[0]
    again = decode(encode(sample, jpeg_quality=95), "it")
    difference = (again.image.float() - sample.image.float()).abs()
    assert 0 < difference.mean() < 3
    coarse = encode(sample, jpeg_quality=30)["image.jpg"]
    assert len(coarse) < len(encode(sample, jpeg_quality=95)["image.jpg"])


def test_what_is_too_far_for_16_bits_stays_far() -> None:
    sample = plain_people(3).render([5])[0]
    sample.depth[0, 0] = 100.0
    assert decode(encode(sample, jpeg_quality=None), "it").depth[0, 0] == pytest.approx(65.535)


def test_damaged_files_are_named_and_nothing_is_unpickled() -> None:
    files = encode(plain_people(3).render([5])[0], jpeg_quality=90)
    with pytest.raises(InputError, match="^sample 5 of x.tar is damaged"):
        decode({k: v for k, v in files.items() if k != "part.png"}, "sample 5 of x.tar")
    for name, content in files.items():
        with pytest.raises(InputError, match="^it is damaged"):
            decode(files | {name: content[: len(content) // 2]}, "it")
    pickled = BytesIO()
    np.savez(pickled, K=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="^it is damaged"):
        decode(files | {"numbers.npz": pickled.getvalue()}, "it")


# --- reading --------------------------------------------------------------------------------------
def indices(samples: object) -> list[int]:
    return [int(sample.index) for sample in samples]


def test_reading_gives_what_was_written(written: Path) -> None:
    reader = ShardReader(written, topology_hash=plain_body().topology_hash)
    samples = list(reader)
    assert indices(samples) == list(range(COUNT))
    expected = plain_people().render([9])[0]
    torch.testing.assert_close(samples[9].K, expected.K)
    assert torch.equal(samples[9].labels, expected.labels)
    assert read_manifest(written).settings == {"size": 48}


def test_shuffling_depends_on_seed_and_epoch(written: Path) -> None:
    reader = ShardReader(written, shuffle=6, seed=1)
    first, again = indices(reader), indices(reader)
    assert first == again != list(range(COUNT)) and sorted(first) == list(range(COUNT))
    reader.epoch = 1
    assert indices(reader) != first
    assert indices(ShardReader(written, shuffle=6, seed=2)) != first


def test_ranks_and_workers_share_the_shards(written: Path) -> None:
    parts = [ShardReader(written, shuffle=3, rank=rank, world_size=3) for rank in range(3)]
    assert sorted(sum(map(indices, parts), [])) == list(range(COUNT))
    assert all(indices(part) for part in parts)
    with pytest.raises(InputError, match="3 shards for 4 processes"):
        ShardReader(written, rank=0, world_size=4)
    loader = DataLoader(ShardReader(written), batch_size=2, num_workers=2, collate_fn=stack)
    batches = list(loader)
    assert sorted(sum((b.index.tolist() for b in batches), [])) == list(range(COUNT))
    assert isinstance(batches[0], Sample) and batches[0].image.shape == (2, 3, 48, 48)


def test_broken_folders_are_refused(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(InputError, match=r"has no shards\.json"):
        ShardReader(tmp_path_factory.mktemp("empty"))
    with pytest.raises(InputError, match="belongs to a body"):
        ShardReader(copy, topology_hash="0" * 16)
    content = shard_path(copy, 1).read_bytes()
    for wrong in (content[:-1000], content[:5120], b"", b"\0" * 10240, b"junk" * 256 * 10):
        shard_path(copy, 1).write_bytes(wrong)
        with pytest.raises(InputError, match=r"people-000001\.tar is damaged"):
            list(ShardReader(copy))
    for place in (100, 600, len(content) // 2):  # a header, a picture, whatever
        flipped = bytearray(content)
        flipped[place] ^= 0xFF
        shard_path(copy, 1).write_bytes(flipped)
        with pytest.raises(InputError, match=r"people-000001\.tar is damaged"):
            list(ShardReader(copy))
    shard_path(copy, 1).unlink()
    with pytest.raises(InputError, match=r"people-000001\.tar is not in"):
        ShardReader(copy)


def test_damaged_manifests_are_refused(copy: Path) -> None:
    path = copy / "shards.json"
    values = json.loads(path.read_text())
    assert values["settings_hash"] == manifest().settings_hash
    for wrong in ("{", "[]", json.dumps(values | {"format": 2}), '{"format": 1}'):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"shards\.json is (damaged|of format 2)"):
            read_manifest(copy)
