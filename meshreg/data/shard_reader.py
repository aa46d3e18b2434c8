"""Streaming shards into training: shuffled, split over workers and ranks, decoded."""

import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from meshreg.body.assets import check_same_topology
from meshreg.data.sample import Sample
from meshreg.data.shard_codec import decode
from meshreg.data.shards import is_whole, read_manifest, shard_path
from meshreg.errors import InputError, MissingFileError

# What tarfile and webdataset raise for damaged archives.
_UNREADABLE = (tarfile.TarError, OSError, EOFError, LookupError, ValueError, AssertionError)


class ShardReader(IterableDataset[Sample]):
    """The samples of a folder of shards; batch them with `collate_fn=stack`.

    With `shuffle` above zero the shards come in random order and each sample is picked from a
    buffer of that many; set `epoch` before each pass for a new order. Every worker and rank reads
    shards of its own, so there should be many more shards than readers; ranks may get different
    numbers of samples.
    """

    def __init__(  # noqa: PLR0913
        self,
        folder: str | Path,
        *,
        shuffle: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        topology_hash: str | None = None,
    ) -> None:
        """Check the folder; `topology_hash` is that of the body that training uses.

        Raises:
            InputError: if shards are missing or belong to another body, or are too few.
        """
        assert 0 <= rank < world_size, (rank, world_size)
        self.folder, self.manifest = Path(folder), read_manifest(Path(folder))
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self.rank, self.world_size = rank, world_size
        if topology_hash is not None:
            what = f"the shards in {folder}"
            check_same_topology(topology_hash, self.manifest.topology_hash, what)
        if self.manifest.num_shards < world_size:
            raise InputError(
                f"{folder} has {self.manifest.num_shards} shards for {world_size} processes: write "
                "it again with a smaller --shard-size."
            )
        for number in range(self.manifest.num_shards):
            self._check(shard_path(self.folder, number))

    def __iter__(self) -> Iterator[Sample]:
        from webdataset.filters import shuffle

        rng = random.Random(f"{self.seed} {self.epoch}")
        numbers = list(range(self.manifest.num_shards))
        if self.shuffle:
            rng.shuffle(numbers)
        worker = get_worker_info()
        place, readers = self.rank, self.world_size
        if worker:
            place, readers = place + readers * worker.id, readers * worker.num_workers
        files = self._files(numbers[place::readers])
        if self.shuffle:
            own = random.Random(f"{self.seed} {self.epoch} {place}")
            files = shuffle(self.shuffle, initial=self.shuffle, rng=own)(files)
        for content in files:
            what = f"sample {content['__key__']} of {content['__url__']}"
            parts = {name: part for name, part in content.items() if isinstance(part, bytes)}
            yield decode(parts, what)

    def _files(self, numbers: list[int]) -> Iterator[dict[str, Any]]:
        """The undecoded samples of these shards."""
        for number in numbers:
            path = shard_path(self.folder, number)
            self._check(path)
            found = 0
            try:
                for content in _samples_in(path):
                    found += 1
                    yield content
            except _UNREADABLE as error:
                raise InputError(_damaged(path, str(error.args[:1]))) from error
            if found != len(self.manifest.indices(number)):
                expected = len(self.manifest.indices(number))
                raise InputError(_damaged(path, f"{found} samples instead of {expected}"))

    def _check(self, path: Path) -> None:
        if not path.is_file():
            raise MissingFileError(
                f"{path.name} is not in {self.folder}: run the command that wrote the others again."
            )
        if not is_whole(path):
            raise InputError(_damaged(path, "its end is missing"))


def _samples_in(path: Path) -> Iterator[dict[str, Any]]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with path.open("rb") as file:
        yield from group_by_keys(tar_file_expander([{"url": str(path), "stream": file}]))


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): delete it and run the command that made it again."
