"""2D poses of the people and cameras that a lifter is to be adapted to. Nothing here is 3D."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.body.skeleton import Skeleton, map_joints
from meshreg.data.camera_files import read_camera
from meshreg.data.keypoint_clips import read_clip
from meshreg.data.lifter_input import H36M, MIN_CONFIDENCE, lifter_input
from meshreg.data.lifting import LiftingData, root_of
from meshreg.data.tracks import Track, tracks_of
from meshreg.errors import InputError
from meshreg.geometry.cameras import Camera, camera_from_focal, camera_from_fov, intrinsics
from meshreg.geometry.gaps import fill_gaps
from meshreg.geometry.screen import Size, screen_intrinsics, to_screen

FEWEST = 50  # poses: fewer do not tell where people appear
_SEEN_SHARE = 0.5  # of the joints of a pose, without which it is left out


@dataclass(frozen=True, eq=False)
class TargetPoses:
    """Poses of single frames, each with the camera that saw it."""

    x: Float[Tensor, "N J 2"]  # on the screen, gaps filled
    seen: Bool[Tensor, "N J"]  # which joints were found
    intrinsics: Float[Tensor, "N 4"]  # fx, fy, cx, cy on the screen

    def __len__(self) -> int:
        return len(self.x)

    def drawn(self, count: int, generator: torch.Generator) -> "TargetPoses":
        """So many at random."""
        return self.rows(torch.randint(len(self), (count,), generator=generator))

    def rows(self, rows: Int[Tensor, " M"] | Bool[Tensor, " N"]) -> "TargetPoses":
        return TargetPoses(self.x[rows], self.seen[rows], self.intrinsics[rows])


class GivenCamera(NamedTuple):
    """What is known of a camera: a calibration file, its focal length or its field of view."""

    path: Path | None = None
    focal_px: float | None = None
    fov_deg: float | None = None  # along the width

    def of(self, size: Size) -> Camera:
        """The camera for pictures of this size.

        Raises:
            InputError: unless exactly one thing is known.
        """
        known = sum(value is not None for value in self)
        if known != 1:
            raise InputError(
                "people are placed before the target's camera: give one of target.calibration (a "
                "file), target.focal (pixels) and target.fov (degrees along the width), "
                f"{'not none' if not known else f'not {known} of them'}."
            )
        if self.path is not None:
            return read_camera(self.path, size)
        if self.focal_px is not None:
            return camera_from_focal(self.focal_px, size)
        assert self.fov_deg is not None
        return camera_from_fov(self.fov_deg, size)


def read_targets(  # noqa: PLR0913
    paths: Sequence[Path],
    joints: Skeleton,
    camera: GivenCamera,
    *,
    joint_set: str | None = None,
    size: Size | None = None,
    min_confidence: float = MIN_CONFIDENCE,
) -> TargetPoses:
    """Everybody in files of 2D joints, whatever `read_clip` reads, as joints of a lifter's set.

    Points that are no numbers, or less confident, count as not seen; poses without their root, or
    with less than half of their joints, are left out.

    Raises:
        MissingFileError: if a file is not there.
        InputError: if a file is faulty, has other joints, tells no size, or shows too few people.
    """
    if not paths:
        raise InputError("expected files of 2D poses in target.files, found none: name some.")
    parts, faults, frames = [], [], 0
    for path in paths:
        clip = read_clip(path, joint_set=joint_set)
        if size and clip.size and size != clip.size:
            raise InputError(
                f"target.size says {list(size)} (height, width), but {path} is about pictures of "
                f"{list(clip.size)}: leave out target.size, or correct it."
            )
        found = size or clip.size
        if found is None:
            raise InputError(
                f"{path} does not say how large its pictures are: give target.size, such as "
                "[1080, 1920] (height, width)."
            )
        K = screen_intrinsics(camera.of(found).K, found)
        frames += len(clip.frames)
        for track in tracks_of(clip):
            try:
                parts.append(_poses(track, joints, found, K, min_confidence, path))
            except InputError as error:  # of somebody in the background, say
                faults.append(error)
    if not parts and faults:
        raise faults[0]
    poses = joined(parts) if parts else _nobody(joints)
    return checked(poses, joints, frames, ", ".join(path.name for path in paths[:3]))


def targets_of_clips(data: LiftingData) -> TargetPoses:
    """What cameras see of clips whose 3D joints are known, without those; for experiments.

    Raises:
        InputError: if a clip does not tell its camera, or there are too few.
    """
    parts = []
    for clip in data.clips:
        if clip.focal_px is None:
            raise InputError(f"{data.source} does not tell its cameras: use kind files.")
        height, width = clip.size
        K = intrinsics(clip.focal_px, clip.focal_px, width / 2, height / 2)
        x = to_screen(clip.keypoints_px, clip.size)
        seen = torch.ones(x.shape[:2], dtype=torch.bool)
        parts.append(TargetPoses(x, seen, screen_intrinsics(K, clip.size).expand(len(x), 4)))
    targets = joined(parts)
    return checked(targets, data.joints, len(targets), data.source)


def joined(parts: Sequence[TargetPoses]) -> TargetPoses:
    """All poses together."""
    return TargetPoses(
        x=torch.cat([part.x for part in parts]),
        seen=torch.cat([part.seen for part in parts]),
        intrinsics=torch.cat([part.intrinsics for part in parts]),
    )


def _nobody(joints: Skeleton) -> TargetPoses:
    x = torch.zeros(0, len(joints), 2)
    return TargetPoses(x, x[..., 0].bool(), torch.zeros(0, 4))


def checked(poses: TargetPoses, joints: Skeleton, frames: int, source: str) -> TargetPoses:
    """Only poses that can be aligned with.

    Raises:
        InputError: if too few are left.
    """
    enough = poses.seen.float().mean(1) >= _SEEN_SHARE
    kept = poses.rows(enough & poses.seen[:, root_of(joints)])
    if len(kept) < FEWEST:
        name = joints.joints[root_of(joints)]
        raise InputError(
            f"{source} shows {len(kept)} poses in {frames} frames in which the {name} and at least "
            f"half of the joints are seen (points that are no numbers are not): give {FEWEST} or "
            "more."
        )
    return kept


# --- joints ---------------------------------------------------------------------------------------
def _poses(  # noqa: PLR0913
    track: Track,
    joints: Skeleton,
    size: Size,
    K: Float[Tensor, "4"],
    min_confidence: float,
    path: Path,
) -> TargetPoses:
    """One person's poses as the lifter's joints: built by rule for those within Human3.6M's."""
    if set(joints.joints) <= set(H36M.joints):
        known = lifter_input(track, size, min_confidence=min_confidence)
        places = H36M.index(*joints.joints)
        points = torch.from_numpy(known.keypoints_px)[:, places]
        seen = torch.from_numpy(known.confidence)[:, places] > 0
    else:
        points, seen = _mapped(track, joints, min_confidence, path)
    x = to_screen(points.float(), size)
    return TargetPoses(x, seen, K.float().expand(len(x), 4))


def _mapped(
    track: Track, joints: Skeleton, min_confidence: float, path: Path
) -> tuple[Float[Tensor, "T J 2"], Bool[Tensor, "T J"]]:
    places, found = map_joints(track.joints, joints, approximate=True)
    missing = [name for name, there in zip(joints.joints, found, strict=True) if not there]
    if missing:
        raise InputError(
            f"{path} has joints of {track.joints.name}, without {', '.join(missing[:4])} of "
            f"{joints.name}, which the lifter takes: give other poses, or train a lifter of h36m17."
        )
    points = torch.from_numpy(track.points_px)[:, places]
    seen = torch.from_numpy(track.confidence)[:, places] >= max(min_confidence, 1e-6)
    if not seen.any(0).all():
        return points, seen & False  # nothing to fill the gaps of a joint with
    return fill_gaps(points, seen), seen
