"""Every number of the training loop in one place; imports nothing heavy, for the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from meshreg.errors import InputError


@dataclass(frozen=True)
class OptimiserSettings:
    """How the weights move: by which rule, how fast over time, clipping, a moving average.

    Args:
        kind: "adamw", or "ranger": rectified Adam that looks ahead, as GLA-GCN was trained.
        lr: Learning rate after the warm-up.
        weight_decay: Of matrices; biases and norms have none.
        betas: How long first and second moments are remembered.
        lr_scale: Factors for parameters whose names start so, such as {"backbone": 0.1}.
        schedule: What follows the warm-up.
        warmup: Steps over which the learning rate grows from zero.
        last: Share of the learning rate at the last step.
        clip: Longest gradient, all parameters together; 0 does not clip.
        accumulate: Batches per step.
        ema: Decay of the moving average of the weights per step; 0 keeps none.
        norm_momentum: Share of the momentum of batch norms at the last step; it falls
            exponentially, 1 keeps it.
    """

    kind: Literal["adamw", "ranger"] = "adamw"
    lr: float = 3e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    lr_scale: dict[str, float] = field(default_factory=dict)
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup: int = 500
    last: float = 0.01
    clip: float = 1.0
    accumulate: int = 1
    ema: float = 0.999
    norm_momentum: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            InputError: naming the setting.
        """
        _check(self, "optimiser", _OPTIMISER_LIMITS)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optimiser.betas must lie in [0, 1), not {self.betas}.")


@dataclass(frozen=True)
class RunSettings:
    """How long, on which device, and what is written when.

    Args:
        steps: In all, also of a run that is continued.
        seed: Of the weights, the order of the data and all chance in between.
        device: Where to train; "auto" takes a GPU if there is one.
        devices: Processes on this machine, one per GPU.
        nodes: Machines.
        precision: "bf16" runs the network in bfloat16; losses and weights stay in fp32.
        workers: Processes that prepare batches; 0 prepares them in the training process.
        log_every: Steps per row of metrics.csv.
        save_every: Steps between checkpoints: what a killed run loses at most.
        keep: How many checkpoints stay, besides the best.
        evaluate_every: Steps between evaluations; 0 for none.
        picture_every: Steps between pictures; 0 for none.
    """

    steps: int = 10_000
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = 0
    log_every: int = 10
    save_every: int = 500
    keep: int = 2
    evaluate_every: int = 0
    picture_every: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be meant.

        Raises:
            InputError: naming the setting.
        """
        _check(self, "run", _RUN_LIMITS)


# What may change when a run is continued; all else decides its results.
FREE = {"out"} | {
    f"run.{name}"
    for name in ("device", "workers", "log_every", "save_every", "keep")
    + ("evaluate_every", "picture_every")
}
# Settings that older runs did not note, and what they were then.
UNNOTED = {
    "optimiser.kind": "adamw",
    "optimiser.norm_momentum": 1.0,
    "data.target_turn": 0.0,
    "data.target_scale": 0.0,
    "model.take_over": None,
}
_OPTIMISER_LIMITS = {
    "lr": (0.0, 1e3),
    "weight_decay": (0.0, 1e3),
    "warmup": (0, 10**9),
    "last": (0.0, 1.0),
    "clip": (0.0, 1e9),
    "accumulate": (1, 10**6),
    "ema": (0.0, 1.0),
    "norm_momentum": (1e-6, 1.0),
}
_RUN_LIMITS = {
    "steps": (1, 10**9),
    "seed": (0, 2**31),
    "devices": (1, 1024),
    "nodes": (1, 10**5),
    "workers": (0, 512),
    "log_every": (1, 10**9),
    "save_every": (1, 10**9),
    "keep": (1, 10**6),
    "evaluate_every": (0, 10**9),
    "picture_every": (0, 10**9),
}


def _check(
    settings: Any, group: str, limits: Mapping[str, tuple[int | float, int | float]]
) -> None:
    known = {field.name for field in fields(settings)}
    for name, (low, high) in limits.items():
        assert name in known, name
        value = getattr(settings, name)
        if not low <= value <= high:  # also refuses NaN
            raise InputError(f"{group}.{name} must be {low:g} to {high:g}, not {value}.")
