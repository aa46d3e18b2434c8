"""What every run of the adaptation ablation is: who is known in 3D, who is seen, how they meet."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from meshreg.data.lifting_settings import CLEAN, CameraSettings
from meshreg.data.motion import Motion
from meshreg.data.motion_files import read_motion
from meshreg.errors import InputError
from meshreg.files import written_whole
from meshreg.train.lifter_config import LifterConfig, LifterDataConfig, LifterModelConfig
from meshreg.train.poseda_config import AugmentConfig, PosedaConfig, TargetConfig
from meshreg.train.settings import OptimiserSettings, RunSettings

Run = tuple[int, str]  # seed and arm


@dataclass(frozen=True)
class Arm:
    """What a lifter learns from."""

    title: str
    gpa: bool = False
    lpa: bool = False


ARMS: dict[str, Arm] = {
    "source": Arm("source only"),
    "GPA": Arm("alignment", gpa=True),
    "GPA+LPA": Arm("alignment and augmentation", gpa=True, lpa=True),
    "LPA": Arm("augmentation", lpa=True),
    "oracle": Arm("labels of source and target"),
}
# What is compared: everything with nothing, and both with alignment alone
PAIRS = [(arm, "source") for arm in ARMS if arm != "source"] + [("GPA+LPA", "GPA")]


@dataclass(frozen=True)
class Shift:
    """From where people of the source are seen, and from where those of the target."""

    source: CameraSettings
    target: CameraSettings


# Focal lengths of 2.29 and 1.5 half widths are those of Human3.6M and MPI-INF-3DHP.
_FAR = CameraSettings(distance=(4.5, 6.5), height=(1.3, 1.7), focal=(1.12, 1.17))
_NEAR = CameraSettings(distance=(2.2, 4.5), height=(0.6, 1.8), focal=(0.72, 0.78))
SHIFTS: dict[str, Shift] = {
    # Cameras on tripods: people are higher or lower in the picture, but are not seen from above.
    "level": Shift(replace(_FAR, level=True), replace(_NEAR, level=True, aim=0.25)),
    # Cameras that look at people, in the target from above and below.
    "heights": Shift(_FAR, replace(_NEAR, height=(0.8, 2.2))),
}


@dataclass(frozen=True)
class Split:
    """Who is who, by subject of the motion file; nobody is in two groups."""

    source: tuple[int, ...]  # known in 3D
    target: tuple[int, ...]  # known in 2D, and to the oracle in 3D
    judged: tuple[int, ...]  # not known at all, seen by cameras like those of the target


# Settings were chosen on "tune", results are reported of "test", whose target and judged people are
# nowhere in "tune".
SPLITS: dict[str, Split] = {
    "tune": Split(source=(1, 3, 7), target=(6,), judged=(2,)),
    "test": Split(source=(1, 2, 3, 6, 7), target=(5, 85), judged=(14, 86)),
}


@dataclass(frozen=True)
class Plan:
    """All that decides the runs."""

    out: Path
    motion: Path
    split: str = "test"
    shift: str = "level"
    seeds: int = 3
    first_seed: int = 0
    steps: int = 4500
    width: int = 256
    rounds: int = 1500
    game_lr: float = 3e-4
    shapes: int = 4  # bodies per clip of the target; the source has the average one
    augment: Mapping[str, float | str] = field(default_factory=dict)  # for all runs alike

    def folder(self, run: Run) -> Path:
        seed, arm = run
        return self.out / f"seed{seed}" / arm.replace("+", "_")

    def runs(self) -> Iterator[Run]:
        """All runs of a seed before those of the next, so that there is something to see soon."""
        for seed in self.all_seeds():
            yield from ((seed, arm) for arm in ARMS)

    def all_seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)

    def people(self, group: str) -> Path:
        """The motion file of a group of people: "source", "target" or "judged"."""
        return self.out / f"{group}.npz"


def config_of(plan: Plan, run: Run) -> LifterConfig | PosedaConfig:
    """The settings of a run; arms of a seed differ in nothing but what they learn from."""
    seed, name = run
    arm = ARMS[name]
    shared = {
        "out": plan.folder(run),
        "data": LifterDataConfig(
            kind="motion",
            path=plan.people("source"),
            batch_size=256,
            shapes=1,
            noise=CLEAN,
            camera=SHIFTS[plan.shift].source,
        ),
        "model": LifterModelConfig(
            builder="mlp_baseline",
            frames=1,
            joint_set="h36m16",
            options={"width": plan.width, "dropout": 0.1},
        ),
        "optimiser": OptimiserSettings(lr=1e-3, warmup=100),
        "run": RunSettings(steps=plan.steps, seed=seed, device="cpu", log_every=100),
    }
    if not (arm.gpa or arm.lpa):
        return LifterConfig(**shared)
    # Fewer rounds than PoseAug plays, so a higher learning rate.
    game = replace(AugmentConfig().optimiser, lr=plan.game_lr)
    augment = AugmentConfig(
        anchor="none",
        share=0.25,
        steps=plan.rounds,
        batch_size=256,
        bank=20_000,
        optimiser=game,
    )
    if name == "LPA":  # the game is the same one
        made = plan.folder((seed, "GPA+LPA")) / "augmentor" / "augmentor.safetensors"
        augment = replace(augment, start_from=made)
    return PosedaConfig(
        **shared,
        gpa=arm.gpa,
        lpa=arm.lpa,
        target=target_of(plan, "target"),
        augment=replace(augment, **plan.augment),
    )


def target_of(plan: Plan, group: str) -> TargetConfig:
    """The people of one group, and the cameras of the target, which see them."""
    camera = SHIFTS[plan.shift].target
    return TargetConfig(kind="motion", path=plan.people(group), shapes=plan.shapes, camera=camera)


# --- people ---------------------------------------------------------------------------------------
_PIECE = 90  # frames that one camera sees


def write_people(plan: Plan) -> None:
    """Motion files of all groups, in pieces that cameras see: nobody walks far in one.

    Raises:
        InputError: if the motion has none of these people.
    """
    motion, split = read_motion(plan.motion), SPLITS[plan.split]
    for group, subjects in asdict(split).items():
        clips = [clip for clip, subject in enumerate(motion.subject) if subject in subjects]
        if not clips:
            raise InputError(f"{plan.motion} has no subject {subjects}: give CMU motion.")
        _write(plan.people(group), motion, clips)


def _write(path: Path, motion: Motion, clips: list[int]) -> None:
    spans = [range(motion.frames_of(clip).start, motion.frames_of(clip).stop) for clip in clips]
    pieces = [
        (clip, span[start : start + _PIECE])
        for clip, span in zip(clips, spans, strict=True)
        for start in range(0, len(span), _PIECE)
    ]
    pieces = [(clip, piece) for clip, piece in pieces if len(piece) >= _PIECE // 3]
    frames = [frame for _, piece in pieces for frame in piece]
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            poses=motion.poses[frames].numpy(),
            trans=motion.pelvis[frames].numpy(),
            offsets=np.cumsum([0, *(len(piece) for _, piece in pieces)]),
            names=np.array([f"{motion.names[clip]} {piece[0]}" for clip, piece in pieces]),
            subject=np.array([motion.subject[clip] for clip, _ in pieces]),
            category=np.array([motion.category[clip] for clip, _ in pieces]),
            fps=motion.fps,
            licence=motion.licence,
        )
