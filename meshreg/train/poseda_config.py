"""Everything that decides how a lifter is adapted; imports nothing heavy, for the CLI's sake."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meshreg.data.lifting_settings import CLEAN, CameraSettings, NoiseSettings
from meshreg.errors import InputError
from meshreg.train.lifter_config import LifterDataConfig, LifterLossConfig, LifterModelConfig
from meshreg.train.settings import OptimiserSettings, RunSettings


@dataclass(frozen=True)
class TargetConfig:
    """2D poses of the people to adapt to. No 3D of theirs is read, or used if there is some.

    Args:
        kind: "files" are 2D joints as `meshreg lift` reads them; "motion" shows the body that moves
            as a motion file says to cameras, for experiments.
        files: Of files: .npz, .json or folders of .json.
        joint_set: Of files: which joints they are, where they do not say so.
        size: Of files: height and width of the pictures, where they do not say so.
        calibration: Of files: the camera, as for `meshreg lift --camera`.
        focal: Of files, instead: its focal length, pixels.
        fov: Of files, instead: its field of view along the width, degrees.
        min_confidence: Of files: less confident joints count as not seen.
        path: Of motion: its file.
        subjects: Of motion: who; none means all.
        shapes: Of motion: bodies of different build per clip.
        views: Of motion: cameras per clip.
        noise: Of motion: the errors of the detector.
        camera: Of motion: where cameras stand.
    """

    kind: Literal["files", "motion"] = "files"
    files: list[Path] = field(default_factory=list)
    joint_set: str | None = None
    size: tuple[int, int] | None = None
    calibration: Path | None = None
    focal: float | None = None
    fov: float | None = None
    min_confidence: float = 0.3
    path: Path | None = None
    subjects: list[str] = field(default_factory=list)
    shapes: int = 1
    views: int = 1
    noise: NoiseSettings = CLEAN
    camera: CameraSettings = CameraSettings()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: naming the setting.
        """
        for name in ("shapes", "views"):
            if getattr(self, name) < 1:
                raise InputError(f"target.{name} must be at least 1, not {getattr(self, name)}.")
        if (self.kind == "motion") != (self.path is not None):
            what = "needs" if self.kind == "motion" else "does not take"
            raise InputError(f'target.kind "{self.kind}" {what} target.path: change either.')
        if not 0 <= self.min_confidence <= 1:
            raise InputError(f"target.min_confidence must be 0 to 1, not {self.min_confidence:g}.")


@dataclass(frozen=True)
class AugmentConfig:
    """How other poses are made up: the game of augmentor and judges, and what comes of it.

    Args:
        start_from: An augmentor of an earlier run, which is used as it is; no game is played.
        anchor: "pair" judges poses by the ones they were made of, "none" by themselves.
        reach: Frames by which the two real poses of a pair are apart at most.
        steps: Rounds of the game.
        batch_size: Poses of a round.
        judge_every: Rounds between those in which the judges learn.
        screen: Weight of being taken for a 2D pose of the target.
        pose: Weight of being taken for a real 3D pose.
        range: Weight of staying within sensible changes.
        bank: Windows that are augmented once for the lifter to learn from.
        share: How much of each of the lifter's batches comes from the bank.
        optimiser: How augmentor and judges learn.
    """

    start_from: Path | None = None
    anchor: Literal["pair", "none"] = "pair"
    reach: int = 15
    steps: int = 3000
    batch_size: int = 1024
    judge_every: int = 2
    screen: float = 1.0
    pose: float = 6.0
    range: float = 3.0
    bank: int = 20_000
    share: float = 0.5
    optimiser: OptimiserSettings = field(
        default_factory=lambda: OptimiserSettings(
            lr=1e-4, weight_decay=0.0, warmup=0, last=0.0, clip=1.0, ema=0.0
        )
    )

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            InputError: naming the setting.
        """
        for name in ("reach", "steps", "judge_every", "bank"):
            if getattr(self, name) < 1:
                raise InputError(f"augment.{name} must be at least 1, not {getattr(self, name)}.")
        if self.batch_size < 2:
            raise InputError(f"augment.batch_size must be at least 2, not {self.batch_size}.")
        if not 0 <= self.share <= 1:
            raise InputError(f"augment.share must be 0 to 1, not {self.share}.")
        for name in ("screen", "pose", "range"):
            if not 0 <= getattr(self, name) < 1e9:
                raise InputError(f"augment.{name} must be 0 or more, not {getattr(self, name)}.")
        if self.optimiser.accumulate != 1:
            raise InputError("augment.optimiser.accumulate must be 1: rounds are whole.")


@dataclass(frozen=True)
class PosedaConfig:
    """Adapt a lifter to people and cameras of which there are only 2D poses.

    Settings come from a YAML file, and from words such as augment.steps=500 after it. A run that
    was stopped goes on when the same command is given again.

    Args:
        recipe: Which kind of training a file is about.
        out: Folder of the run: checkpoints, metrics.csv, TensorBoard, model.safetensors; those of
            the augmentor are in its folder augmentor.
        gpa: Show known 3D poses where and as large as people of the target are (global position
            alignment).
        lpa: Add poses that a network makes up (local pose augmentation).
        data: Whose 3D joints are known: as for the recipe "lifter".
        target: The people to adapt to.
        model: The lifter; model.start_from names one that is to be adapted.
        augment: How poses are made up.
        noise: Errors of a detector in the joints of aligned poses.
        losses: The terms of the lifter's loss.
        optimiser: How the lifter's weights move.
        run: How long, where, and what is written when.
    """

    recipe: Literal["poseda"] = "poseda"
    out: Path = Path("runs/adapted")
    gpa: bool = True
    lpa: bool = True
    data: LifterDataConfig = field(default_factory=LifterDataConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    model: LifterModelConfig = field(default_factory=LifterModelConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    noise: NoiseSettings = CLEAN
    losses: LifterLossConfig = LifterLossConfig()
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            InputError: naming the setting.
        """
        if not (self.gpa or self.lpa):
            raise InputError(
                "gpa and lpa are both off, so nothing is adapted: switch one on, or use "
                "meshreg train."
            )
        plays = self.lpa and self.augment.start_from is None
        if plays and self.run.devices * self.run.nodes > 1:
            raise InputError(
                "the augmentor learns in one process: train it with run.devices=1, then name it "
                "with augment.start_from."
            )
        if self.losses.sequence > 0:
            raise InputError("losses.sequence is for meshreg train: leave it out.")
