"""Samples in memory-mapped arrays: any of them at once, at the size that training needs.

Decoding pictures costs more than training a small network on them; a cache of the decoded ones
takes 64 KB for a person at 128 pixels.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.data.mixture import Source
from meshreg.data.resized import resized
from meshreg.data.sample import HIDDEN_LABEL, NO_PART, Batch, Sample
from meshreg.errors import InputError, MissingFileError

FORMAT = 1
INDEX = "cache.json"
# Maps that need not be kept, and what stands for them then.
OPTIONAL: dict[str, tuple[torch.dtype, float]] = {
    "labels": (torch.uint8, HIDDEN_LABEL),
    "depth": (torch.float32, 0.0),
    "part": (torch.uint8, NO_PART),
    "instance": (torch.uint8, 0),
}
LATER = ("K_weight",)  # fields that came after the first caches
_BATCH = 64
_UNREADABLE = (OSError, ValueError, LookupError, TypeError)


@dataclass(frozen=True)
class CacheIndex:
    """What a cache holds."""

    count: int
    size: int  # side of the pictures, pixels
    maps: tuple[str, ...]  # the optional maps that are kept
    topology_hash: str  # of the body that the betas and poses belong to
    made_of: str  # names the samples by their settings, so that a changed source is noticed
    format: int = FORMAT


def write_cache(
    folder: Path,
    source: Source,
    index: CacheIndex,
    *,
    on_samples: Callable[[int], None] = lambda count: None,
) -> None:
    """Write all samples of a source with an end; the folder appears only when it is whole.

    Raises:
        InputError: if the disk is full or the folder cannot be made.
    """
    assert source.count is not None and index.count <= source.count, (source.count, index.count)
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(parents=True)
        arrays: dict[str, np.memmap] = {}
        for first in range(0, index.count, _BATCH):
            rows = range(first, min(first + _BATCH, index.count))
            batch = resized(source.take(rows), index.size)
            for name, values in _columns(batch, index.maps).items():
                if name not in arrays:
                    arrays[name] = _new_array(unfinished / f"{name}.npy", values, index.count)
                arrays[name][rows.start : rows.stop] = values
            on_samples(len(rows))
        for array in arrays.values():
            array.flush()
        (unfinished / INDEX).write_text(json.dumps(vars(index), indent=1) + "\n", "utf-8")
        os.replace(unfinished, folder)
    except OSError as error:
        raise InputError(
            f"cannot write the cache {folder} ({error.strerror or error}): make room, or choose "
            "another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _columns(batch: Batch, maps: Sequence[str]) -> dict[str, np.ndarray]:
    """What is kept of a batch."""
    left_out = {"vertices_cam"} | (OPTIONAL.keys() - set(maps))
    names = [field.name for field in fields(Sample) if field.name not in left_out]
    columns = {name: getattr(batch, name).numpy() for name in names}
    if "depth" in columns:
        columns["depth"] = columns["depth"].astype(np.float16)  # to a thousandth
    return columns


def _new_array(path: Path, values: np.ndarray, count: int) -> np.memmap:
    shape = (count, *values.shape[1:])
    return np.lib.format.open_memmap(path, mode="w+", dtype=values.dtype, shape=shape)


def read_index(folder: Path) -> CacheIndex:
    """What the cache in a folder holds.

    Raises:
        MissingFileError: if there is none.
        InputError: if its index cannot be read.
    """
    path = folder / INDEX
    if not path.is_file():
        raise MissingFileError(f"{folder} has no {INDEX}: give a folder that holds a cache.")
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']} instead of {FORMAT}")
        return CacheIndex(**values | {"maps": tuple(values["maps"])})
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is damaged ({error}): delete {folder} to make it anew."
        ) from error


class CachedPeople:
    """The samples of a cache, as a source for a mixture."""

    def __init__(self, folder: str | Path, *, topology_hash: str | None = None) -> None:
        """Check the folder; `topology_hash` is that of the body that training uses.

        Raises:
            InputError: if it is damaged or belongs to another body.
        """
        self.folder = Path(folder)
        self.index = read_index(self.folder)
        if topology_hash is not None:
            check_same_topology(topology_hash, self.index.topology_hash, f"the cache {folder}")
        left_out = {"vertices_cam"} | (OPTIONAL.keys() - set(self.index.maps))
        self._names = [field.name for field in fields(Sample) if field.name not in left_out]
        # Caches of earlier versions lack fields that may be left out.
        self._names = [name for name in self._names if name not in LATER or self._has(name)]
        self._arrays = {name: self._open(name) for name in self._names}

    @property
    def count(self) -> int:
        return self.index.count

    def take(self, indices: Sequence[int]) -> Batch:
        """These samples as one batch; maps that were not kept are unknown."""
        rows = np.asarray(indices)
        columns: dict[str, Tensor] = {
            name: torch.from_numpy(array[rows]) for name, array in self._arrays.items()
        }
        size = self.index.size
        for name, (kind, value) in OPTIONAL.items():
            found = columns.get(name)
            if found is None:
                found = torch.full((len(rows), size, size), value)
            columns[name] = found.to(kind)
        return Sample(vertices_cam=torch.zeros(len(rows), 0, 3), **columns)

    def _has(self, name: str) -> bool:
        return (self.folder / f"{name}.npy").is_file()

    def _open(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if len(array) != self.index.count:
                raise ValueError(f"{len(array)} samples instead of {self.index.count}")
        except _UNREADABLE as error:
            raise InputError(
                f"{path} is damaged ({error}): delete {self.folder} to make it anew."
            ) from error
        return array

    def __getstate__(self) -> dict[str, object]:
        """Worker processes map the files again rather than get copies of them."""
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]
