"""Whom the uncertainty ablation judges: pieces of motion of bodies of all builds, as detected."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import load_body
from meshreg.data.chance import chance
from meshreg.data.detector_noise import detected
from meshreg.data.lifting_cameras import ViewsOfBoxes, random_views
from meshreg.data.lifting_motion import WorldClips, choose_subjects, world_clips
from meshreg.data.lifting_settings import TYPICAL, CameraSettings
from meshreg.data.motion import Motion
from meshreg.data.motion_files import read_motion
from meshreg.fit.roots import ANKLE_HEIGHT, Floor
from meshreg.geometry.lens import Lens, pinholes

JUDGED = (5, 14, 86)
BEFORE = 8  # frames in which the detector's errors begin
_SEED = 2_000_003  # bodies, cameras and errors of no training
_FLOOR_DOWN = torch.tensor([0.0, -1.0, 0.0])  # in the world


@dataclass(frozen=True, eq=False)
class Piece:
    """A few seconds of one person before a camera that stands still."""

    x: Float[Tensor, "T J 2"]  # as detected, on the screen
    joints_cam: Float[Tensor, "T J 3"]  # the truth, metres
    lens: Lens
    floor: Floor

    @property
    def poses(self) -> Float[Tensor, "T J 3"]:
        """The truth, from the root joint."""
        return self.joints_cam - self.joints_cam[:, :1]


@dataclass(frozen=True, eq=False)
class Judged:
    """All pieces."""

    pieces: tuple[Piece, ...]
    joints: Skeleton
    fps: float


def judged_people(motion_path: Path, *, count: int, frames: int) -> Judged:
    """So many pieces of the judged subjects' clips, each with a body and a camera of its own."""
    motion = read_motion(motion_path)
    chosen = choose_subjects(motion, only=JUDGED)
    cut = pieces_of(motion, chosen, count=count, frames=frames + BEFORE)
    body = load_body()
    regressor = JointRegressor.from_body(body.data, "h36m17")
    clips = world_clips(cut, body, regressor, shapes=2, seed=_SEED)
    half = len(clips) // 2  # the first ones are of the average body
    pieces = tuple(_seen(clips, number) for number in range(half, len(clips)))
    return Judged(pieces, clips.joints, clips.fps)


def pieces_of(motion: Motion, clips: list[int], *, count: int, frames: int) -> Motion:
    """Motion that is nothing but pieces of clips, spread evenly over all of them."""
    lengths = [(c, motion.frames_of(c).stop - motion.frames_of(c).start) for c in clips]
    starts = [
        (clip, motion.frames_of(clip).start + first)
        for clip, length in lengths
        for first in range(0, length - frames + 1, frames)
    ]
    places = torch.linspace(0, len(starts) - 1, min(count, len(starts))).round().long()
    taken = [starts[place] for place in places.tolist()]
    rows = torch.cat([torch.arange(start, start + frames) for _, start in taken])
    return replace(
        motion,
        poses=motion.poses[rows],
        pelvis=motion.pelvis[rows],
        clip=torch.arange(len(taken)).repeat_interleave(frames),
        names=tuple(motion.names[clip] for clip, _ in taken),
        subject=tuple(motion.subject[clip] for clip, _ in taken),
        category=tuple(motion.category[clip] for clip, _ in taken),
        betas=None,
        gender=(),
    )


def _seen(clips: WorldClips, number: int) -> Piece:
    generator = chance(_SEED, number)
    world = clips.joints_world[clips.starts[number] : clips.ends[number]]
    low, high = world.amin((0, 1))[None], world.amax((0, 1))[None]
    view = random_views(low, high, generator, CameraSettings())
    cam = view.to_camera(world[None])
    px = detected(view.project(cam), clips.joints, generator, TYPICAL)
    frames = len(world) - BEFORE
    focal = (view.focal_px * 2 / view.size[:, 0])[:, None].expand(frames, 2)
    return Piece(
        x=view.to_screen(px)[0, BEFORE:],
        joints_cam=cam[0, BEFORE:],
        lens=pinholes(focal, torch.zeros(frames, 2)),
        floor=_floor(view, world, clips.joints),
    )


def _floor(view: ViewsOfBoxes, world: Float[Tensor, "T J 3"], joints: Skeleton) -> Floor:
    """The level plane below the lowest ankle."""
    ankles = world[:, joints.index("left_ankle", "right_ankle"), 1]
    lowest = float(ankles.min()) - ANKLE_HEIGHT
    return Floor(view.R_cam_world[0] @ _FLOOR_DOWN, float(view.position[0, 1]) - lowest)
