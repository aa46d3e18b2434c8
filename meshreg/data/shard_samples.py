"""Any sample of a folder of shards by its number, without reading the others."""

import tarfile
from collections.abc import Sequence
from pathlib import Path

from meshreg.body.assets import check_same_topology
from meshreg.data.sample import Batch, Sample, stack
from meshreg.data.shard_codec import decode
from meshreg.data.shards import is_whole, read_manifest, shard_path
from meshreg.errors import InputError, MissingFileError

Places = dict[str, tuple[int, int]]  # name of a file of a sample -> (where it starts, its length)


class ShardSamples:
    """The samples of a folder of shards; each shard's table is read when it is first needed."""

    def __init__(self, folder: str | Path, *, topology_hash: str | None = None) -> None:
        """Check the folder; `topology_hash` is that of the body that training uses.

        Raises:
            InputError: if shards are missing or belong to another body.
        """
        self.folder, self.manifest = Path(folder), read_manifest(Path(folder))
        self._tables: dict[int, list[Places]] = {}
        if topology_hash is not None:
            what = f"the shards in {folder}"
            check_same_topology(topology_hash, self.manifest.topology_hash, what)
        for number in range(self.manifest.num_shards):
            path = shard_path(self.folder, number)
            if not path.is_file():
                raise MissingFileError(
                    f"{path.name} is not in {folder}: run the command that wrote the others again."
                )
            if not is_whole(path):
                raise InputError(_damaged(path, "its end is missing"))

    @property
    def count(self) -> int:
        return self.manifest.count

    def take(self, indices: Sequence[int]) -> Batch:
        """These samples as one batch.

        Raises:
            InputError: if a shard is damaged.
        """
        return stack([self.read(index) for index in indices])

    def read(self, index: int) -> Sample:
        """One sample."""
        assert 0 <= index < self.count, index
        number, place = divmod(index, self.manifest.shard_size)
        if number not in self._tables:
            self._tables[number] = self._read_table(number)
        path = shard_path(self.folder, number)
        with path.open("rb") as file:
            parts = {}
            for name, (start, length) in self._tables[number][place].items():
                file.seek(start)
                parts[name] = file.read(length)
        return decode(parts, f"sample {index} of {path}")

    def _read_table(self, number: int) -> list[Places]:
        """Where the files of each sample lie in a shard."""
        path = shard_path(self.folder, number)
        samples: dict[str, Places] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    key, _, name = member.name.partition(".")
                    samples.setdefault(key, {})[name] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError, EOFError) as error:
            raise InputError(_damaged(path, str(error))) from error
        expected = len(self.manifest.indices(number))
        if len(samples) != expected:
            raise InputError(_damaged(path, f"{len(samples)} samples instead of {expected}"))
        return list(samples.values())


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}): delete it and run the command that made it again."
