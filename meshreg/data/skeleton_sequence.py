"""A lifted skeleton over time, and its files: `.npz` to compute with, `.csv` to look at."""

import csv
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from meshreg.body.assets import write_npz
from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

SCHEMA_VERSION = 1
JOINT_SET = "h36m17"


@dataclass(frozen=True, eq=False)
class SkeletonSequence:
    """3D joints of one person: metres, the camera's axes (x right, y down, z away from it)."""

    joints_cam: Float[np.ndarray, "T 17 3"]  # from the pelvis, which is 0
    root_cam: Float[np.ndarray, "T 3"]  # where the pelvis is, from the camera; 0 if nobody knows
    fps: float  # frames per second
    camera_source: str  # where the camera that gave `root_cam` came from, in words
    start_frame: int = 0  # the film's frame that comes first here
    joint_names: tuple[str, ...] = skeleton(JOINT_SET).joints
    schema_version: int = SCHEMA_VERSION

    def __len__(self) -> int:
        return len(self.joints_cam)

    @property
    def skeleton(self) -> Skeleton:
        return skeleton(JOINT_SET)

    @property
    def placed_cam(self) -> Float[np.ndarray, "T 17 3"]:
        """The joints where they are, from the camera."""
        return self.joints_cam + self.root_cam[:, None]


def check_sequence(sequence: SkeletonSequence) -> None:
    """Refuse what cannot be a skeleton.

    Raises:
        InputError: if there are no frames, a number is not finite, or the rate makes no sense.
    """
    if not len(sequence):
        raise InputError("the skeleton has no frames: lift at least one.")
    if not (np.isfinite(sequence.joints_cam).all() and np.isfinite(sequence.root_cam).all()):
        raise InputError(
            "the lifted joints are not all finite: the weights of this lifter are damaged, or its "
            "keypoints are far outside the picture."
        )
    if not 0 < sequence.fps < np.inf:
        raise InputError(f"expected frames per second above 0, found {sequence.fps:g}.")


def save_sequence(path: str | Path, sequence: SkeletonSequence) -> None:
    """Write an `.npz` whose keys are the fields of `SkeletonSequence`.

    Raises:
        InputError: if the sequence is none (see `check_sequence`), or cannot be written.
    """
    check_sequence(sequence)
    write_npz(Path(path), {f.name: np.asarray(getattr(sequence, f.name)) for f in fields(sequence)})


def load_sequence(path: str | Path) -> SkeletonSequence:
    """Read what `save_sequence` wrote.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file, or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no skeleton at {path}: make one with `meshreg lift`.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            read: dict[str, Any] = {f.name: arrays[f.name] for f in fields(SkeletonSequence)}
    except (ValueError, TypeError, EOFError, LookupError, OSError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a skeleton of `meshreg lift`, or is damaged: lift again."
        ) from error
    if (found := int(read["schema_version"])) != SCHEMA_VERSION:
        raise InputError(
            f"expected schema version {SCHEMA_VERSION} in {path}, found {found}: read it with the "
            "version of meshreg that wrote it, or lift again."
        )
    names = tuple(str(name) for name in read["joint_names"])
    plain = {"fps": float, "camera_source": str, "start_frame": int, "schema_version": int}
    return SkeletonSequence(
        **read | {name: kind(read[name]) for name, kind in plain.items()} | {"joint_names": names}
    )


def save_csv(path: str | Path, sequence: SkeletonSequence) -> None:
    """Write a table with a row per frame: its number, seconds, and x, y, z of every joint, metres.

    Joints are from the pelvis; the pelvis's own columns say where it is, from the camera.

    Raises:
        InputError: if the file cannot be written.
    """
    check_sequence(sequence)
    names = [f"{name}_{axis}" for name in sequence.joint_names for axis in "xyz"]
    values = sequence.joints_cam.copy()
    values[:, 0] = sequence.root_cam
    with written_whole(Path(path)) as temporary, temporary.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "seconds", *names])
        for number, row in enumerate(values.reshape(len(values), -1)):
            seconds = f"{number / sequence.fps:.6f}"
            frame = sequence.start_frame + number
            table.writerow([frame, seconds, *(f"{value:.5f}" for value in row)])
