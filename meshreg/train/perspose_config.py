"""Everything that decides how a PersPose is trained; imports nothing heavy, for the CLI's sake."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from meshreg.errors import InputError
from meshreg.train.hmr_config import DataConfig
from meshreg.train.settings import OptimiserSettings, RunSettings


@dataclass(frozen=True)
class PersPoseModelConfig:
    """The network.

    Args:
        architecture: Its name in `meshreg.models.perspose`.
        encoding: Whether it is told where its cells look (perspective encoding).
        weights: Of the trunk: "pretrained", a file, or none for random ones.
        start_from: A PersPose file of an earlier training, to go on from its weights.
        take_over: A model file, also of a regressor of parameters: what fits is where this one
            begins, for example the trunk.
        body: "builtin", "smpl_neutral", "smpl_male", "smpl_female", or the path of a body file.
    """

    architecture: str = "perspose_small"
    encoding: bool = True
    weights: str | None = None
    start_from: Path | None = None
    take_over: Path | None = None
    body: str = "builtin"


@dataclass(frozen=True)
class PersPoseLossConfig:
    """Weights of the terms, by default the published ones; 0 leaves a term out.

    Args:
        points: Joints of known bodies in the picture, pixels.
        points_annotated: Joints that people annotated, pixels beyond a slack.
        points_captured: Joints of motion capture, pixels beyond a slack.
        depth: How far joints of known bodies lie behind the root, centimetres.
        depth_captured: The same of motion capture, behind its pelvis.
        density: What a pixel covers at the root, millimetres.
        density_captured: The same of motion capture.
        twists: How bones are turned about themselves.
        betas: Shape coefficients.
        leaves: Rotations of hands, feet and head.
    """

    points: float = 1.0
    points_annotated: float = 1.0
    points_captured: float = 1.0
    depth: float = 1.0
    depth_captured: float = 0.5
    density: float = 1.0
    density_captured: float = 0.5
    twists: float = 0.1
    betas: float = 0.01
    leaves: float = 0.01

    def __post_init__(self) -> None:
        """Refuse negative weights.

        Raises:
            InputError: naming the term.
        """
        for name, weight in self.weights().items():
            if not 0 <= weight < 1e9:
                raise InputError(f"losses.{name} must be 0 or more, not {weight}.")

    def weights(self) -> dict[str, float]:
        """The weight of every term."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class PersPoseConfig:
    """Train a PersPose on people whose bodies, joints or captured joints are known.

    Settings come from a YAML file, and from words such as losses.twists=1 after it. A run that was
    stopped goes on when the same command is given again.

    Args:
        recipe: Which kind of training a file is about.
        out: Folder of the run: checkpoints, metrics.csv, TensorBoard, pictures, model.safetensors.
        data: What is trained on.
        model: The network.
        losses: The weights of the loss's terms.
        optimiser: How the weights move.
        run: How long, where, and what is written when.
    """

    recipe: Literal["perspose"] = "perspose"
    out: Path = Path("runs/perspose")
    data: DataConfig = field(default_factory=DataConfig)
    model: PersPoseModelConfig = field(default_factory=PersPoseModelConfig)
    losses: PersPoseLossConfig = field(default_factory=PersPoseLossConfig)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)
