"""Clips of people whom no lifter was trained on, and lifters measured on them."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.regressor import JointRegressor
from meshreg.body.smpl import load_body
from meshreg.data.lifting import LiftingData
from meshreg.data.lifting_motion import WorldClips, choose_subjects, seen_clips, world_clips
from meshreg.data.lifting_settings import CLEAN, TYPICAL, CameraSettings
from meshreg.data.motion_files import read_motion
from meshreg.evaluate.lifting import find_lifting_protocol, measured
from meshreg.lifters.lifting import clip_sizes, lift
from meshreg.metrics import Interval, bootstrap_interval

SUBJECTS = (5, 14, 86)
CAMERAS_SEED = 1_000_003  # that of `meshreg evaluate --protocol lift-motion`
MEASURES = ("mpjpe_mm", "pa_mpjpe_mm", "mpjve_mm")


def held_out_people(motion: Path) -> WorldClips:
    """The joints of subjects 5, 14 and 86 of CMU's motion, on the average body."""
    moving, body = read_motion(motion), load_body()
    regressor = JointRegressor.from_body(body.data, "h36m17")
    chosen = choose_subjects(moving, only=SUBJECTS)
    return world_clips(moving, body, regressor, clips=chosen)


def seen(clips: WorldClips, *, noisy: bool, views: int) -> LiftingData:
    """The clips from random cameras, always the same; as they are, or as a detector finds them."""
    return seen_clips(
        clips,
        views=views,
        cameras=CameraSettings(),
        noise=TYPICAL if noisy else CLEAN,
        seed=CAMERAS_SEED,
    )


@dataclass(frozen=True, eq=False)
class Measured:
    """Errors of every frame."""

    values: dict[str, Float[Tensor, " _"]]  # measure -> millimetres; velocities are fewer
    groups: dict[str, Int[Tensor, " _"]]  # which recording each is of, whatever the camera
    action_mean_mm: float  # MPJPE as the protocol lift-motion averages it

    def interval(self, measure: str) -> Interval:
        """The mean over all frames, and how sure it is if other recordings had been taken."""
        return bootstrap_interval(self.values[measure], self.groups[measure])


def measure(
    network: nn.Module, data: LiftingData, *, flip: bool, overlap: bool = False
) -> Measured:
    """Lift every clip by the rules of the protocol lift-motion.

    With `overlap`, windows of lifters of whole sequences overlap by two thirds.
    """
    sizes = clip_sizes(network)
    overlaps = overlap and sizes.predicts == "sequence"
    stride = max(1, sizes.frames // 3) if overlaps else None
    rules = find_lifting_protocol("lift-motion")
    recordings = list(dict.fromkeys(clip.camera.rsplit(" view ", 1)[0] for clip in data.clips))
    values: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    groups: dict[str, list[Tensor]] = {name: [] for name in MEASURES}
    actions: dict[str, list[Tensor]] = {}
    for clip in data.clips:
        poses = lift(
            network,
            clip.keypoints_px,
            clip.size,
            flip=flip,
            keep_root=rules.keep_root,
            stride=stride,
        )
        found = measured(poses, clip, data.joints, rules)
        recording = recordings.index(clip.camera.rsplit(" view ", 1)[0])
        for name in MEASURES:
            values[name].append(found[name])
            groups[name].append(torch.full((len(found[name]),), recording))
        actions.setdefault(clip.action, []).append(found["mpjpe_mm"])
    return Measured(
        values={name: torch.cat(parts) for name, parts in values.items()},
        groups={name: torch.cat(parts) for name, parts in groups.items()},
        action_mean_mm=float(
            torch.stack([torch.cat(parts).mean() for parts in actions.values()]).mean()
        ),
    )
