"""The results in tables, and everything behind them as JSON and CSV."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.ablation.arms import ARMS, BASE, Plan, config_of
from benchmarks.ablation.scores import MEASURES, Judge, scores_of
from benchmarks.ablation.statistics import RESAMPLES, Scores, mean_interval, paired_difference
from benchmarks.pages import write_part
from meshreg.data.shards import read_manifest
from meshreg.files import written_whole
from meshreg.metrics import Interval

BEGIN, END = "<!-- made by benchmarks/ablation_dsr.py -->", "<!-- end -->"
# What is compared: every arm with the first, and the renderers
PAIRS = [(arm, "A") for arm in ARMS if arm != "A"] + [("E", "D")]
Results = dict[str, dict[str, Scores]]  # arm -> measure -> scores


def results_of(plan: Plan, judge: Judge) -> Results:
    """Of all arms that have a finished run."""
    results: Results = {}
    for arm in (BASE, *ARMS):
        models = {s: plan.folder(s, arm) / "model.safetensors" for s in range(plan.seeds)}
        found = {s: scores_of(path, judge) for s, path in models.items() if path.is_file()}
        if found:
            results[arm] = {
                name: Scores({s: values[name] for s, values in found.items()}) for name in MEASURES
            }
    return results


def write_report(plan: Plan, judge: Judge, page: Path | None = None) -> str:
    """Write results.md, results.json and results.csv into the folder; returns the Markdown.

    The marked part of `page` is replaced by it.
    """
    results, branch = results_of(plan, judge), branch_of(plan)
    text = "\n\n".join(part for part in tables(results, branch) if part)
    with written_whole(plan.out / "results.md") as temporary:
        temporary.write_text(text + "\n", "utf-8")
    with written_whole(plan.out / "results.json") as temporary:
        record = _record(plan, judge, results, branch)
        temporary.write_text(json.dumps(record, indent=1, default=str) + "\n", "utf-8")
    _write_csv(plan.out / "results.csv", results)
    if page is not None:
        write_part(page, text, BEGIN, END)
    return text


def branch_of(plan: Plan) -> dict[int, Any]:
    """What was measured where the arms part, by seed."""
    paths = {s: plan.folder(s, BASE) / "branch.json" for s in range(plan.seeds)}
    return {s: json.loads(p.read_text("utf-8")) for s, p in paths.items() if p.is_file()}


# --- tables ---------------------------------------------------------------------------------------
def tables(results: Results, branch: Mapping[int, Any]) -> list[str]:
    """Means, differences, and what was measured at the branch."""
    head = ["arm", "runs", *(title for title, _ in MEASURES.values())]
    rows = [[_title(arm), str(_runs(scores)), *_cells(scores)] for arm, scores in results.items()]
    pairs = [(a, b) for a, b in PAIRS if a in results and b in results]
    pairs = [(a, b) for a, b in pairs if _common(results[a], results[b])]
    return [
        markdown(head, rows),
        markdown(["difference", *head[2:]], [_difference(results, *pair) for pair in pairs]),
        _of_seeds(results, pairs),
        _at_branch(branch),
        _seconds(branch),
    ]


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table, or nothing without rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) if rows else ""


def written(interval: Interval, *, digits: int, signed: bool = False) -> str:
    """A mean with its interval."""
    sign = "+" if signed else ""
    mean, low, high = (
        f"{value:{sign}.{digits}f}" for value in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} ({low} ... {high})"


def _title(arm: str) -> str:
    return f"{arm}: {ARMS[arm].title}" if arm in ARMS else "where the arms part"


def _runs(scores: Mapping[str, Scores]) -> int:
    return len(next(iter(scores.values())).by_seed)


def _common(one: Mapping[str, Scores], other: Mapping[str, Scores]) -> bool:
    """Whether the two have a seed in common."""
    first = next(iter(MEASURES))
    return bool(one[first].by_seed.keys() & other[first].by_seed.keys())


def _digits(measure: str) -> int:
    return 3 if measure.endswith("iou") else 1


def _cells(scores: Mapping[str, Scores]) -> list[str]:
    return [written(mean_interval(scores[name]), digits=_digits(name)) for name in MEASURES]


def _difference(results: Results, arm: str, reference: str) -> list[str]:
    """Bold where the interval is off zero and all of several seeds say the same."""
    cells = []
    for name in MEASURES:
        interval, by_seed = paired_difference(results[arm][name], results[reference][name])
        agreed = len(by_seed) > 1 and len({value > 0 for value in by_seed}) == 1
        surely = agreed and (interval.low > 0 or interval.high < 0)
        text = written(interval, digits=_digits(name) + 1, signed=True)
        cells.append(f"**{text}**" if surely else text)
    return [f"{arm} - {reference}", *cells]


def _of_seeds(results: Results, pairs: list[tuple[str, str]]) -> str:
    """The differences of PA-MPJPE seed by seed: a few runs are too few for percentiles alone."""
    name = next(iter(MEASURES))
    rows = []
    for arm, reference in pairs:
        _, by_seed = paired_difference(results[arm][name], results[reference][name])
        rows.append([f"{arm} - {reference}", ", ".join(f"{value:+.2f}" for value in by_seed)])
    return markdown(["difference", f"{MEASURES[name][0]}, of each seed"], rows)


def _at_branch(branch: Mapping[int, Any]) -> str:
    gradients = [found["gradients"] for found in branch.values()]
    rows = [
        [
            name,
            *(
                f"{fmean(g[name][key] for g in gradients):.3g}"
                for key in ("length", "share", "cosine")
            ),
        ]
        for name in (gradients[0] if gradients else ())
    ]
    head = ["term at the branch", "gradient's length", "of the keypoints'", "cosine with theirs"]
    return markdown(head, rows)


def _seconds(branch: Mapping[int, Any]) -> str:
    """Of the seed that has them."""
    rows = [
        [_title(arm), f"{1000 * seconds:.0f}", f"{seconds / found['step_seconds']['A']:.2f}"]
        for found in branch.values()
        for arm, seconds in found.get("step_seconds", {}).items()
    ]
    return markdown(["arm", "ms a step", "times A"], rows)


# --- files ----------------------------------------------------------------------------------------
def _record(
    plan: Plan, judge: Judge, results: Results, branch: Mapping[int, Any]
) -> dict[str, Any]:
    return {
        "plan": asdict(plan),
        "configs": {arm: asdict(config_of(plan, 0, arm)) for arm in (BASE, *ARMS)},
        "people": asdict(read_manifest(plan.people)),
        "judge": judge.name(),
        "versions": {name: version(name) for name in ("meshreg", "torch", "warp-lang")},
        "intervals": f"95 %, percentile bootstrap over seeds and people, {RESAMPLES} resamples",
        "means": {
            arm: {name: asdict(mean_interval(scores[name])) for name in MEASURES}
            | {"seeds": sorted(scores["mpjpe_mm"].by_seed)}
            for arm, scores in results.items()
        },
        "differences": {
            f"{a} - {b}": {name: _pair(results[a][name], results[b][name]) for name in MEASURES}
            for a, b in PAIRS
            if a in results and b in results and _common(results[a], results[b])
        },
        "branch": branch,
    }


def _pair(scores: Scores, reference: Scores) -> dict[str, Any]:
    interval, by_seed = paired_difference(scores, reference)
    return asdict(interval) | {"by_seed": by_seed}


def _write_csv(path: Path, results: Results) -> None:
    """A row for every person after every run."""
    with (
        written_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["arm", "seed", "person", *MEASURES])
        for arm, scores in results.items():
            for seed in scores["mpjpe_mm"].by_seed:
                columns = [scores[name].by_seed[seed].tolist() for name in MEASURES]
                for person, row in enumerate(zip(*columns, strict=True)):
                    writer.writerow([arm, seed, person, *(f"{value:.6g}" for value in row)])
