"""Checkpoints: tensors as safetensors, all else as JSON, each whole or not there at all.

A checkpoint is a folder `step_00001000`; it gets this name only when it is finished, and its
`state.json` holds the digest of each of its files, so that damage is noticed. The files `latest`
and `best` name a folder each. Nothing is ever unpickled.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from meshreg.errors import InputError
from meshreg.files import written_whole

STATE = "state.json"
_FOLDER = re.compile(r"step_(\d{8,})")
_DAMAGED = (OSError, ValueError, LookupError, TypeError, SafetensorError)

Tensors = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a run needs to go on."""

    step: int  # steps done; the next one has this number
    tensors: Tensors  # by part ("model", "ema", "optimiser") and name
    facts: dict[str, Any]  # whatever can be written as JSON
    score: float | None = None  # lower is better; None: not judged


class Checkpoints:
    """The checkpoints of one run in a folder of their own."""

    def __init__(self, folder: Path, *, keep: int = 2) -> None:
        assert keep >= 1, keep
        self.folder, self.keep = folder, keep

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write one, point to it, and remove those that are no longer needed.

        Raises:
            InputError: if the disk is full or fails; the earlier ones stay.
        """
        path = self.folder / f"step_{checkpoint.step:08d}"
        unfinished = self.folder / f".step_{checkpoint.step:08d}.part"
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            _write(unfinished, checkpoint)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(unfinished, path)
            self._point("latest", path)
            best = self.best()
            if checkpoint.score is not None and (best is None or checkpoint.score <= best[1]):
                self._point("best", path)
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"cannot write the checkpoint {path} ({error}): make room, then run the same "
                "command again; the last checkpoint stays."
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._remove_old()
        return path

    def newest(self, warn: Callable[[str], None]) -> Checkpoint | None:
        """The newest that is whole, or None if there is none at all; `warn` hears of damage.

        Raises:
            InputError: if there are some, but none is whole.
        """
        found = self._all()
        for number, path in enumerate(reversed(found)):
            try:
                return read_checkpoint(path)
            except InputError as error:
                older = found[: len(found) - 1 - number]
                if not older:
                    raise InputError(
                        f"no checkpoint in {self.folder} is whole ({error})"
                    ) from error
                warn(f"{path.name} is damaged: going on from {older[-1].name} instead.")
        return None

    def best(self) -> tuple[Path, float] | None:
        """The best so far and its score, if any was judged."""
        pointer = self.folder / "best"
        if not pointer.is_file():
            return None
        path = self.folder / pointer.read_text("utf-8").strip()
        try:
            return path, float(json.loads((path / STATE).read_text("utf-8"))["score"])
        except _DAMAGED:
            return None

    def _all(self) -> list[Path]:
        """All that have their final names, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _FOLDER.fullmatch(path.name)]
        return sorted(found, key=lambda path: int(path.name.removeprefix("step_")))

    def _point(self, name: str, path: Path) -> None:
        with written_whole(self.folder / name) as temporary:
            temporary.write_text(path.name + "\n", "utf-8")

    def _remove_old(self) -> None:
        best = self.best()
        for path in self._all()[: -self.keep]:
            if best is None or path != best[0]:
                shutil.rmtree(path, ignore_errors=True)


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    digests = {}
    for part, tensors in checkpoint.tensors.items():
        path = folder / f"{part}.safetensors"
        # Copies, because weights may share memory, which safetensors refuses.
        save_file({name: value.detach().cpu().clone() for name, value in tensors.items()}, path)
        digests[part] = _digest(path)
    state = {
        "step": checkpoint.step,
        "score": checkpoint.score,
        "facts": checkpoint.facts,
        "sha256": digests,
    }
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", "utf-8")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one folder, checking every file against its digest.

    Raises:
        InputError: if anything is missing or damaged.
    """
    try:
        state = json.loads((path / STATE).read_text("utf-8"))
        tensors = {}
        for part, digest in state["sha256"].items():
            file = path / f"{part}.safetensors"
            if _digest(file) != digest:
                raise ValueError(f"{file.name} has changed")
            tensors[part] = load_file(file)
        return Checkpoint(
            step=int(state["step"]), tensors=tensors, facts=state["facts"], score=state["score"]
        )
    except _DAMAGED as error:
        raise InputError(
            f"the checkpoint {path} is damaged ({error}): delete this folder and run the same "
            "command again."
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
