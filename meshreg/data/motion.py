"""Motion sequences: body poses over time, and the `.npz` files of arrays that hold many of them."""

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.errors import InputError, MissingFileError

_NEEDED = {"poses", "trans", "offsets", "names", "subject", "category", "fps", "licence"}
# Radians that no body turns these joints by.
_LARGEST_TURN = {
    "ankle": 1.2,
    "foot": 1.0,
    "wrist": 1.6,
    "knee": 2.8,
    "elbow": 2.7,
    "collar": 0.9,
}
# What numpy raises for damaged files, for files of another kind and for arrays of another kind.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
)


class MotionWarning(UserWarning):
    """Motion that can be used but looks wrong or is told incompletely."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Many clips of SMPL poses laid end to end."""

    poses: Float[Tensor, "N 24 3"]  # axis-angle, radians; joint 0 is the root in a y-up world
    pelvis: Float[Tensor, "N 3"]  # position of the pelvis joint, metres
    clip: Int[Tensor, " N"]  # which clip a frame belongs to, ascending
    fps: float
    names: tuple[str, ...]  # one per clip
    subject: tuple[int, ...]  # one per clip; 0 = unknown
    category: tuple[str, ...]  # one per clip, e.g. "walking"
    licence: str
    betas: Float[Tensor, "C S"] | None = None  # shape in the source's body model, one per clip
    gender: tuple[str, ...] = ()  # one per clip, or none: not told

    def frames_of(self, clip: int) -> slice:
        """Where the frames of a clip lie."""
        start, end = torch.searchsorted(self.clip, torch.tensor([clip, clip + 1])).tolist()
        return slice(start, end)

    def resampled(self, fps: float) -> "Motion":
        """The same motion at another rate: rotations by slerp, positions on straight lines.

        Every clip starts at its first frame and ends at or before its last.

        Raises:
            InputError: if the rate is not a positive number.
        """
        if not 0 < fps < math.inf:
            raise InputError(f"expected frames per second above 0, found {fps}: give, say, 30.")
        before, after, share, clip = [], [], [], []
        for number in range(len(self.names)):
            span = self.frames_of(number)
            last = span.stop - span.start - 1
            count = math.floor(last * fps / self.fps + 1e-3) + 1 if last >= 0 else 0
            time = torch.arange(count, dtype=torch.float64) * (self.fps / fps)
            left = time.floor().clamp(max=last).long()
            before.append(span.start + left)
            after.append(span.start + (left + 1).clamp(max=last))
            share.append((time - left).clamp(0, 1).to(self.poses))
            clip.append(torch.full((count,), number))
        a, b, t = torch.cat(before), torch.cat(after), torch.cat(share)
        return replace(
            self,
            poses=_slerp(self.poses[a], self.poses[b], t[:, None]),
            pelvis=torch.lerp(self.pelvis[a], self.pelvis[b], t[:, None]),
            clip=torch.cat(clip),
            fps=float(fps),
        )


def _slerp(
    start: Float[Tensor, "N J 3"], end: Float[Tensor, "N J 3"], share: Float[Tensor, "N 1"]
) -> Float[Tensor, "N J 3"]:
    """Along the shortest turn; rotation vectors at the ends stay as they are."""
    turn = roma.rotvec_composition([-start, end])
    between = roma.rotvec_composition([start, share[..., None] * turn])
    return torch.where(share[..., None] > 0, between, start)


def plausible_frames(motion: Motion) -> Bool[Tensor, " N"]:
    """Frames without impossible joints, which are faults of capture or retargeting."""
    smpl, angle = SKELETONS["smpl24"], motion.poses.norm(dim=-1)
    plausible = torch.ones(len(angle), dtype=torch.bool)
    for joint, limit in _LARGEST_TURN.items():
        pair = smpl.index(f"left_{joint}", f"right_{joint}")
        plausible &= (angle[:, pair] < limit).all(-1)
    return plausible


def joined(motions: Sequence[Motion]) -> Motion:
    """All clips in one motion, at the rate of the first; shapes only if all tell them.

    Raises:
        InputError: if there is nothing to join.
    """
    if not motions:
        raise InputError("expected motions to join, found none: read at least one file.")
    fps = motions[0].fps
    parts = [m if m.fps == fps else m.resampled(fps) for m in motions]
    first = np.cumsum([0] + [len(m.names) for m in parts[:-1]]).tolist()
    shapes = [m.betas for m in parts if m.betas is not None]
    alike = len(shapes) == len(parts) and len({betas.shape[1] for betas in shapes}) == 1
    told = all(m.gender for m in parts)
    return Motion(
        poses=torch.cat([m.poses for m in parts]),
        pelvis=torch.cat([m.pelvis for m in parts]),
        clip=torch.cat([m.clip + start for m, start in zip(parts, first, strict=True)]),
        fps=fps,
        names=_chained(m.names for m in parts),
        subject=_chained(m.subject for m in parts),
        category=_chained(m.category for m in parts),
        licence="; ".join(dict.fromkeys(m.licence for m in parts)),
        betas=torch.cat(shapes) if alike else None,
        gender=_chained(m.gender for m in parts) if told else (),
    )


def _chained(parts: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(entry for part in parts for entry in part)


def read_arrays(path: str | Path) -> dict[str, Any]:
    """The arrays of an `.npz` file that hold plain data; other kinds of content are passed over.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"no motion file at {path}: give the path of an .npz of SMPL poses.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(_plain_arrays(arrays))
    except _UNREADABLE as error:
        raise InputError(
            f"{path} is not a readable motion file: give an .npz of SMPL poses."
        ) from error


def _plain_arrays(arrays: Any) -> Iterator[tuple[str, np.ndarray]]:
    for name in arrays:
        try:
            yield name, arrays[name]
        except ValueError as error:
            # Pickled objects could run code, and in motion files hold nothing that is needed.
            if "allow_pickle" not in str(error):
                raise


def load_motion(path: str | Path) -> Motion:
    """Read an array file of retargeted motion.

    Expects `poses` (N,24,3), `trans` (N,3), `offsets` (clips+1), `names`, `subject`, `category`,
    `fps` and `licence`.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is no such file, or its arrays do not fit together or are not finite.
    """
    path = Path(path)
    return motion_of_arrays(read_arrays(path), path)


def motion_of_arrays(arrays: dict[str, Any], path: Path) -> Motion:
    """As `load_motion`, of arrays that were read already.

    Raises:
        InputError: if the arrays do not fit together or are not finite.
    """
    try:
        return _motion(arrays, path)
    except _UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a readable motion file: give an .npz of SMPL poses."
        ) from error


def _motion(arrays: dict[str, Any], path: Path) -> Motion:
    if missing := sorted(_NEEDED - set(arrays)):
        raise InputError(
            f"{path} lacks the arrays {', '.join(missing)} of a motion file: retarget it to SMPL's "
            "24 joints first."
        )
    _check(arrays, path)
    lengths = np.diff(arrays["offsets"])
    return Motion(
        poses=torch.from_numpy(arrays["poses"].astype(np.float32)),
        pelvis=torch.from_numpy(arrays["trans"].astype(np.float32)),
        clip=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)),
        fps=float(arrays["fps"]),
        names=tuple(str(name) for name in arrays["names"]),
        subject=tuple(int(number) for number in arrays["subject"]),
        category=tuple(str(name) for name in arrays["category"]),
        licence=str(arrays["licence"]),
    )


def _check(arrays: dict[str, Any], path: Path) -> None:
    frames, offsets = len(arrays["poses"]), arrays["offsets"]
    for name, shape in {"poses": (frames, 24, 3), "trans": (frames, 3)}.items():
        if arrays[name].shape != shape:
            raise InputError(
                f"{path} has {name} of shape {arrays[name].shape}: expected {shape}, one row for "
                "every frame."
            )
        if not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{path} holds {name} that are not finite: repair or drop those clips."
            )
    if offsets[0] != 0 or offsets[-1] != frames or (np.diff(offsets) < 0).any():
        raise InputError(
            f"{path} has offsets that do not cut its {frames} frames into clips: expected "
            "ascending numbers from 0 to the number of frames."
        )
    for name in ("names", "subject", "category"):
        if len(arrays[name]) != len(offsets) - 1:
            raise InputError(
                f"{path} has {len(arrays[name])} {name} for {len(offsets) - 1} clips: "
                "give one each."
            )
