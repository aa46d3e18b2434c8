"""Who is who in a film: people of one frame joined to those of the frames before."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from meshreg.body.skeleton import Skeleton
from meshreg.data.keypoint_clips import KeypointClip
from meshreg.data.keypoint_layouts import Frames, Sighting
from meshreg.errors import InputError

REACH = 0.5  # of a person's size: how far joints move on average from one sighting to the next
PATIENCE = 15  # frames for which somebody may be out of sight and still be the same person


@dataclass(frozen=True, eq=False)
class Track:
    """One person's 2D joints, from the first frame of being seen to the last."""

    person: str  # the file's own name for the person, or a number in order of appearance
    joints: Skeleton
    start: int  # the clip's frame that comes first here
    points_px: np.ndarray  # (T, J, 2) float64; zero where not seen
    confidence: np.ndarray  # (T, J) float64 in 0..1; zero = not seen

    @property
    def num_seen(self) -> int:
        """Frames in which the person has any joint."""
        return int((self.confidence > 0).any(1).sum())


@dataclass
class _Open:
    """A track while it grows."""

    person: str
    frames: dict[int, Sighting] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(self.frames)


def tracks_of(clip: KeypointClip) -> list[Track]:
    """Everybody in a clip, in order of appearance.

    People keep the names that a file gives them. Where it gives none, each is joined to the nearest
    person of up to `PATIENCE` frames before, nearest pairs first, if the joints that both have
    are within `REACH` of the person's size on average.
    """
    named = all(person.track for frame in clip.frames for person in frame)
    tracks = _by_name(clip.frames) if named else _by_nearness(clip.frames)
    return [_track(track, clip.joints) for track in tracks]


def chosen_track(tracks: list[Track], person: int | None) -> Track:
    """The track of a number, or the one with the most frames.

    Raises:
        InputError: if there is no such number, it says which there are; or nobody at all.
    """
    if not tracks:
        raise InputError(
            "no frame shows a joint: all are without confidence or no numbers, so nothing can be "
            "lifted."
        )
    longest = sorted(tracks, key=lambda track: -track.num_seen)
    if person is None:
        return longest[0]
    found = [track for track in tracks if track.person == str(person)]
    if not found:
        listed = ", ".join(f"{t.person} ({t.num_seen} frames)" for t in longest[:8])
        raise InputError(f"there is no person {person}: choose from {listed}.")
    return found[0]


def _by_name(frames: Frames) -> list[_Open]:
    tracks: dict[str, _Open] = {}
    for number, frame in enumerate(frames):
        for sighting in sorted(frame, key=lambda s: s.score):  # the best one stays
            tracks.setdefault(sighting.track, _Open(sighting.track)).frames[number] = sighting
    return list(tracks.values())


def _by_nearness(frames: Frames) -> list[_Open]:
    tracks: list[_Open] = []
    for number, frame in enumerate(frames):
        alive = [track for track in tracks if number - track.last <= PATIENCE]
        pairs = sorted(
            (_distance(track.frames[track.last], sighting), t, s)
            for t, track in enumerate(alive)
            for s, sighting in enumerate(frame)
        )
        free, new = set(range(len(alive))), set(range(len(frame)))
        for distance, t, s in pairs:
            if distance <= REACH and t in free and s in new:
                alive[t].frames[number] = frame[s]
                free.remove(t)
                new.remove(s)
        for s in sorted(new):
            if (frame[s].table[:, 2] > 0).any():
                tracks.append(_Open(str(len(tracks)), {number: frame[s]}))
    return tracks


def _distance(before: Sighting, now: Sighting) -> float:
    """Mean distance of the joints that both have, in sizes of the person; infinite without any."""
    both = (before.table[:, 2] > 0) & (now.table[:, 2] > 0)
    if not both.any():
        return float("inf")
    apart = np.linalg.norm(before.table[both, :2] - now.table[both, :2], axis=1).mean()
    return float(apart / max(_extent(before), _extent(now), 1.0))


def _extent(sighting: Sighting) -> float:
    seen = sighting.table[sighting.table[:, 2] > 0, :2]
    return float(np.linalg.norm(np.ptp(seen, axis=0)))


def _track(track: _Open, joints: Skeleton) -> Track:
    start, length = min(track.frames), track.last - min(track.frames) + 1
    table = np.zeros((length, len(joints), 3))
    for number, sighting in track.frames.items():
        table[number - start] = sighting.table
    seen = table[..., 2] > 0
    return Track(
        person=track.person,
        joints=joints,
        start=start,
        points_px=np.where(seen[..., None], table[..., :2], 0.0),
        confidence=table[..., 2],
    )


def swapped_frames(points_px: np.ndarray, joints: Skeleton) -> list[int]:
    """Frames at which left and right change places: exchanging them would move joints far less.

    A detector's confusion of sides, which a lifter takes for a turn of the whole body. Frames are
    those where it begins or ends.
    """
    sides = [(i, f) for i, f in enumerate(joints.flip) if i < f]
    places, others = [i for pair in sides for i in pair], [i for a, b in sides for i in (b, a)]
    found = []
    for number, (before, now) in enumerate(pairwise(points_px), start=1):
        stays = np.linalg.norm(now[places] - before[places], axis=1).sum()
        swaps = np.linalg.norm(now[others] - before[places], axis=1).sum()
        width = np.linalg.norm(now[places] - now[others], axis=1).sum()
        if swaps < 0.5 * stays and stays > 0.5 * width:
            found.append(number)
    return found
