"""Everything that decides how a lifter is trained; imports nothing heavy, for the CLI's sake."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from meshreg.data.lifting_settings import CameraSettings, NoiseSettings
from meshreg.errors import InputError
from meshreg.train.settings import OptimiserSettings, RunSettings


@dataclass(frozen=True)
class LifterDataConfig:
    """What is trained on, and what it is judged by.

    Args:
        kind: "motion" shows the body that moves as a motion file says to random cameras; "h36m",
            "humaneva" and "3dhp" are files in VideoPose3D's and P-STMO's formats.
        path: The motion, or the file of 3D joints.
        detections: Of h36m and humaneva: the file of 2D joints.
        cameras: Of h36m and humaneva: JSON of the calibrated cameras.
        subjects: Whom to train on; none means all who are not judged.
        judged: Whom to judge by.
        without: People who are in neither, such as unknown ones, who may be anybody.
        batch_size: Windows at once, of each process.
        policy: Where windows lie in clips; of motion they are drawn at random.
        stride: Frames between windows; default a whole window, or 1 if they are centred.
        shapes: Of motion: bodies of different build per clip.
        views: Of motion: cameras per judged clip.
        judge_frames: Only so many frames of each judged clip, while training.
        history: Of motion: frames before each window in which the detector's errors begin, so that
            windows of a frame know joints that were lost some time ago.
        noise: Of motion: the errors of the detector.
        camera: Of motion: where cameras stand.
        target_turn: Degrees by which true poses, not what is seen of them, are turned in the
            picture's plane one way, the other way or not; GLA-GCN: 5.
        target_scale: Share by which they are made larger, smaller or neither; GLA-GCN: 0.05.
    """

    kind: Literal["motion", "h36m", "humaneva", "3dhp"] = "motion"
    path: Path = Path("motion.npz")
    detections: Path | None = None
    cameras: Path | None = None
    subjects: list[str] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)
    batch_size: int = 64
    policy: Literal["spread", "flush", "centred"] = "spread"
    stride: int | None = None
    shapes: int = 4
    views: int = 1
    judge_frames: int = 243
    history: int = 0
    noise: NoiseSettings = NoiseSettings()
    camera: CameraSettings = CameraSettings()
    target_turn: float = 0.0
    target_scale: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: naming the setting.
        """
        for name in ("batch_size", "shapes", "views", "judge_frames"):
            if getattr(self, name) < 1:
                raise InputError(f"data.{name} must be at least 1, not {getattr(self, name)}.")
        for name, most in (("target_turn", 180.0), ("target_scale", 0.99)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"data.{name} must be 0 to {most:g}, not {getattr(self, name)}.")
        if not 0 <= self.history <= 100:
            raise InputError(f"data.history must be 0 to 100, not {self.history}.")
        for name in ("detections", "cameras"):
            needed = self.kind in ("h36m", "humaneva")
            if needed != (getattr(self, name) is not None):
                what = "needs" if needed else "does not take"
                raise InputError(f'data.kind "{self.kind}" {what} data.{name}: change either.')
        if both := set(self.subjects) & {*self.judged, *self.without}:
            raise InputError(
                f"data.subjects names {', '.join(sorted(both))}, who are judged or left out: name "
                "them once."
            )


@dataclass(frozen=True)
class LifterModelConfig:
    """The network.

    Args:
        builder: Its name in `meshreg.lifters.builders`.
        frames: Of a window, 1 to 351.
        joint_set: The joints of its input and output.
        options: Passed to the builder, such as {"width": 64}.
        start_from: A lifter file of an earlier training, or the name of a lifter that comes along,
            to go on from its weights.
        take_over: A lifter file or name, also of another window or kind: what fits is where this
            one begins. Transformers learn faster if they have seen single frames first.
    """

    builder: str = "mixste"
    frames: int = 27
    joint_set: str = "h36m17"
    options: dict[str, Any] = field(default_factory=dict)
    start_from: Path | None = None
    take_over: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a window that no network has.

        Raises:
            InputError: naming the setting.
        """
        if not 1 <= self.frames <= 351:
            raise InputError(f"model.frames must be 1 to 351, not {self.frames}.")


@dataclass(frozen=True)
class LifterLossConfig:
    """Weights of the terms of the loss; see `meshreg.losses.lifting` for what they measure.

    MixSTE, KTPFormer and HoT: position 1, smoothness 0.5 and velocity 2 with the joints weighted;
    ConvFormer, GLA-GCN and VideoPose3D: position alone, all joints alike.

    Args:
        position: Distances of joints.
        smoothness: Changes of the prediction from frame to frame, squared.
        velocity: Differences between predicted and true changes.
        bone_length: Differences in the lengths of bones.
        bone_direction: Differences in where bones point.
        sequence: Of GLA-GCN with a global branch: distances of the joints of all frames.
        uncertainty: Of UAO: distances compared with those that the network expects; alone.
        joints: "weighted" lets ends of limbs count more, as MixSTE does.
    """

    position: float = 1.0
    smoothness: float = 0.0
    velocity: float = 0.0
    bone_length: float = 0.0
    bone_direction: float = 0.0
    sequence: float = 0.0
    uncertainty: float = 0.0
    joints: Literal["equal", "weighted"] = "equal"

    def __post_init__(self) -> None:
        """Refuse negative weights.

        Raises:
            InputError: naming the setting.
        """
        for name, weight in self.terms().items():
            if not 0 <= weight < 1e9:
                raise InputError(f"losses.{name} must be 0 or more, not {weight}.")

    def terms(self) -> dict[str, float]:
        """The weights by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "joints"}


@dataclass(frozen=True)
class LifterConfig:
    """Train a lifter: from 2D joints of a clip to 3D poses.

    Settings come from a YAML file, and from words such as losses.velocity=2 after it. A run that
    was stopped goes on when the same command is given again.

    Args:
        recipe: Which kind of training a file is about.
        out: Folder of the run: checkpoints, metrics.csv, TensorBoard, model.safetensors.
        data: What is trained on.
        model: The network.
        losses: The terms of the loss.
        optimiser: How the weights move.
        run: How long, where, and what is written when.
    """

    recipe: Literal["lifter"] = "lifter"
    out: Path = Path("runs/lifter")
    data: LifterDataConfig = field(default_factory=LifterDataConfig)
    model: LifterModelConfig = field(default_factory=LifterModelConfig)
    losses: LifterLossConfig = LifterLossConfig()
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        """Refuse a term that the network does not have.

        Raises:
            InputError: naming it.
        """
        has_branch = self.model.builder == "gla_gcn" and self.model.options.get("global_head")
        if self.losses.sequence > 0 and not has_branch:
            raise InputError(
                "losses.sequence is for gla_gcn with the option global_head: leave it out, or add "
                "the option."
            )
        if self.losses.uncertainty > 0 and self.model.builder != "uao":
            raise InputError(
                f"losses.uncertainty is for uao, not {self.model.builder}: leave it out."
            )
