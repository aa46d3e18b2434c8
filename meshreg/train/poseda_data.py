"""What an adapted lifter and its augmentor learn from: source clips among people of the target."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from meshreg.adapt.alignment import align_clips, screen_camera
from meshreg.adapt.game import Round
from meshreg.adapt.generator import Augmentor
from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import load_body
from meshreg.data.chance import chance
from meshreg.data.detector_noise import detected
from meshreg.data.lifting import LiftingBatch, LiftingData, root_of
from meshreg.data.lifting_motion import MotionWindows, choose_subjects, seen_clips, world_clips
from meshreg.data.lifting_settings import NoiseSettings
from meshreg.data.lifting_windows import ClipWindows
from meshreg.data.motion_files import read_motion
from meshreg.data.target_poses import GivenCamera, TargetPoses, read_targets, targets_of_clips
from meshreg.geometry.screen import project_to_screen
from meshreg.geometry.windows import middle
from meshreg.train.lifter_data import subject_numbers
from meshreg.train.poseda_config import TargetConfig

Windows = MotionWindows | ClipWindows
_TARGET_SEED = 2_000_003  # bodies and cameras of target motion are those of nothing else
_GAME, _BANK, _ALIGNMENT = 1, 2, 3  # what chance is for
_HALF_WIDTH_PX = 500.0  # the picture in which a detector's errors are drawn


def make_targets(config: TargetConfig, joints: Skeleton) -> TargetPoses:
    """The 2D poses that a config names.

    Raises:
        InputError: if a file is missing or faulty, or shows too few people.
    """
    if config.kind == "motion":
        return targets_of_clips(target_clips(config, joints))
    camera = GivenCamera(config.calibration, config.focal, config.fov)
    return read_targets(
        config.files,
        joints,
        camera,
        joint_set=config.joint_set,
        size=config.size,
        min_confidence=config.min_confidence,
    )


def target_clips(
    config: TargetConfig, joints: Skeleton, *, seed: int = _TARGET_SEED
) -> LiftingData:
    """Clips of target motion with their 3D joints: for whoever measures, not for adaptation.

    Raises:
        InputError: if the motion is missing or faulty, or has none of the subjects.
    """
    assert config.path is not None
    motion, body = read_motion(config.path), load_body()
    regressor = JointRegressor.from_body(body.data, joints.name)
    chosen = choose_subjects(motion, only=subject_numbers(config.subjects) or None)
    world = world_clips(motion, body, regressor, clips=chosen, shapes=config.shapes, seed=seed)
    return seen_clips(
        world, views=config.views, cameras=config.camera, noise=config.noise, seed=seed
    )


def resized(windows: Windows, *, frames: int, batch_size: int, seed: int) -> Windows:
    """The same clips in windows of another length, in another order."""
    changes: dict[str, Any] = {"frames": frames, "batch_size": batch_size, "seed": seed}
    if isinstance(windows, MotionWindows):
        changes["overhang"] = 0
    return replace(windows, **changes)


# --- for the augmentor ----------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Rounds:
    """Rounds of the augmentor's game; round `number` is the same whenever it is asked for."""

    windows: Windows  # as long as two real poses of a pair may be apart
    targets: TargetPoses
    noise: int  # numbers of chance for each kind of change
    seed: int

    def at(self, number: int) -> Round:
        """Round 0, 1, ..."""
        poses = self.windows.at(number).poses
        count, frames = poses.shape[:2]
        generator = chance(self.seed, _GAME, number)
        rows = torch.arange(count)
        one, other = (torch.randint(frames, (count,), generator=generator) for _ in range(2))
        target = self.targets.drawn(count, generator)
        return Round(
            pose=poses[rows, one],
            later=poses[rows, other],
            target=target.x,
            seen=target.seen,
            intrinsics=target.intrinsics,
            noise=torch.randn(count, 3, self.noise, generator=generator),
        )


# --- for the lifter -------------------------------------------------------------------------------
@torch.no_grad()
def make_bank(augmentor: Augmentor, windows: Windows, count: int, *, seed: int) -> LiftingBatch:
    """Source windows after a change of the person each, where they were, seen as they were.

    The change is chosen by the middle frame. It depends on nothing but the augmentor and the
    numbers, so a run that goes on makes the same bank again.
    """
    device, parts = next(augmentor.parameters()).device, []
    augmentor.eval()
    for number in range(-(-count // windows.batch_size)):
        batch = windows.at(number)
        frame = middle(batch.poses.shape[1])
        noise = augmentor.draw(len(batch), chance(seed, _BANK, number))
        change = augmentor(batch.poses[:, frame].to(device), noise.to(device))
        poses = change.applied(batch.poses.to(device)).cpu()
        root = change.moved(batch.root.to(device), frame).cpu()
        camera = screen_camera(_flat(batch.poses + batch.root[:, :, None]), _flat(batch.x))
        x = project_to_screen(poses + root[:, :, None], camera[:, None].expand(-1, len(root[0]), 4))
        parts.append(replace(batch, x=x, poses=poses, root=root))
    whole = LiftingBatch(
        **{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    )
    return _rows(whole, torch.arange(count))


@dataclass(frozen=True, eq=False)
class AdaptedWindows:
    """Source windows, part of them out of a bank, placed among people of the target.

    Batch `number` is the same whenever it is asked for; people meet others every time.
    """

    source: Windows
    joints: Skeleton
    targets: TargetPoses | None  # None: everybody stays where the source's camera saw them
    bank: LiftingBatch | None  # None: only poses of the source
    share: float = 0.5  # of each batch from the bank
    noise: NoiseSettings = NoiseSettings(clean=1.0)
    seed: int = 0
    rank: int = 0

    def at(self, number: int) -> LiftingBatch:
        """Batch number 0, 1, ..."""
        batch = self.source.at(number)
        generator = chance(self.seed, _ALIGNMENT, number, self.rank)
        if self.bank is not None:
            drawn = torch.randint(len(self.bank), (len(batch),), generator=generator)
            is_made = torch.rand(len(batch), generator=generator) < self.share
            batch = _chosen(is_made, _rows(self.bank, drawn), batch)
        return batch if self.targets is None else self._aligned(batch, generator)

    def _aligned(self, batch: LiftingBatch, generator: torch.Generator) -> LiftingBatch:
        assert self.targets is not None
        target = self.targets.drawn(len(batch), generator)
        placed = align_clips(
            batch.poses,
            batch.root,
            target.x,
            target.intrinsics,
            root=root_of(self.joints),
            frame=middle(batch.poses.shape[1]),
            seen=target.seen,
        )
        frames = batch.poses.shape[1]
        cameras = target.intrinsics[:, None].expand(-1, frames, 4)
        x = project_to_screen(batch.poses + placed.root[:, :, None], cameras)
        x = detected(x * _HALF_WIDTH_PX, self.joints, generator, self.noise) / _HALF_WIDTH_PX
        known = batch.known * placed.valid[:, None]
        return replace(batch, x=x, root=placed.root, known=known)


def _flat(points: Tensor) -> Tensor:
    """Points of all frames of a clip together."""
    return points.flatten(1, 2)


def _rows(batch: LiftingBatch, rows: Tensor) -> LiftingBatch:
    return LiftingBatch(**{name: value[rows] for name, value in vars(batch).items()})


def _chosen(which: Tensor, one: LiftingBatch, other: LiftingBatch) -> LiftingBatch:
    """Rows of the first where it is said so, else of the second."""

    def mixed(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return LiftingBatch(
        **{name: mixed(getattr(one, name), getattr(other, name)) for name in vars(other)}
    )
