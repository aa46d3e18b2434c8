"""Annotated photographs as a source of training pictures, from files of annotations."""

import copy
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from meshreg.body.smpl import Body
from meshreg.clothing.schemes import find_scheme
from meshreg.data.annotations import Annotations
from meshreg.data.bedlam import read_bedlam
from meshreg.data.people import PeopleInPictures, Pictures
from meshreg.data.sample import Batch, Sample, stack
from meshreg.data.spin_npz import read_spin
from meshreg.data.threedpw import read_threedpw
from meshreg.errors import InputError, MissingFileError

Format: TypeAlias = Literal["spin", "bedlam", "threedpw"]
READERS: dict[Format, Callable[[Path], Annotations]] = {
    "spin": read_spin,
    "bedlam": read_bedlam,
    "threedpw": read_threedpw,
}


class Photographs:
    """The people of one or more files of annotations; pictures are read when they are taken."""

    def __init__(
        self, path: Path, kind: Format, pictures: Pictures, body: Body, *, centred: bool = False
    ) -> None:
        """Read the annotations, of a file or of all files of a folder; betas are of `body`.

        With `centred`, known cameras turn towards people before they are cut out.

        Raises:
            InputError: if files are missing, damaged, or do not belong together.
        """
        find_scheme(pictures.scheme)
        # Who trains moves the body to a GPU, but pictures are prepared on the CPU.
        own = copy.deepcopy(body).cpu()
        self.parts = [
            PeopleInPictures(
                _with_meant_betas(READERS[kind](file), kind, body),
                pictures,
                body=own,
                stand_ins=False,  # they count as keypoints already
                centred=centred,
            )
            for file in _files(path, kind)
        ]
        self._ends = list(accumulate(len(part) for part in self.parts))

    @property
    def count(self) -> int:
        return self._ends[-1]

    def take(self, indices: Sequence[int]) -> Batch:
        """These people.

        Raises:
            InputError: naming file and row, if a picture or its label map cannot be used.
        """
        return stack([self._sample(index) for index in indices])

    def _sample(self, index: int) -> Sample:
        number = bisect_right(self._ends, index)
        people = self.parts[number]
        row = index - (self._ends[number - 1] if number else 0)
        try:
            return people[row]
        except InputError as error:
            raise type(error)(f"row {row} of {people.annotations.source}: {error}") from error


def _files(path: Path, kind: Format) -> list[Path]:
    """The files to read one by one; 3DPW's reader knows folders itself."""
    if kind == "threedpw" or not path.is_dir():
        return [path]
    files = sorted(path.glob("*.npz"))
    if not files:
        raise MissingFileError(f"no .npz of annotations in {path}: give a file or their folder.")
    return files


def _with_meant_betas(annotations: Annotations, kind: Format, body: Body) -> Annotations:
    """The annotations without betas of a man's or a woman's body if this one is not it.

    The same numbers are other shapes there. BEDLAM tells genders, too, but all its betas are those
    of the neutral body.
    """
    if annotations.topology_hash or kind == "bedlam":
        return annotations
    ours = [gender in ("", body.data.name.removeprefix("smpl_")) for gender in annotations.genders]
    weight = np.where(ours, annotations.betas_weight, 0.0)
    return replace(annotations, betas_weight=weight)
