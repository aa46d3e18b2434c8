"""The uncertainty ablation in tables and a plot: errors by root rule, and calibration."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.ablation.plot import Panel, write_svg
from benchmarks.ablation.report import markdown, written
from benchmarks.ablation.statistics import Scores, bootstrap, mean_interval, paired_difference
from benchmarks.ablation.uao_arms import ARMS, OFF, OFF_SMOOTHED, RULES, WITH_BOTH
from benchmarks.pages import write_part
from meshreg.files import written_whole
from meshreg.metrics import Interval

BEGIN, END = "<!-- made by benchmarks/ablation_uao.py -->", "<!-- end -->"
BINS = 6  # of joints by their expected error, equally many in each
All = Mapping[int, Mapping[str, Tensor]]  # seed -> measure/arm -> values


def write_report(out: Path, plan: Mapping[str, Any], scores: All, page: Path | None) -> str:
    """Write results.md, .json and .svg into the folder; returns the Markdown."""
    text = "\n\n".join(tables(scores))
    with written_whole(out / "results.md") as temporary:
        temporary.write_text(text + "\n", "utf-8")
    means = {name: asdict(mean_interval(errors(scores, name))) for name in _arms()}
    record = {
        "plan": plan,
        "versions": {name: version(name) for name in ("meshreg", "torch")},
        "mpjpe_mm": means,
        "calibration": {seed: calibration(values) for seed, values in scores.items()},
    }
    with written_whole(out / "results.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str) + "\n", "utf-8")
    picture = out / "results.svg" if page is None else page.parent / "images" / f"{page.stem}.svg"
    write_svg(picture, panels(scores))
    if page is not None:
        write_part(page, text, BEGIN, END)
    return text


def _arms() -> list[str]:
    return [OFF, OFF_SMOOTHED, *ARMS]


def errors(scores: All, arm: str) -> Scores:
    """Of every piece after every seed, millimetres."""
    return Scores({seed: values[f"mpjpe_mm/{arm}"] for seed, values in scores.items()})


def calibration(values: Mapping[str, Tensor]) -> float:
    """Mean error over mean expected error, the root joint left out: 1 is right."""
    return float(values["error_m"][:, 1:].mean() / values["told_m"][:, 1:].mean())


# --- tables ---------------------------------------------------------------------------------------
def tables(scores: All) -> list[str]:
    """Errors and changes by arm, how far off roots were, calibration."""
    off = errors(scores, OFF)
    rows = [["off", "", written(mean_interval(off), digits=1), "", ""]]
    rows.append(_row(scores, OFF_SMOOTHED, ""))
    rows += [_row(scores, arm, rule) for arm, (rule, _) in ARMS.items()]
    places = [
        [
            rule,
            *(_place(scores, measure, rule) for measure in ("depth_percent", "direction_percent")),
        ]
        for rule in RULES
    ]
    ratios = ", ".join(f"{calibration(values):.2f}" for values in scores.values())
    return [
        markdown(["arm", "root", "MPJPE, mm", "change, %", "by seed, %"], rows),
        markdown(["root", "depth off, %", "direction off, % of the depth"], places),
        f"Mean error over mean exp(s), by seed: {ratios}.",
        markdown(["of the joints", *_bin_names()], _calibration_rows(scores)),
    ]


def change(scores: All, arm: str) -> tuple[Interval, tuple[float, ...]]:
    """Of an arm against doing nothing, percent of the latter's mean: over all, and by seed."""
    off = errors(scores, OFF)
    interval, by_seed = paired_difference(errors(scores, arm), off)
    unit = mean_interval(off).mean / 100
    share = Interval(interval.mean / unit, interval.low / unit, interval.high / unit)
    return share, tuple(value / unit for value in by_seed)


def _row(scores: All, arm: str, rule: str) -> list[str]:
    """Bold where the interval is off zero and all of several seeds say the same."""
    interval, by_seed = change(scores, arm)
    agreed = len(by_seed) > 1 and len({value > 0 for value in by_seed}) == 1
    text = written(interval, digits=1, signed=True)
    if agreed and (interval.low > 0 or interval.high < 0):
        text = f"**{text}**"
    name = arm if not rule else arm.removesuffix(f", {rule}")
    mean = written(mean_interval(errors(scores, arm)), digits=1)
    return [name, rule, mean, text, ", ".join(f"{value:+.1f}" for value in by_seed)]


def _place(scores: All, measure: str, rule: str) -> str:
    values = Scores({seed: v[f"{measure}/{rule}"] for seed, v in scores.items()})
    return written(mean_interval(values), digits=2)


# --- calibration ----------------------------------------------------------------------------------
def bins(values: Mapping[str, Tensor]) -> Float[Tensor, "2 B"]:
    """Expected and true errors, millimetres, of joints in groups by the expected one."""
    told, error = (values[name][:, 1:].flatten() for name in ("told_m", "error_m"))
    order = told.argsort()
    parts = [torch.stack([told[part], error[part]]).mean(1) for part in order.chunk(BINS)]
    return 1000 * torch.stack(parts, 1)


def _bin_names() -> list[str]:
    return [f"{k + 1}/{BINS}" for k in range(BINS)]


def _calibration_rows(scores: All) -> list[list[str]]:
    means = torch.stack([bins(values) for values in scores.values()]).mean(0)
    names = ("mean exp(s), mm", "mean error, mm")
    return [
        [name, *(f"{value:.0f}" for value in row)]
        for name, row in zip(names, means.tolist(), strict=True)
    ]


def panels(scores: All) -> list[Panel]:
    """Changes by root rule, and expected against true errors."""
    names = {"steady, floor known": "floor known"}
    curves: dict[str, list[Interval | None]] = {
        title: [change(scores, f"{kind}, {rule}")[0] for rule in WITH_BOTH]
        for title, kind in (
            ("projection only", "projection"),
            ("with uncertainty", "uncertainty"),
        )
    }
    tables_of_bins = torch.stack([bins(values) for values in scores.values()])
    return [
        Panel(
            title="Change of MPJPE by test-time optimisation",
            x_label="how the root joint's place is known",
            y_label="percent",
            groups=[names.get(rule, rule) for rule in WITH_BOTH],
            curves=curves,
        ),
        Panel(
            title="Expected and true errors",
            x_label="joints in order of their expected error, sixths",
            y_label="mm",
            groups=_bin_names(),
            curves={
                title: [_over_seeds(column) for column in tables_of_bins[:, row].unbind(1)]
                for row, title in enumerate(("mean exp(s)", "mean error"))
            },
        ),
    ]


def _over_seeds(values: Float[Tensor, " S"]) -> Interval:
    return bootstrap(values.double()[:, None])
