"""Everything that decides how a regressor is trained; imports nothing heavy, for the CLI's sake."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from meshreg.data.augment_settings import AugmentSettings
from meshreg.errors import InputError
from meshreg.train.settings import OptimiserSettings, RunSettings

PHOTOGRAPHS = ("spin", "bedlam", "threedpw")  # kinds of sources that are annotated photographs


@dataclass(frozen=True)
class SourceConfig:
    """One source of training pictures.

    Args:
        kind: "synthetic" draws people while it trains, "shards" reads what `meshreg synth` wrote;
            "spin", "bedlam" and "threedpw" are formats of annotated photographs.
        weight: How often it is drawn from, relative to the others.
        path: Folder of the shards; or the file of annotations, or a folder of such.
        images: Of photographs: the folder that their names in the annotations start from.
        masks: Of photographs: folder of label maps, .png, if there are any.
        scheme: Of label maps: what their ids mean; default cihp.
        cached: Decode the shards once, into a memory-mapped folder beside them.
        count: Only the first so many people; synthetic ones are then kept in memory.
        seed: Of synthetic people.
        poses: Of synthetic people: "prior" for the shipped poses, or a motion file or folder.
        backgrounds: Of synthetic people: folder of photographs of nobody; default drawn ones.
        supersampling: Of synthetic people: 1 is fastest, 2 has smooth edges.
        device: Where synthetic people are drawn; with "cuda" let run.workers be 0.
    """

    kind: Literal["synthetic", "shards", "spin", "bedlam", "threedpw"] = "synthetic"
    weight: float = 1.0
    path: Path | None = None
    images: Path | None = None
    masks: Path | None = None
    scheme: str | None = None
    cached: bool = True
    count: int | None = None
    seed: int = 1
    poses: str = "prior"
    backgrounds: Path | None = None
    supersampling: int = 1
    device: Literal["cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            InputError: naming the setting.
        """
        self._check_paths()
        if self.count is not None and self.count < 1:
            raise InputError(f"count of a data source must be at least 1, not {self.count}.")
        if not 0 <= self.seed < 2**40:
            raise InputError(f"seed of a data source must be 0 to 2^40, not {self.seed}.")

    def _check_paths(self) -> None:
        """Each kind needs its own files, and takes no others."""
        photographs = self.kind in PHOTOGRAPHS
        for name, taken, needed in (
            ("path", self.kind != "synthetic", True),
            ("images", photographs, True),
            ("masks", photographs, False),
        ):
            given = getattr(self, name) is not None
            if taken and needed and not given:
                raise InputError(f'a data source of kind "{self.kind}" needs {name}: add it.')
            if given and not taken:
                raise InputError(
                    f'a data source of kind "{self.kind}" does not take {name}: leave it out, or '
                    "name another kind."
                )
        if self.scheme is not None and self.masks is None:
            raise InputError("scheme of a data source says what the ids of masks mean: add masks.")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on, and what it is judged by.

    Args:
        size: Side of the square pictures, pixels.
        batch_size: Of each process.
        sources: By names of your choice.
        augment: How far pictures are changed.
        centred: Whether cameras first turn towards people, by the smallest turn (PersPose) or about
            two axes (PCL); the model remembers it, and prediction does the same.
        judge: What evaluations look at; people that are not trained on.
        judge_count: How many of them.
    """

    size: int = 128
    batch_size: int = 32
    sources: dict[str, SourceConfig] = field(default_factory=lambda: {"people": SourceConfig()})
    augment: AugmentSettings = AugmentSettings()
    centred: Literal["none", "minimal", "pcl"] = "none"
    judge: SourceConfig | None = None
    judge_count: int = 128


@dataclass(frozen=True)
class ModelConfig:
    """The network.

    Args:
        builder: Its name in `meshreg.models.builders`.
        options: Passed to the builder, such as {"conditioned": true}.
        weights: Of the backbone: "pretrained", a file, or none for random ones.
        start_from: A model file of an earlier training, to go on from its weights.
        take_over: A model file, also of another kind of network: what fits is where this one
            begins, for example the backbone.
        body: "builtin", "smpl_neutral", "smpl_male", "smpl_female", or the path of a body file.
    """

    builder: str = "hmr_small"
    options: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    start_from: Path | None = None
    take_over: Path | None = None
    body: str = "builtin"


@dataclass(frozen=True)
class TermConfig:
    """One term of the loss.

    Args:
        weight: Its factor; 0 leaves it out.
        start: The step at which it sets in.
        ramp: Over how many steps it then grows to its full weight.
    """

    weight: float = 0.0
    start: int = 0
    ramp: int = 0

    def __post_init__(self) -> None:
        """Refuse negative numbers.

        Raises:
            InputError: naming the setting.
        """
        for name in ("weight", "start", "ramp"):
            if not 0 <= getattr(self, name) < 1e9:
                raise InputError(
                    f"{name} of a loss term must be 0 or more, not {getattr(self, name)}."
                )


@dataclass(frozen=True)
class DsrConfig:
    """How the labels that a body would show are drawn and compared.

    Args:
        mode: "corrected", or "paper" for the released code's losses, faults included.
        renderer: "edge" is sharp with exact gradients of outlines, "soft" blends.
        step: Every how many pixels of a row and a column are compared.
        prior: What people wear where; default the shipped one.
        bare: Which labels count as minimally clothed.
    """

    mode: Literal["corrected", "paper"] = "corrected"
    renderer: Literal["edge", "soft"] = "edge"
    step: int = 2
    prior: Path | None = None
    bare: str = "default"

    def __post_init__(self) -> None:
        """Refuse a mode that does not have the rest.

        Raises:
            InputError: naming the setting.
        """
        if self.step < 1:
            raise InputError(f"losses.dsr.step must be at least 1, not {self.step}.")
        if self.mode == "paper" and (self.renderer, self.step) != ("soft", 1):
            raise InputError(
                'losses.dsr.mode "paper" goes with renderer "soft" and step 1: set both, or use '
                'mode "corrected".'
            )


@dataclass(frozen=True)
class LossConfig:
    """The terms of the loss; see `meshreg.losses` for what they measure.

    Args:
        supervision: "2d" leaves out all that knows the body in 3D: joints, pose, betas, vertices.
        norm: Of errors of joints.
        keypoints2d: Joints in the picture, in half sides of it.
        joints3d: Joints from the pelvis, metres.
        pose: Rotation matrices.
        betas: Shape coefficients.
        vertices: The surface from the pelvis, metres.
        camera: Keeps the scale away from zero.
        map_cells: Which cell of its maps each joint is in, nats; for heads with joint maps.
        map_points: Where a head with joint maps saw the joints, in half sides of the picture.
        map_depth: How deep it saw them behind the pelvis, metres.
        map_doubt: How well it knows its own errors, nats.
        pose_prior: Unlikely poses, nats; for runs without 3D.
        shape_prior: Unlikely shapes, nats; for runs without 3D.
        silhouette: The outline of the person.
        outside: Vertices must not lie far off the person.
        dsr_mc: Bare skin must coincide with the body's surface.
        dsr_c: Labels must agree with what people wear where.
        dsr: How the last four are drawn and compared.
    """

    supervision: Literal["3d", "2d"] = "3d"
    norm: Literal["absolute", "squared"] = "absolute"
    keypoints2d: TermConfig = TermConfig(5.0)
    joints3d: TermConfig = TermConfig(5.0)
    pose: TermConfig = TermConfig(1.0)
    betas: TermConfig = TermConfig(0.01)
    vertices: TermConfig = TermConfig()
    camera: TermConfig = TermConfig(1.0)
    map_cells: TermConfig = TermConfig()
    map_points: TermConfig = TermConfig()
    map_depth: TermConfig = TermConfig()
    map_doubt: TermConfig = TermConfig()
    pose_prior: TermConfig = TermConfig()
    shape_prior: TermConfig = TermConfig()
    silhouette: TermConfig = TermConfig()
    outside: TermConfig = TermConfig()
    dsr_mc: TermConfig = TermConfig()
    dsr_c: TermConfig = TermConfig()
    dsr: DsrConfig = DsrConfig()

    def __post_init__(self) -> None:
        """Refuse a term that the released code does not have.

        Raises:
            InputError: naming it.
        """
        if self.dsr.mode == "paper" and self.outside.weight > 0:
            raise InputError('losses.dsr.mode "paper" has no term losses.outside: leave it out.')

    def terms(self) -> dict[str, TermConfig]:
        """The terms that count, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        left_out = IN_3D if self.supervision == "2d" else ()
        return {
            name: term
            for name, term in named.items()
            if isinstance(term, TermConfig) and term.weight > 0 and name not in left_out
        }


IN_3D = ("joints3d", "pose", "betas", "vertices", "map_depth")
OF_MAPS = ("map_cells", "map_points", "map_depth", "map_doubt")
BY_LABELS = ("silhouette", "outside", "dsr_mc", "dsr_c")


@dataclass(frozen=True)
class HmrConfig:
    """Train a regressor: from a picture of a person to a body in front of the camera.

    Settings come from a YAML file, and from words such as losses.dsr_c.weight=0.1 after it. A run
    that was stopped goes on when the same command is given again.

    Args:
        recipe: Which kind of training a file is about.
        out: Folder of the run: checkpoints, metrics.csv, TensorBoard, pictures, model.safetensors.
        data: What is trained on.
        model: The network.
        losses: The terms of the loss.
        optimiser: How the weights move.
        run: How long, where, and what is written when.
    """

    recipe: Literal["hmr"] = "hmr"
    out: Path = Path("runs/hmr")
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    run: RunSettings = field(default_factory=RunSettings)
