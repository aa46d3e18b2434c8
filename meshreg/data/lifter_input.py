"""One person's 2D joints as lifters want them: Human3.6M's 17 joints in every frame.

Joints that a set lacks are built from those that it has. Gaps are filled along straight lines in
time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from meshreg.body.skeleton import map_joints, mirrored_name, skeleton
from meshreg.data.central_joints import central_joints, rules
from meshreg.data.tracks import Track, swapped_frames
from meshreg.errors import InputError
from meshreg.geometry.gaps import fill_gaps, longest_gap

H36M = skeleton("h36m17")
MIN_CONFIDENCE = 0.3  # below it a joint counts as not seen
# Without these nothing can be said about the others.
_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_FILLED_SHARE = 0.2  # of all joints in all frames: more than this is worth a warning
_OUTSIDE_SHARE = 0.5
_FACELESS_SHARE = 0.02
_SMALLEST_PX = 8.0  # the extent of all joints of all frames; less is nobody


@dataclass(frozen=True, eq=False)
class LifterInput:
    """What a lifter is given."""

    keypoints_px: Float[np.ndarray, "T 17 2"]  # joints of h36m17, pixels, no gaps
    confidence: Float[np.ndarray, "T 17"]  # zero where a gap was filled
    remarks: tuple[str, ...]  # what was made up or looks wrong, in words


@dataclass(frozen=True, eq=False)
class _Joints:
    """Points by name, each with how far it can be believed in every frame."""

    points: dict[str, np.ndarray]  # (T, 2)
    confidence: dict[str, np.ndarray]  # (T,)

    def has(self, *names: str) -> bool:
        """Whether each of them is seen at least once."""
        return all(name in self.confidence and self.confidence[name].any() for name in names)

    def add(self, name: str, points: np.ndarray, confidence: np.ndarray) -> None:
        self.points[name], self.confidence[name] = points, confidence


def lifter_input(
    track: Track, size: tuple[int, int], *, min_confidence: float = MIN_CONFIDENCE
) -> LifterInput:
    """The 17 joints of Human3.6M in every frame of a track.

    Less confident joints count as not seen, and are put on a straight line in time between the
    frames in which they are; before the first and after the last they keep that place. Arms, legs
    or a head that are never seen stay where the joint above is.

    Raises:
        InputError: if shoulders or hips are never seen, or the joints lie outside the picture.
    """
    seen = track.confidence >= max(min_confidence, 1e-6)
    if not seen.any():
        raise InputError(
            f"no joint of person {track.person} has a confidence of {min_confidence:g} or more: "
            "lower --min-confidence, or choose another person."
        )
    _check_places(track, seen, size)
    joints = _named(track, seen)
    remarks = _build(joints)
    missing = [name for name in H36M.joints if not joints.has(name)]
    if missing:
        _stand_in(joints, missing)
        remarks.append(f"never seen, so they stay at the joint above: {', '.join(missing)}")
    points = np.stack([joints.points[name] for name in H36M.joints], 1)
    confidence = np.stack([joints.confidence[name] for name in H36M.joints], 1)
    filled = _filled(points, confidence > 0)
    remarks += _remarks(filled, confidence > 0)
    return LifterInput(filled.astype(np.float32), confidence.astype(np.float32), tuple(remarks))


def _check_places(track: Track, seen: np.ndarray, size: tuple[int, int]) -> None:
    height, width = size
    points = track.points_px[seen]
    if len(points) > 2 and np.abs(points).max() <= 1.5:
        raise InputError(
            f"the keypoints lie between {points.min():.2f} and {points.max():.2f}: expected pixels "
            "of the picture, not shares of its size."
        )
    extent = np.linalg.norm(np.ptp(points, axis=0))
    if extent < _SMALLEST_PX:
        raise InputError(
            f"all joints of person {track.person} lie within {extent:.1f} px: a person must be at "
            f"least {_SMALLEST_PX:g} px large."
        )
    outside = ((points < -0.5) | (points > np.array([width, height]) - 0.5)).any(1).mean()
    if outside > _OUTSIDE_SHARE:
        x, y = np.median(points, 0)
        raise InputError(
            f"{outside:.0%} of the joints lie outside the {width}x{height} picture, around "
            f"({x:.0f}, {y:.0f}): give the size of the pictures that they were found in."
        )


def _named(track: Track, seen: np.ndarray) -> _Joints:
    """The track's joints under Human3.6M's names where they mean the same point, else their own."""
    joints = _Joints({}, {})
    believed = np.where(seen, track.confidence, 0.0)
    for place, name in enumerate(track.joints.joints):
        joints.add(name.removesuffix("_coco"), track.points_px[:, place], believed[:, place])
    places, found = map_joints(track.joints, H36M)
    for name, place, there in zip(H36M.joints, places, found, strict=True):
        if there:
            joints.add(name, track.points_px[:, place], believed[:, place])
    _add_near(joints, track, believed)
    if not joints.has(*_TRUNK):
        absent = [name for name in _TRUNK if not joints.has(name)]
        raise InputError(
            f"no frame shows {', '.join(absent)} of person {track.person}: lifting needs shoulders "
            "and hips, as of coco17, openpose25 or h36m17."
        )
    return joints


def _add_near(joints: _Joints, track: Track, believed: np.ndarray) -> None:
    """Points within centimetres of a joint, for sets that cannot build it from a nose."""
    places, found = map_joints(track.joints, H36M, approximate=True)
    for name, place, there in zip(H36M.joints, places, found, strict=True):
        by_rule = joints.has("nose") and mirrored_name(name) == name
        if there and name not in joints.points and not by_rule:
            joints.add(name, track.points_px[:, place], believed[:, place])


def _build(joints: _Joints) -> list[str]:
    """Pelvis, spine, thorax, jaw and head where the set has none; what is to be said about it."""
    if "pelvis" not in joints.points:
        hips = joints.points["left_hip"], joints.points["right_hip"]
        sure = joints.confidence["left_hip"], joints.confidence["right_hip"]
        joints.add("pelvis", np.mean(hips, 0), np.min(sure, 0))
    points, believed, rule = central_joints(joints.points, joints.confidence)
    lacking = [name for name in points if name not in joints.points]
    for name in lacking:
        joints.add(name, points[name], believed[name])
    faceless = float((rule == len(rules()) - 1).mean())
    if "head_h36m" not in lacking or faceless <= _FACELESS_SHARE:
        return []
    return [f"{faceless:.0%} of the frames show no face: there shoulders and hips place the head"]


def _stand_in(joints: _Joints, missing: list[str]) -> None:
    for name in missing:  # parents come first in this set
        above = H36M.joints[H36M.parents[H36M.index(name)[0]]]
        joints.add(name, joints.points[above], joints.confidence[above])


def _filled(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return fill_gaps(torch.from_numpy(points), torch.from_numpy(seen)).numpy()


def _remarks(points_px: np.ndarray, seen: np.ndarray) -> list[str]:
    remarks = []
    share, gap = float((~seen).mean()), longest_gap(torch.from_numpy(seen))
    if share > 0:
        worst = [n for n, s in zip(H36M.joints, seen.mean(0), strict=True) if s < 1 - _FILLED_SHARE]
        worst = worst if len(worst) < len(H36M) else []  # nobody was seen at all
        remarks.append(
            f"{share:.1%} of the joints were not seen and put on straight lines in time, for up to "
            f"{gap} frames in a row" + (f"; mostly {', '.join(worst)}" if worst else "")
        )
    if swaps := swapped_frames(points_px, H36M):
        listed = ", ".join(map(str, swaps[:6])) + (", ..." if len(swaps) > 6 else "")
        remarks.append(f"left and right seem to change places at frame {listed} of this person")
    return remarks
