"""What the terms weigh at the point where the arms part, and what a step of each arm costs."""

import time
from statistics import fmean, median
from typing import TypeAlias

import torch
from torch import Tensor, nn

from benchmarks.ablation.arms import ARMS, Plan, config_of
from meshreg.body.smpl import Body, load_body
from meshreg.data.augment import Augmented
from meshreg.losses.terms import total
from meshreg.train.device import seed_step
from meshreg.train.hmr import build_model
from meshreg.train.hmr_config import HmrConfig
from meshreg.train.hmr_data import make_batches
from meshreg.train.hmr_terms import HmrTerms

REFERENCE = "keypoints2d"
END = 10**9  # a step at which every term has its full weight
Parts: TypeAlias = tuple[nn.Module, HmrTerms, Augmented]


def gradient_report(plan: Plan, seed: int, *, batches: int = 8) -> dict[str, dict[str, float]]:
    """Of every term of every arm, on the arms' first batches: the length of its gradient.

    `length` is the root mean square over batches of the gradient by all of the model's weights,
    times the term's own weight; `share` is that against the keypoints', and `cosine` says how far
    the two agree.
    """
    body = load_body()
    report: dict[str, dict[str, float]] = {}
    for title, arm, names in _groups():
        config = config_of(plan, seed, arm)
        parts = _parts(config, body)
        rows = [_gradients(parts, config.run.seed, number, names) for number in range(batches)]
        for name in rows[0]:
            if name != REFERENCE or names is None:
                report[title.format(name)] = _summary(rows, name)
    return dict(sorted(report.items(), key=lambda item: -item[1]["length"]))


def _groups() -> list[tuple[str, str, tuple[str, ...] | None]]:
    """How terms are called, an arm that has them, and which; None for all."""
    return [("{}", "A", None)] + [
        (f"{arm}: {{}}", arm, (REFERENCE, *ARMS[arm].terms)) for arm in ARMS if ARMS[arm].terms
    ]


def _gradients(
    parts: Parts, seed: int, number: int, names: tuple[str, ...] | None
) -> dict[str, tuple[float, float]]:
    """The length of some terms' weighted gradients on a batch, and the cosine with the reference's.

    In training mode a batch is normalised by itself, so earlier batches leave no trace.
    """
    model, terms, batches = parts
    batch = batches.at(number)
    seed_step(seed, number, 0)
    weights = [p for p in model.parameters() if p.requires_grad]
    found = {}
    for name, term in terms(model, batch, END).items():
        if names is None or name in names:
            value = term.value if isinstance(term.value, Tensor) else term.value()
            pieces = torch.autograd.grad(
                term.weight * value, weights, retain_graph=True, materialize_grads=True
            )
            found[name] = torch.cat([piece.flatten() for piece in pieces])
    reference = found[REFERENCE] / found[REFERENCE].norm()
    lengths = {name: float(gradient.norm()) for name, gradient in found.items()}
    return {
        name: (length, float(found[name] @ reference) / max(length, 1e-12))
        for name, length in lengths.items()
    }


def _summary(rows: list[dict[str, tuple[float, float]]], name: str) -> dict[str, float]:
    length, reference = (
        fmean(row[key][0] ** 2 for row in rows) ** 0.5 for key in (name, REFERENCE)
    )
    cosine = fmean(row[name][1] for row in rows)
    return {"length": length, "share": length / reference, "cosine": cosine}


def step_seconds(plan: Plan, seed: int, *, repeats: int = 9) -> dict[str, float]:
    """The median time of a whole training step of every arm, data included.

    The arms take turns on the same batches, so whatever else the machine does slows all alike.
    """
    body = load_body()
    steppers = {arm: _Stepper(config_of(plan, seed, arm), body) for arm in ARMS}
    seconds: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for number in range(repeats + 1):
        for arm, step in steppers.items():
            start = time.perf_counter()
            step(number)
            seconds[arm].append(time.perf_counter() - start)
    return {arm: median(times[1:]) for arm, times in seconds.items()}  # the first one compiles


class _Stepper:
    """Steps of a run that is thrown away afterwards."""

    def __init__(self, config: HmrConfig, body: Body) -> None:
        self.model, self.terms, self.batches = _parts(config, body)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=config.optimiser.lr)

    def __call__(self, number: int) -> None:
        self.optimiser.zero_grad()
        loss, _ = total(self.terms(self.model, self.batches.at(number), number))
        loss.backward()
        self.optimiser.step()


def _parts(config: HmrConfig, body: Body) -> Parts:
    """Model, terms and batches of an arm at its first step."""
    torch.manual_seed(config.run.seed)
    model = build_model(config.model, body).train()
    batches = make_batches(
        config.data,
        body=body,
        seed=config.run.seed,
        rank=0,
        world_size=1,
    )
    return model, HmrTerms(config.losses, body), batches
