"""What every run of the ablation is: its terms, its settings, its folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from meshreg.errors import InputError
from meshreg.train.hmr_config import HmrConfig

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "hmr" / "ablation.yaml"
BASE = "base"
# Arms must not see the base run's batches again in the same order.
ARM_SEEDS_FROM = 1000


@dataclass(frozen=True)
class Arm:
    """One way to go on from the base run."""

    title: str
    terms: tuple[str, ...] = ()  # of `LossConfig`, besides those of the base run
    renderer: Literal["edge", "soft"] = "edge"


ARMS: dict[str, Arm] = {
    "A": Arm("keypoints only"),
    "B": Arm("silhouette", ("silhouette",)),
    "C": Arm("DSR-MC", ("dsr_mc",)),
    "D": Arm("DSR-MC and DSR-C", ("dsr_mc", "dsr_c")),
    "E": Arm("DSR-MC and DSR-C, SoftRas", ("dsr_mc", "dsr_c"), "soft"),
}
# At the branch, each arm's label terms together have about half of the keypoints' gradient. Blended
# pictures have a weaker gradient of DSR-C, so it counts more there.
WEIGHTS: dict[str, dict[str, float]] = {
    "edge": {"silhouette": 1.1, "dsr_mc": 2.5, "dsr_c": 0.1},
    "soft": {"silhouette": 1.1, "dsr_mc": 2.5, "dsr_c": 0.3},
}


@dataclass(frozen=True)
class Plan:
    """All that decides the runs."""

    out: Path
    people: Path  # folder of shards
    seeds: int = 3
    base_steps: int = 3000
    arm_steps: int = 1500
    arm_lr: float = 3e-4
    # renderer -> term -> weight
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: WEIGHTS)
    settings: tuple[str, ...] = ()  # "group.name=value", for all runs alike

    def folder(self, seed: int, arm: str) -> Path:
        """Of the base run, or of an arm."""
        return self.out / f"seed{seed}" / arm

    def runs(self) -> Iterator[tuple[int, str]]:
        """Seeds and arms in the order of their training; base runs first."""
        seeds = range(self.seeds)
        yield from ((seed, BASE) for seed in seeds)
        yield from ((seed, arm) for seed in seeds for arm in ARMS)


def config_of(plan: Plan, seed: int, arm: str) -> HmrConfig:
    """The settings of the base run of a seed, or of one of its arms.

    Raises:
        InputError: if one of the plan's settings is unknown, or decides what the plan decides.
    """
    config = replace(_common(plan), out=plan.folder(seed, arm))
    if arm == BASE:
        return replace(config, run=replace(config.run, steps=plan.base_steps, seed=seed))
    start = plan.folder(seed, BASE) / "model.safetensors"
    run = replace(config.run, steps=plan.arm_steps, seed=ARM_SEEDS_FROM + seed)
    optimiser = replace(config.optimiser, lr=plan.arm_lr, warmup=min(100, plan.arm_steps // 4))
    model = replace(config.model, start_from=start)
    return replace(with_terms(config, plan, arm), run=run, optimiser=optimiser, model=model)


def with_terms(config: HmrConfig, plan: Plan, arm: str) -> HmrConfig:
    """The same run with the terms of an arm."""
    losses, renderer = config.losses, ARMS[arm].renderer
    weights = plan.weights[renderer]
    terms = {name: replace(getattr(losses, name), weight=weights[name]) for name in ARMS[arm].terms}
    dsr = replace(losses.dsr, mode="corrected", renderer=renderer)
    return replace(config, losses=replace(losses, **terms, dsr=dsr))


def _common(plan: Plan) -> HmrConfig:
    """What the YAML file and the plan's words say."""
    config: HmrConfig = read_config(CONFIG, plan.settings)
    if {*config.losses.terms()} & {term for arm in ARMS.values() for term in arm.terms}:
        raise InputError("terms that differ between arms cannot be set for all: leave them out.")
    (name,) = config.data.sources
    sources = {name: replace(config.data.sources[name], path=plan.people)}
    warmup = min(config.optimiser.warmup, plan.base_steps // 4)
    return replace(
        config,
        data=replace(config.data, sources=sources),
        optimiser=replace(config.optimiser, warmup=warmup),
        run=replace(config.run, device="cpu"),
    )


@lru_cache(maxsize=8)
def read_config(path: Path, words: tuple[str, ...] = (), kind: type = HmrConfig) -> Any:
    """A config file and words such as run.save_every=100 after it, as `meshreg train` reads them.

    Raises:
        InputError: if a word is no setting.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(kind, as_group=False)
    try:
        chosen = parser.parse_args(["--config", str(path), *(f"--{word}" for word in words)])
    except Exception as error:  # jsonargparse and argparse have several kinds
        raise InputError(f"{path} with {words}: {' '.join(str(error).split())[:300]}") from error
    values = vars(parser.instantiate(chosen))
    return kind(**{name: value for name, value in values.items() if name != "config"})
