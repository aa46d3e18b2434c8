"""Errors with and without perspective, on the whole and by the angle from the axis."""

import csv
import json
import math
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.ablation.perspective_arms import ARMS, PAIRS, Plan, config_of
from benchmarks.ablation.perspective_turns import TURNS, share, share_text, turns
from benchmarks.ablation.plot import Panel, write_svg
from benchmarks.ablation.report import markdown, written
from benchmarks.ablation.scores import PROTOCOL, Judge, Values, scores_of
from benchmarks.ablation.statistics import Scores, bootstrap, mean_interval, paired_difference
from benchmarks.pages import write_part
from meshreg.body.smpl import load_body
from meshreg.data.shards import read_manifest
from meshreg.evaluate.comparison import Comparison, measure
from meshreg.evaluate.protocols import Protocol
from meshreg.files import written_whole
from meshreg.geometry.perspective import pixel_rays
from meshreg.metrics import Interval
from meshreg.models.regressors import bodies_in_crops, load_regressor

# Measure -> its title, and whether less is better
MEASURES: dict[str, tuple[str, bool]] = {
    "mpjpe_mm": ("MPJPE, mm", True),
    "pa_mpjpe_mm": ("PA-MPJPE, mm", True),
    "pve_mm": ("PVE, mm", True),
    "place_mm": ("pelvis off, mm", True),
}
KEPT = MEASURES | {name: (name, True) for pair in TURNS.values() for name in pair}
BEGIN, END = "<!-- made by benchmarks/ablation_perspective.py -->", "<!-- end -->"
EDGES = (0, 10, 20, 30, 40, 60)  # of the groups, degrees from the optical axis
WITHOUT_PICTURES = Protocol(
    name="perspective",
    summary=PROTOCOL.summary,
    joint_sets=PROTOCOL.joint_sets,
    mesh_measures=("pve_mm",),
)
Results = dict[tuple[str, str], dict[str, Scores]]  # network and arm -> measure -> scores


@torch.inference_mode()
def measured(model_path: Path, judge: Judge) -> Values:
    """Every measure of every judged person, in the camera of the full picture."""
    body = load_body()
    model = load_regressor(model_path, body=body)
    parts = []
    for batch in judge.batches(body.topology_hash):
        size = model.image_size
        image = torch.nn.functional.interpolate(
            batch.image.float(), (size, size), mode="bilinear", antialias=True
        )
        seen = image.round().clamp(0, 255).to(torch.uint8)
        pred = bodies_in_crops(model, seen, K_full=batch.K_full, box=batch.box)
        compared = Comparison(batch, pred, body, {})
        place = (compared.predicted.joints[:, 0] - batch.joints_cam[:, 0]).norm(dim=-1)
        found = measure(compared, WITHOUT_PICTURES) | {"place_mm": 1000 * place}
        parts.append({name: found[name] for name in MEASURES} | turns(pred, batch))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def angles(judge: Judge) -> Float[Tensor, " P"]:
    """How far each judged person's box is from the optical axis, degrees."""
    found = []
    for batch in judge.batches(load_body().topology_hash):
        ray = pixel_rays(batch.box[:, None, :2], batch.K_full)[:, 0]
        found.append(torch.atan2(ray[:, :2].norm(dim=-1), ray[:, 2]))
    return torch.rad2deg(torch.cat(found))


def results_of(plan: Plan, judge: Judge) -> Results:
    """Of all arms that have a finished run."""
    results: Results = {}
    for network in plan.networks:
        for arm in ARMS:
            models = {
                seed: plan.folder((seed, network, arm)) / "model.safetensors"
                for seed in range(plan.seeds)
            }
            found = {
                seed: scores_of(path, judge, KEPT, measured)
                for seed, path in models.items()
                if path.is_file()
            }
            if found:
                results[network, arm] = {
                    name: Scores({seed: values[name] for seed, values in found.items()})
                    for name in KEPT
                }
    return results


def write_report(plan: Plan, judge: Judge, page: Path | None = None) -> str:
    """Write results.md, .json, .csv and results.svg into the folder; returns the Markdown.

    The marked part of `page` is replaced by it, and the diagram put beside the page's pictures.
    """
    results, angle = results_of(plan, judge), angles(judge)
    text = "\n\n".join(part for part in tables(results, angle) if part)
    with written_whole(plan.out / "results.md") as temporary:
        temporary.write_text(text + "\n", "utf-8")
    record = {
        "plan": asdict(plan),
        "configs": {
            f"{n} {a}": asdict(config_of(plan, (0, n, a))) for n in plan.networks for a in ARMS
        },
        "people": asdict(read_manifest(plan.people)),
        "judge": judge.name(),
        "versions": {name: version(name) for name in ("meshreg", "torch")},
        "means": {
            " ".join(key): {name: asdict(mean_interval(scores[name])) for name in MEASURES}
            for key, scores in results.items()
        },
    }
    with written_whole(plan.out / "results.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, default=str) + "\n", "utf-8")
    _write_csv(plan.out / "results.csv", results, angle)
    write_svg(plan.out / "results.svg", panels(results, angle))
    if page is not None:
        write_part(page, text, BEGIN, END)
        write_svg(page.parent / "images" / f"{page.stem}.svg", panels(results, angle))
    return text


# --- tables ---------------------------------------------------------------------------------------
def tables(results: Results, angle: Float[Tensor, " P"]) -> list[str]:
    """Means, differences of arms, and errors by angle."""
    titles = [title for title, _ in MEASURES.values()]
    means = [
        [network, arm, str(len(scores["mpjpe_mm"].by_seed))]
        + [written(mean_interval(scores[name]), digits=1) for name in MEASURES]
        for (network, arm), scores in results.items()
    ]
    differences = [
        [network, f"{arm} - {other}", *_difference(results, network, arm, other)]
        for network in dict.fromkeys(network for network, _ in results)
        for arm, other in PAIRS
        if (network, arm) in results and (network, other) in results
    ]
    groups = [
        [*key, *(_cell(interval) for interval in by_angle(scores["mpjpe_mm"], angle))]
        for key, scores in results.items()
    ]
    counts = [str(int(_members(angle, group).sum())) for group in range(len(EDGES) - 1)]
    return [
        markdown(["network", "arm", "runs", *titles], means),
        markdown(["network", "difference", *titles], differences),
        markdown(
            ["network", "MPJPE, mm, by angle from the axis", *_group_names()],
            [*groups, ["", "people", *counts]] if groups else [],
        ),
        markdown(
            ["network", "turned wrong, share of the angle from the axis", *TURNS],
            [[*key, *_shares(scores)] for key, scores in results.items()],
        ),
    ]


def _shares(scores: dict[str, Scores]) -> list[str]:
    """How far the arm is misled about turns, in each direction."""
    seeds = sorted(scores["mpjpe_mm"].by_seed)
    runs = [{name: scores[name].by_seed[seed] for name in KEPT} for seed in seeds]
    return [share_text([share(run, direction) for run in runs]) for direction in TURNS]


def _difference(results: Results, network: str, arm: str, other: str) -> list[str]:
    """Bold where the interval is off zero and all of several seeds say the same."""
    cells = []
    for name in MEASURES:
        pair = results[network, arm][name], results[network, other][name]
        if not pair[0].by_seed.keys() & pair[1].by_seed.keys():
            return ["no common seed"] + [""] * (len(MEASURES) - 1)
        interval, by_seed = paired_difference(*pair)
        agreed = len(by_seed) > 1 and len({value > 0 for value in by_seed}) == 1
        surely = agreed and (interval.low > 0 or interval.high < 0)
        text = written(interval, digits=1, signed=True)
        cells.append(f"**{text}**" if surely else text)
    return cells


def by_angle(scores: Scores, angle: Float[Tensor, " P"]) -> list[Interval | None]:
    """The mean of each group of people; None where there are too few to say."""
    table = scores.table(tuple(sorted(scores.by_seed)))
    found: list[Interval | None] = []
    for group in range(len(EDGES) - 1):
        members = _members(angle, group)
        found.append(bootstrap(table[:, members]) if int(members.sum()) > 1 else None)
    return found


def _members(angle: Float[Tensor, " P"], group: int) -> Tensor:
    return (angle >= EDGES[group]) & (angle < (*EDGES[:-1], math.inf)[group + 1])


def _group_names() -> list[str]:
    return [f"{low}-{high}" for low, high in zip(EDGES, EDGES[1:], strict=False)]


def _cell(interval: Interval | None) -> str:
    return "" if interval is None else written(interval, digits=1)


def panels(results: Results, angle: Float[Tensor, " P"]) -> list[Panel]:
    """A diagram for each network."""
    return [
        Panel(
            title=f"{network}: error by place in the picture",
            x_label="degrees from the optical axis",
            y_label="MPJPE, mm",
            groups=_group_names(),
            curves={
                arm: by_angle(results[network, arm]["mpjpe_mm"], angle)
                for arm in ARMS
                if (network, arm) in results
            },
        )
        for network in dict.fromkeys(network for network, _ in results)
    ]


def _write_csv(path: Path, results: Results, angle: Float[Tensor, " P"]) -> None:
    """A row for every person after every run."""
    with (
        written_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["network", "arm", "seed", "person", "angle_deg", *MEASURES])
        for (network, arm), scores in results.items():
            for seed in scores["mpjpe_mm"].by_seed:
                columns = [scores[name].by_seed[seed].tolist() for name in MEASURES]
                for person, row in enumerate(zip(*columns, strict=True)):
                    values = [float(angle[person]), *row]
                    writer.writerow([network, arm, seed, person, *(f"{v:.6g}" for v in values)])
