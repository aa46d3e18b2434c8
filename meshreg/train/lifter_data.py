"""What a lifter's config trains on and is judged by."""

from dataclasses import dataclass, replace

from meshreg.body.regressor import JointRegressor
from meshreg.body.smpl import load_body
from meshreg.data.lifting import LiftingClip, LiftingData
from meshreg.data.lifting_files import read_3dhp, read_videopose3d
from meshreg.data.lifting_motion import MotionWindows, choose_subjects, seen_clips, world_clips
from meshreg.data.lifting_windows import ClipWindows
from meshreg.data.motion_files import read_motion
from meshreg.data.target_noise import UnsteadyTargets
from meshreg.errors import InputError
from meshreg.geometry.windows import middle
from meshreg.lifters.lifting import ClipSizes
from meshreg.train.lifter_config import LifterDataConfig

_JUDGED_SEED = 1_000_003  # cameras of judged clips are those of no training


@dataclass(frozen=True, eq=False)
class LifterData:
    """Windows to learn from, whole clips to be judged by."""

    batches: MotionWindows | ClipWindows | UnsteadyTargets
    judged: LiftingData | None
    fps: float
    licence: str


def make_lifter_data(  # noqa: PLR0913
    config: LifterDataConfig,
    sizes: ClipSizes,
    joint_set: str,
    *,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
) -> LifterData:
    """Read and cut what the config names.

    Raises:
        InputError: if a file is missing or faulty, or nobody is left to train on.
    """
    if sizes.in_channels != 2:
        raise InputError(
            "lifters are trained on x and y alone: build the network with in_channels 2."
        )
    if config.kind == "motion":
        return _of_motion(config, sizes, joint_set, seed=seed, rank=rank)
    data = read_lifting_data(config)
    if data.joints.name != joint_set:
        raise InputError(
            f"{data.source} has the joints of {data.joints.name}, but model.joint_set is "
            f"{joint_set}: set it to {data.joints.name}."
        )
    left = sorted({c.subject for c in data.clips} - {*config.judged, *config.without})
    trained = data.of(config.subjects or left)
    batches = ClipWindows(
        trained,
        frames=sizes.frames,
        policy=config.policy,
        stride=config.stride,
        batch_size=config.batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
    )
    judged = shortened(data.of(config.judged), config.judge_frames) if config.judged else None
    taught = _unsteady(batches, config, seed=seed, rank=rank)
    return LifterData(taught, judged, trained.clips[0].fps, data.licence)


def read_lifting_data(config: LifterDataConfig) -> LiftingData:
    """The clips of a data set's files.

    Raises:
        InputError: if a file is missing or faulty.
    """
    if config.kind == "3dhp":
        return read_3dhp(config.path)
    assert config.detections is not None and config.cameras is not None
    joint_set = "h36m17" if config.kind == "h36m" else "humaneva15"
    return read_videopose3d(config.path, config.detections, config.cameras, joint_set=joint_set)


def _of_motion(
    config: LifterDataConfig, sizes: ClipSizes, joint_set: str, *, seed: int, rank: int
) -> LifterData:
    motion = read_motion(config.path)
    body = load_body()
    regressor = JointRegressor.from_body(body.data, joint_set)
    judged, without, only = (
        subject_numbers(names) for names in (config.judged, config.without, config.subjects)
    )
    chosen = choose_subjects(motion, only=only or None, without=[*judged, *without])
    clips = world_clips(motion, body, regressor, clips=chosen, shapes=config.shapes, seed=seed)
    batches = MotionWindows(
        clips,
        frames=sizes.frames,
        batch_size=config.batch_size,
        cameras=config.camera,
        noise=config.noise,
        seed=seed,
        rank=rank,
        overhang=middle(sizes.frames) if sizes.predicts == "centre" else 0,
        history=config.history,
    )
    taught = _unsteady(batches, config, seed=seed, rank=rank)
    return LifterData(
        taught, judged_motion(config, joint_set), fps=motion.fps, licence=motion.licence
    )


def _unsteady(
    batches: MotionWindows | ClipWindows, config: LifterDataConfig, *, seed: int, rank: int
) -> MotionWindows | ClipWindows | UnsteadyTargets:
    """The same windows, their true poses a little off if the config says so."""
    if config.target_turn == config.target_scale == 0:
        return batches
    return UnsteadyTargets(batches, config.target_turn, config.target_scale, seed, rank)


def judged_motion(config: LifterDataConfig, joint_set: str) -> LiftingData | None:
    """The clips of judged people from cameras that are always the same; None if nobody is."""
    if not config.judged:
        return None
    motion, body = read_motion(config.path), load_body()
    regressor = JointRegressor.from_body(body.data, joint_set)
    chosen = choose_subjects(motion, only=subject_numbers(config.judged))
    clips = world_clips(motion, body, regressor, clips=chosen)
    seen = seen_clips(
        clips,
        views=config.views,
        cameras=config.camera,
        noise=replace(config.noise, clean=1.0),
        seed=_JUDGED_SEED,
    )
    return shortened(seen, config.judge_frames)


def shortened(data: LiftingData, frames: int) -> LiftingData:
    """Only the first so many frames of each clip."""

    def cut(clip: LiftingClip) -> LiftingClip:
        scored = None if clip.scored is None else clip.scored[:frames]
        return replace(
            clip,
            keypoints_px=clip.keypoints_px[:frames],
            joints_cam=clip.joints_cam[:frames],
            scored=scored,
        )

    return replace(data, clips=tuple(cut(clip) for clip in data.clips))


def subject_numbers(names: list[str]) -> list[int]:
    """Subjects of motion files, which have numbers.

    Raises:
        InputError: if a name is none.
    """
    try:
        return [int(name) for name in names]
    except ValueError as error:
        raise InputError(f"subjects of motion are numbers, not {', '.join(names)}.") from error
