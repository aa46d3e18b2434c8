"""What every run of the perspective ablation is: its network, what it knows of the camera."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.ablation.arms import ROOT, read_config
from meshreg.errors import InputError
from meshreg.predictor.regress import DEFAULT_MODEL
from meshreg.train.hmr_config import HmrConfig
from meshreg.train.perspose_config import PersPoseConfig

Run = tuple[int, str, str]  # seed, network and arm


@dataclass(frozen=True)
class Arm:
    """What a network gets of perspective."""

    title: str
    encoding: bool = False
    centred: bool = False


ARMS: dict[str, Arm] = {
    "none": Arm("neither"),
    "PE": Arm("encoding", encoding=True),
    "PR": Arm("rotation", centred=True),
    "PE+PR": Arm("both", encoding=True, centred=True),
}
ENCODING_LR = 10.0  # times the others'
# What is compared: everything with nothing, and both with either
PAIRS = [("PE", "none"), ("PR", "none"), ("PE+PR", "none"), ("PE+PR", "PE"), ("PE+PR", "PR")]
NETWORKS: dict[str, tuple[Path, type]] = {
    "hmr": (ROOT / "configs" / "hmr" / "small.yaml", HmrConfig),
    "perspose": (ROOT / "configs" / "perspose" / "small.yaml", PersPoseConfig),
}


@dataclass(frozen=True)
class Plan:
    """All that decides the runs."""

    out: Path
    people: Path  # folder of shards
    begin: Path = DEFAULT_MODEL  # whose weights all runs begin with, as far as they fit
    seeds: int = 3
    steps: int = 500
    size: int = 96
    networks: tuple[str, ...] = tuple(NETWORKS)
    settings: tuple[str, ...] = ()  # "group.name=value", for all runs alike

    def folder(self, run: Run) -> Path:
        seed, network, arm = run
        return self.out / f"seed{seed}" / f"{network}_{arm.replace('+', '_')}"

    def runs(self) -> Iterator[Run]:
        """All runs of a seed before those of the next, so that there is something to see soon."""
        for seed in range(self.seeds):
            yield from ((seed, network, arm) for network in self.networks for arm in ARMS)


def config_of(plan: Plan, run: Run) -> Any:
    """The settings of a run; arms of a seed differ in nothing but what the network knows.

    Raises:
        InputError: if one of the plan's settings is unknown, or decides what the plan decides.
    """
    seed, network, name = run
    path, kind = NETWORKS[network]
    config, arm = read_config(path, plan.settings, kind), ARMS[name]
    if any(word.split("=")[0] in _PLANNED for word in plan.settings):
        raise InputError(f"--settings cannot change {', '.join(_PLANNED)}: the plan decides them.")
    (source,) = config.data.sources
    people = replace(config.data.sources[source], kind="shards", path=plan.people, seed=1)
    data = replace(
        config.data,
        size=plan.size,
        sources={source: people},
        judge=None,
        centred="minimal" if arm.centred else "none",
    )
    if network == "hmr":  # no other way to know the camera
        model = replace(config.model, options={"conditioned": False, "encoding": arm.encoding})
    else:
        model = replace(config.model, encoding=arm.encoding)
    model = replace(model, take_over=plan.begin)
    steps = plan.steps
    optimiser = replace(config.optimiser, warmup=min(config.optimiser.warmup, steps // 5))
    if arm.encoding:  # begins at almost nothing, and what it is added to has learnt already
        optimiser = replace(optimiser, lr_scale={"encoding": ENCODING_LR})
    chosen = replace(
        config.run,
        steps=steps,
        seed=seed,
        device="cpu",
        workers=0,  # one core for each run
        evaluate_every=0,
        picture_every=0,
    )
    return replace(
        config, out=plan.folder(run), data=data, model=model, optimiser=optimiser, run=chosen
    )


_PLANNED = ("data.size", "data.centred", "model.encoding", "model.options", "run.steps", "run.seed")
