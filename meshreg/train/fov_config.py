"""Everything that decides how a field-of-view network is trained; imports nothing heavy."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from meshreg.data.augment_settings import AugmentSettings
from meshreg.errors import InputError
from meshreg.train.settings import OptimiserSettings, RunSettings


@dataclass(frozen=True)
class PicturesConfig:
    """Whole pictures of synthetic people; the same as those of `meshreg synth`, but not cut out.

    Args:
        seed: Picture number i of a seed is always the same.
        count: How many are drawn.
        weight: How often they are trained on, relative to the others.
        fov: Narrowest and widest angle across the longer side, degrees.
        heights: Smallest and largest height of people, in heights of the picture.
        central: Share of people near the middle of the picture.
    """

    seed: int = 200
    count: int = 6000
    weight: float = 1.0
    fov: tuple[float, float] = (30.0, 100.0)
    heights: tuple[float, float] = (0.25, 0.8)
    central: float = 0.0


@dataclass(frozen=True)
class FovDataConfig:
    """What is trained on, and what it is judged by.

    Args:
        folder: Where pictures are drawn, once for all runs: a folder in it for each source.
        drawn: Side of the drawn pictures, pixels.
        batch_size: Of each process.
        sources: By names of your choice.
        augment: How far pictures are changed; `zoom` cuts them down around their middle.
        calibrate: Pictures that nothing was learned from, to find out how sure the network may be.
        judge: What evaluations look at.
    """

    folder: Path = Path("data/whole_pictures")
    drawn: int = 160
    batch_size: int = 32
    sources: dict[str, PicturesConfig] = field(default_factory=lambda: {"wide": PicturesConfig()})
    augment: AugmentSettings = AugmentSettings(zoom=0.4, shift=0.0, erase=0.0)
    calibrate: PicturesConfig | None = None
    judge: PicturesConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, and changes after which nobody knows the field of view.

        Raises:
            InputError: naming the setting.
        """
        named = {**self.sources, "calibrate": self.calibrate, "judge": self.judge}
        for name, wanted in named.items():
            if wanted and not (wanted.count > 0 and 0 <= wanted.seed < 2**40):
                raise InputError(
                    f"data source {name!r} must have a count of at least 1 and a seed of 0 to "
                    f"2^40, not {wanted.count} and {wanted.seed}."
                )
        if self.augment.shift or self.augment.erase:
            raise InputError(
                "data.augment.shift and erase must be 0 here: a picture whose middle moved has "
                "another field of view."
            )
        if self.drawn < 32 or self.batch_size < 1:
            raise InputError(
                f"data.drawn must be at least 32 and data.batch_size 1, not {self.drawn} and "
                f"{self.batch_size}."
            )
        if taken := {"calibrate", "judge"} & self.sources.keys():
            raise InputError(f"data.sources may not be called {taken.pop()}: choose another name.")


@dataclass(frozen=True)
class FovModelConfig:
    """The network.

    Args:
        backbone: Its name in timm.
        image_size: Side of the letter-boxed pictures that it is shown, pixels.
        narrowest_deg: Where its bins of angles begin.
        widest_deg: Where they end.
        num_bins: How many there are.
        dropout: Share of features that are left out while it learns.
        weights: Of the backbone: "pretrained", a file, or none for random ones.
        start_from: A regressor's file with such a backbone, to begin with what that has learned.
    """

    backbone: str = "mobilenetv4_conv_small"
    image_size: int = 96
    narrowest_deg: float = 10.0
    widest_deg: float = 130.0
    num_bins: int = 48
    dropout: float = 0.2
    weights: str | None = None
    start_from: Path | None = None


@dataclass(frozen=True)
class FovLossConfig:
    """Weights of the terms of the loss.

    Args:
        unlikely: How improbable the true angle seemed.
        distance: How far the predicted distribution is from it, degrees.
    """

    unlikely: float = 1.0
    distance: float = 0.1

    def __post_init__(self) -> None:
        """Refuse negative weights.

        Raises:
            InputError: naming the term.
        """
        for name, weight in vars(self).items():
            if not 0 <= weight < 1e9:
                raise InputError(f"losses.{name} must be 0 or more, not {weight}.")


@dataclass(frozen=True)
class FovConfig:
    """Train a network that tells from a whole picture how wide its camera sees.

    Settings come from a YAML file, and from words such as losses.distance=1 after it. A run that
    was stopped goes on when the same command is given again.

    Args:
        recipe: Which kind of training a file is about.
        out: Folder of the run: checkpoints, metrics.csv, TensorBoard, model.safetensors.
        data: What is trained on.
        model: The network.
        losses: The weights of the loss's terms.
        optimiser: How the weights move.
        run: How long, where, and what is written when.
    """

    recipe: Literal["fov"] = "fov"
    out: Path = Path("runs/fov")
    data: FovDataConfig = field(default_factory=FovDataConfig)
    model: FovModelConfig = field(default_factory=FovModelConfig)
    losses: FovLossConfig = FovLossConfig()
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)
