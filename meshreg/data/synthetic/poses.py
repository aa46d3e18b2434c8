"""Where the poses of synthetic people come from: one at a time, from motion capture."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.motion import Motion, plausible_frames
from meshreg.data.synthetic.collisions import penetration
from meshreg.data.synthetic.turns import rotvec_to_rotmat, without_heading
from meshreg.errors import InputError

TOLERANCE = 0.015  # metres that capsules may overlap before a pose is drawn anew
ATTEMPTS = 8
SHORT_CATEGORY = 900  # frames; a category with fewer is drawn less often, to repeat itself less
_FLIP = np.array(SKELETONS["smpl24"].flip)
_DECIMALS = 6  # what the last bits of sines differ by between machines must not be seen


@dataclass(frozen=True, eq=False)
class PoseDraw:
    """One pose; for the same random numbers the same on every machine, to about a millionth."""

    root_rotmat: Float[np.ndarray, "3 3"]  # tilt in a world with y up; the body's front is +z
    body_pose: Float[np.ndarray, "23 3"]  # axis-angle of SMPL's joints after the pelvis, radians


class PoseSource(Protocol):
    """Anything that natural poses can be drawn from."""

    def sample(self, rng: np.random.Generator) -> PoseDraw:
        """One pose; the source itself does not change."""


def mirrored(draw: PoseDraw) -> PoseDraw:
    """The mirror image: sides swapped, left becomes right."""
    pose = np.concatenate([np.zeros((1, 3)), draw.body_pose])[_FLIP] * [1.0, -1.0, -1.0]
    signs = np.array([-1.0, 1.0, 1.0])
    return PoseDraw(draw.root_rotmat * signs[:, None] * signs, pose[1:])


def finished(draw: PoseDraw, rng: np.random.Generator) -> PoseDraw:
    """Half of the time mirrored; rounded."""
    if rng.random() < 0.5:
        draw = mirrored(draw)
    return PoseDraw(
        np.round(draw.root_rotmat, _DECIMALS) + 0.0, np.round(draw.body_pose, _DECIMALS) + 0.0
    )


def choice(cumulative: Float[np.ndarray, " N"], rng: np.random.Generator) -> int:
    """An index, drawn with the weights whose running sum this is."""
    found = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    return int(min(found, len(cumulative) - 1))


@cache
def average_rest_joints() -> Float[np.ndarray, "24 3"]:
    """The unposed joints of the built-in body's average."""
    body = load_body()
    rest = body.rest_joints(torch.zeros(1, body.num_betas))[0].numpy().astype(np.float64)
    return np.round(rest, _DECIMALS)


def least_colliding(draws: Collection[PoseDraw]) -> PoseDraw:
    """The pose whose parts are least in each other."""
    return min(draws, key=lambda draw: penetration(draw.body_pose, average_rest_joints()))


class MotionPoses:
    """Frames of mocap, every category about as often, subjects in or out."""

    def __init__(
        self,
        motion: Motion,
        *,
        subjects: Collection[int] | None = None,
        excluded: Collection[int] = (),
    ) -> None:
        """Use the clips of `subjects` (all if None) but not of those `excluded`.

        Raises:
            InputError: if no usable frame is left.
        """
        of_frame = np.array(motion.subject)[motion.clip.numpy()]
        kept = plausible_frames(motion).numpy() & ~np.isin(of_frame, list(excluded))
        if subjects is not None:
            kept &= np.isin(of_frame, list(subjects))
        if not kept.any():
            raise InputError(
                f"no usable frame of motion is left: choose among the subjects "
                f"{sorted(set(motion.subject))}, whose joints must bend as a body's can."
            )
        self._poses = motion.poses.numpy()[kept].astype(np.float64)
        kinds = sorted(set(motion.category))
        kind = np.array([kinds.index(c) for c in motion.category])[motion.clip.numpy()[kept]]
        self._frames = [np.flatnonzero(kind == k) for k in range(len(kinds)) if (kind == k).any()]
        weights = [min(len(frames), SHORT_CATEGORY) for frames in self._frames]
        self._cumulative = np.cumsum(np.array(weights, np.float64))

    def sample(self, rng: np.random.Generator) -> PoseDraw:
        """A frame, without heading, mirrored half of the time; colliding ones are drawn anew."""
        draws = []
        for _ in range(ATTEMPTS):
            frames = self._frames[choice(self._cumulative, rng)]
            pose = self._poses[frames[int(rng.integers(len(frames)))]]
            root = without_heading(rotvec_to_rotmat(pose[0]))
            draws.append(PoseDraw(root, pose[1:]))
            if penetration(pose[1:], average_rest_joints()) <= TOLERANCE:
                return finished(draws[-1], rng)
        return finished(least_colliding(draws), rng)
