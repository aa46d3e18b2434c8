"""Clips for lifters out of motion: joints of a posed body in the world, seen by random cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import roma
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import Body
from meshreg.data.chance import chance
from meshreg.data.detector_noise import detected
from meshreg.data.lifting import LiftingBatch, LiftingClip, LiftingData, from_root, root_of
from meshreg.data.lifting_cameras import random_views
from meshreg.data.lifting_settings import CameraSettings, NoiseSettings
from meshreg.data.motion import Motion
from meshreg.errors import InputError
from meshreg.geometry.mirror import mirror

_CHUNK = 256  # frames that are posed at once
_WHOLE = 0.5  # share of windows whose camera must see the whole clip, not only the window


@dataclass(frozen=True, eq=False)
class WorldClips:
    """Joints of people who move, in a world whose y points up."""

    joints_world: Float[Tensor, "N J 3"]  # metres
    starts: Int[Tensor, " C"]  # first frame of each clip
    ends: Int[Tensor, " C"]  # the frame after its last
    subject: tuple[int, ...]
    category: tuple[str, ...]
    names: tuple[str, ...]
    joints: Skeleton
    fps: float
    licence: str

    def __len__(self) -> int:
        return len(self.starts)

    def lengths(self) -> Int[Tensor, " C"]:
        return self.ends - self.starts


def choose_subjects(
    motion: Motion, *, only: Sequence[int] | None = None, without: Sequence[int] = ()
) -> list[int]:
    """Numbers of the clips of some people, or of all but some.

    Raises:
        InputError: if nothing is left.
    """
    chosen = [
        clip
        for clip, subject in enumerate(motion.subject)
        if subject not in without and (only is None or subject in only)
    ]
    if not chosen:
        raise InputError(
            "no clip is left of the motion: choose among the subjects "
            f"{', '.join(str(s) for s in sorted(set(motion.subject)))}."
        )
    return chosen


@torch.no_grad()
def world_clips(  # noqa: PLR0913
    motion: Motion,
    body: Body,
    regressor: JointRegressor,
    *,
    clips: Sequence[int] | None = None,
    shapes: int = 1,
    seed: int = 0,
) -> WorldClips:
    """The joints of every clip, on `shapes` bodies of different build each.

    The first body of each clip is the average one; betas of the others are normal numbers.
    """
    regressor.check_body(body.topology_hash)
    part = body.restricted_to(regressor.vertex_indices)
    numbers = list(range(len(motion.names)) if clips is None else clips) * shapes
    pieces = []
    for place, clip in enumerate(numbers):
        is_average = place < len(numbers) // shapes
        betas = torch.randn(1, body.num_betas, generator=chance(seed, place)) * (not is_average)
        pieces.append(_posed(motion, clip, part, regressor, betas))
    lengths = torch.tensor([len(piece) for piece in pieces])
    ends = lengths.cumsum(0)
    return WorldClips(
        joints_world=torch.cat(pieces),
        starts=ends - lengths,
        ends=ends,
        subject=tuple(motion.subject[clip] for clip in numbers),
        category=tuple(motion.category[clip] for clip in numbers),
        names=tuple(motion.names[clip] for clip in numbers),
        joints=regressor.skeleton,
        fps=motion.fps,
        licence=motion.licence,
    )


def _posed(
    motion: Motion, clip: int, body: Body, regressor: JointRegressor, betas: Float[Tensor, "1 S"]
) -> Float[Tensor, "T J 3"]:
    span = motion.frames_of(clip)
    rest_pelvis = body.rest_joints(betas)[:, 0]
    parts = []
    for poses, pelvis in zip(
        motion.poses[span].split(_CHUNK), motion.pelvis[span].split(_CHUNK), strict=True
    ):
        shape = betas.expand(len(poses), -1)
        vertices, _ = body.skin(shape, roma.rotvec_to_rotmat(poses), pelvis - rest_pelvis)
        parts.append(regressor.from_used_vertices(vertices))
    return torch.cat(parts) if parts else torch.zeros(0, len(regressor.skeleton), 3)


@dataclass(frozen=True, eq=False)
class MotionWindows:
    """Endless windows from cameras drawn anew; rare categories come more often than their share.

    A category of a hundredth of the frames makes up a tenth as many windows as the rest. With
    `overhang`, windows may begin so many frames before their clip and end so many after it; with
    `history`, the detector's errors begin so many frames before the window.
    Batch `number` is the same whenever it is asked for.
    """

    clips: WorldClips
    frames: int
    batch_size: int
    cameras: CameraSettings
    noise: NoiseSettings
    seed: int = 0
    rank: int = 0
    overhang: int = 0
    history: int = 0
    _boxes: Float[Tensor, "C 2 3"] = field(init=False)  # around each clip

    def __post_init__(self) -> None:
        object.__setattr__(self, "_boxes", clip_boxes(self.clips))

    def at(self, number: int) -> LiftingBatch:
        """Batch number 0, 1, ..."""
        generator = chance(self.seed, number, self.rank)
        clip = torch.multinomial(
            self._weights(), self.batch_size, replacement=True, generator=generator
        )
        start, length = self.clips.starts[clip], self.clips.lengths()[clip]
        slack = length - self.frames + 2 * self.overhang
        shift = torch.rand(len(clip), generator=generator) * (slack.abs() + 1)
        shift = shift.floor().long() * slack.sign() - self.overhang
        places = shift[:, None] + torch.arange(-self.history, self.frames)
        kept = torch.minimum(places.clamp_min(0), length[:, None] - 1)
        world = self.clips.joints_world[start[:, None] + kept]
        x, cam = self._seen(world, clip, generator)
        is_mirrored = torch.rand(len(clip), 1, 1, 1, generator=generator) < 0.5
        x, cam, kept, places = (part[:, self.history :] for part in (x, cam, kept, places))
        joints = self.clips.joints
        cam = torch.where(is_mirrored, mirror(cam, joints.flip), cam)
        return LiftingBatch(
            x=torch.where(is_mirrored, mirror(x, joints.flip), x),
            poses=from_root(cam, joints),
            root=cam[..., root_of(joints), :],
            known=(kept == places).float(),
            index=clip,
        )

    def _seen(
        self, world: Float[Tensor, "B T J 3"], clip: Int[Tensor, " B"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "B T J 2"], Float[Tensor, "B T J 3"]]:
        low, high = world.amin((1, 2)), world.amax((1, 2))
        boxes = self._boxes[clip]
        whole = torch.rand(len(clip), 1, generator=generator) < _WHOLE
        views = random_views(
            torch.where(whole, boxes[:, 0], low),
            torch.where(whole, boxes[:, 1], high),
            generator,
            self.cameras,
        )
        cam = views.to_camera(world)
        px = detected(views.project(cam), self.clips.joints, generator, self.noise)
        return views.to_screen(px), cam

    def _weights(self) -> Float[Tensor, " C"]:
        """Of a category's clips, longer ones come more often."""
        lengths = self.clips.lengths().float()
        totals: dict[str, float] = {}
        for name, length in zip(self.clips.category, lengths.tolist(), strict=True):
            totals[name] = totals.get(name, 0.0) + length
        # The root keeps categories of a few seconds from being seen over and over.
        shares = torch.tensor([totals[name] ** -0.5 for name in self.clips.category])
        return lengths * shares


def clip_boxes(clips: WorldClips) -> Float[Tensor, "C 2 3"]:
    """The lowest and highest coordinates of each clip."""
    pairs = zip(clips.starts.tolist(), clips.ends.tolist(), strict=True)
    parts = [clips.joints_world[start:end] for start, end in pairs]
    return torch.stack([torch.stack([p.amin((0, 1)), p.amax((0, 1))]) for p in parts])


def seen_clips(
    clips: WorldClips,
    *,
    views: int,
    cameras: CameraSettings,
    noise: NoiseSettings,
    seed: int,
) -> LiftingData:
    """Whole clips from some cameras each, always the same ones: what lifters are judged by."""
    boxes = clip_boxes(clips)
    found = []
    for number in range(len(clips)):
        world = clips.joints_world[clips.starts[number] : clips.ends[number]]
        for view in range(views):
            generator = chance(seed, number, view)
            low, high = boxes[number : number + 1].unbind(1)
            camera = random_views(low, high, generator, cameras)
            cam = camera.to_camera(world[None])
            px = detected(camera.project(cam), clips.joints, generator, noise)
            width, height = (int(length) for length in camera.size[0])
            found.append(
                LiftingClip(
                    keypoints_px=px[0],
                    joints_cam=cam[0],
                    size=(height, width),
                    subject=str(clips.subject[number]),
                    action=clips.category[number],
                    camera=f"{clips.names[number]} view {view}",
                    fps=clips.fps,
                    focal_px=float(camera.focal_px[0]),
                )
            )
    return LiftingData(tuple(found), clips.joints, "motion", clips.licence)
