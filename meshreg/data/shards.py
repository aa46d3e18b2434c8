"""Folders of WebDataset shards: tar files of samples, and a manifest that says what they hold.

A shard appears under its name only when it is whole, and its bytes depend on nothing but the
settings in the manifest: a run can be stopped at any time and continued by running it again.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from meshreg.data.sample import Batch
from meshreg.data.shard_codec import encode
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

FORMAT = 1
MANIFEST = "shards.json"
_SHARD = re.compile(r"people-(\d{6})\.tar")
_LEFTOVER = re.compile(r"\.people-\d{6}\.(\d+)\.part\.tar")
# Settings of which a manifest keeps a hash, and what their first word stands for.
_KINDS = {
    "poses": {"prior": "poses of the prior", "motion": "poses of a motion file"},
    "backgrounds": {"None": "drawn backgrounds"},
}
_TAR_END = 1024  # zero bytes that close a tar file


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds, or is to hold."""

    count: int  # samples in all
    shard_size: int  # samples per shard; the last may have fewer
    seed: int
    topology_hash: str  # of the body that the betas and poses belong to
    jpeg_quality: int | None = 95  # None: lossless PNG
    settings: dict[str, Any] = field(default_factory=dict)  # all else that decides the samples
    made_with: dict[str, str] = field(default_factory=dict)  # versions; of no consequence
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse counts below one.

        Raises:
            InputError: naming the number.
        """
        for name in ("count", "shard_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if self.jpeg_quality is not None and not 1 <= self.jpeg_quality <= 100:
            raise InputError(
                f"jpeg_quality must be 1 to 100, or 0 for lossless PNG, not {self.jpeg_quality}."
            )

    @property
    def num_shards(self) -> int:
        return -(-self.count // self.shard_size)

    @property
    def settings_hash(self) -> str:
        """Sixteen hex digits of everything that decides the samples."""
        text = json.dumps(self._deciding(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def indices(self, number: int) -> range:
        """The samples that shard `number` holds."""
        first = number * self.shard_size
        return range(first, min(first + self.shard_size, self.count))

    def differences(self, other: "Manifest") -> list[str]:
        """In words, what decides the samples and is not the same in both."""
        mine, theirs = _flat(self._deciding()), _flat(other._deciding())
        return [
            _difference(key, theirs.get(key), mine.get(key))
            for key in sorted(mine | theirs)
            if mine.get(key) != theirs.get(key)
        ]

    def _deciding(self) -> dict[str, Any]:
        values = json.loads(json.dumps(asdict(self)))  # tuples become lists, as in the file
        del values["made_with"]
        return values.pop("settings") | values


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of fields beside the others."""
    nested = [value for value in values.values() if isinstance(value, dict)]
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    return plain | {key: value for inner in nested for key, value in _flat(inner).items()}


def _difference(key: str, theirs: Any, mine: Any) -> str:
    """What a field was before and is now; of what only a hash is known, the kind."""
    if key == "topology_hash":
        return "another body"
    if key in _KINDS:
        first = [str(value).partition(" ")[0] for value in (theirs, mine)]
        before, now = (_KINDS[key].get(word, "photographs") for word in first)
        return f"other {now}" if before == now else f"{before} instead of {now}"
    none = "0" if key == "jpeg_quality" else "none"  # 0 is how the option says lossless
    before, now = (none if value is None else str(value) for value in (theirs, mine))
    return f"{key} {before} instead of {now}"


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"people-{number:06d}.tar"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it beside the shards."""
    content = asdict(manifest) | {"settings_hash": manifest.settings_hash}
    path = folder / MANIFEST
    with _disk_trouble_told(path), written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """What the shards in a folder hold.

    Raises:
        MissingFileError: if the folder is not one of shards.
        InputError: if its manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingFileError(
            f"{folder} has no {MANIFEST}: give a folder that `meshreg synth` wrote."
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise InputError(
                f"{path} is of format {values['format']}, but this meshreg reads format {FORMAT}: "
                "use the version of meshreg that wrote it."
            )
        return Manifest(**{f.name: values[f.name] for f in fields(Manifest)})
    except (OSError, LookupError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is damaged ({error}): write the shards again into an empty folder."
        ) from error


def prepare(folder: Path, manifest: Manifest) -> list[int]:
    """The numbers of the shards still to be written, after checking what is there.

    A manifest without shards, of a run that failed before its first, is replaced.

    Raises:
        InputError: if the folder holds shards of other settings, or cannot be written to.
    """
    if not _is_in_use(folder):
        write_manifest(folder, manifest)
    elif not (folder / MANIFEST).is_file():
        raise InputError(
            f"{folder} holds shards but no {MANIFEST} that says which: choose an empty folder."
        )
    elif different := manifest.differences(read_manifest(folder)):
        more = ", and more" if len(different) > 3 else ""
        raise InputError(
            f"{folder} holds shards made with {', '.join(different[:3])}{more}: choose an empty "
            "folder, or the same settings to go on."
        )
    _remove_leftovers(folder)
    numbers = range(manifest.num_shards)
    return [number for number in numbers if not is_whole(shard_path(folder, number))]


def _is_in_use(folder: Path) -> bool:
    """Whether shards lie there, or another living process is writing one."""
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    writers = {int(found[1]) for name in names if (found := _LEFTOVER.fullmatch(name))}
    return any(_SHARD.fullmatch(name) for name in names) or any(
        _is_running(writer) for writer in writers - {os.getpid()}
    )


def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of runs that were killed; those of living ones stay."""
    for path in folder.iterdir():
        found = _LEFTOVER.fullmatch(path.name)
        if found and not _is_running(int(found[1])):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # not ours to signal, or no such number
        return True
    return True


def is_whole(path: Path) -> bool:
    """Whether the file is there and ends as a tar file must."""
    if not path.is_file():
        return False
    size = path.stat().st_size
    if size < _TAR_END or size % 512:
        return False
    with path.open("rb") as file:
        file.seek(-_TAR_END, os.SEEK_END)
        return not any(file.read())


def write_shard(
    folder: Path,
    manifest: Manifest,
    number: int,
    batches: Iterable[Batch],
    on_samples: Callable[[int], None],
) -> None:
    """Write one shard; `on_samples` hears how many samples were added after every batch.

    Raises:
        InputError: if the disk is full or fails.
    """
    from webdataset import TarWriter

    path = shard_path(folder, number)
    # No owner and no date: the same samples give the same bytes.
    plain = {"user": "", "group": "", "mode": 0o644, "mtime": 0, "encoder": False}
    with (
        _disk_trouble_told(path),
        written_whole(path) as temporary,
        temporary.open("wb") as file,
        TarWriter(file, **plain) as tar,
    ):
        for batch in batches:
            for place in range(len(batch)):
                sample = batch[place]
                files = encode(sample, jpeg_quality=manifest.jpeg_quality)
                tar.write({"__key__": f"{int(sample.index):09d}", **files})
            on_samples(len(batch))


@contextmanager
def _disk_trouble_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, InputError):
        raise
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}): make room, then run the same "
            "command again; the shards that are finished stay."
        ) from error
