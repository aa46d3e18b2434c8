"""The ablation of perspective: its arms, its groups of people, its plot, a small run of it all."""

import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_people import BareBodies, plain_body, plain_planner

from benchmarks import ablation_perspective
from benchmarks.ablation.perspective_arms import ARMS, Plan, config_of
from benchmarks.ablation.perspective_report import EDGES, angles, by_angle
from benchmarks.ablation.plot import Panel, write_svg
from benchmarks.ablation.scores import Judge
from benchmarks.ablation.statistics import Scores
from meshreg.cli.options import SynthOptions
from meshreg.cli.synth import scene_of
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import Manifest
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.data.synthetic.settings import SceneSettings
from meshreg.errors import InputError
from meshreg.metrics import Interval

PLAN = Plan(out=Path("out"), people=Path("people"))
WIDE = {"fov_deg": (30.0, 100.0), "usual_fov_share": 0.0, "central_share": 0.0}
WIDE |= {"apparent_height": (0.25, 0.8)}


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {k: v for n, x in values.items() for k, v in flat(x, f"{prefix}.{n}".strip(".")).items()}


@pytest.mark.parametrize("network", ["hmr", "perspose"])
def test_arms_differ_in_what_they_know_of_perspective_only(network: str) -> None:
    def different(arm: str) -> set[str]:
        a, b = (flat(asdict(config_of(PLAN, (1, network, name)))) for name in ("none", arm))
        return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)} - {"out"}

    told = "model.options.encoding" if network == "hmr" else "model.encoding"
    encoded = {told, "optimiser.lr_scale.encoding"}  # what is told has to be learnt soon
    wanted = {"PE": encoded, "PR": {"data.centred"}, "PE+PR": {*encoded, "data.centred"}}
    assert {arm: different(arm) for arm in wanted} == wanted
    config = config_of(PLAN, (2, network, "none"))
    assert (config.run.seed, config.data.size, config.run.steps) == (2, 96, 500)


def test_what_the_plan_decides_cannot_be_set() -> None:
    with pytest.raises(InputError, match="the plan decides"):
        config_of(Plan(Path("o"), Path("p"), settings=("data.centred=pcl",)), (0, "hmr", "PE"))
    changed = Plan(Path("o"), Path("p"), settings=("data.batch_size=4",))
    assert config_of(changed, (0, "perspose", "PE")).data.batch_size == 4


def test_people_are_grouped_by_angle() -> None:
    angle = torch.tensor([1.0, 9.0, 12.0, 18.0, 75.0, 44.0])
    scores = Scores({0: torch.tensor([10.0, 20, 30, 50, 7, 9]), 1: torch.tensor([10.0] * 6)})
    groups = by_angle(scores, angle)
    assert len(groups) == len(EDGES) - 1
    assert groups[2] is None and groups[3] is None
    means = [group.mean for group in groups if group is not None]
    assert means == pytest.approx([12.5, 25.0, 9.0])  # the last one holds all that are farther


def test_a_plot_is_an_svg_with_every_curve(tmp_path: Path) -> None:
    curves: dict[str, list[Interval | None]] = {
        "none": [Interval(10.0, 8.0, 12.0), Interval(30.0, 25.0, 35.0), None],
        "PE+PR": [Interval(9.0, 8.0, 10.0), Interval(12.0, 11.0, 13.0), Interval(14.0, 12.0, 16.0)],
    }
    panel = Panel("error & place", "degrees", "mm", ["0-10", "10-20", "20-30"], curves)
    write_svg(tmp_path / "plot.svg", [panel, panel])
    root = ElementTree.parse(tmp_path / "plot.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    lines = list(root.iter(f"{space}polyline"))
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 3, 2, 3]
    heights = [float(pair.split(",")[1]) for pair in lines[0].attrib["points"].split()]
    assert heights[0] > heights[1]  # larger errors are higher up
    words = {text.text for text in root.iter(f"{space}text")}
    assert {"error & place", "degrees", "mm", "0-10", "PE+PR"} <= words


# --- people in wide pictures ----------------------------------------------------------------------
def test_options_of_scenes_are_settings_and_bad_ones_are_named() -> None:
    options = SynthOptions(fov=[30.0, 100.0], heights=[0.25, 0.8], central=0.0)
    assert dict(scene_of(options)) == WIDE
    assert PeopleRecipe(seed=0, size=96, scene=scene_of(options)).settings == SceneSettings(
        size=96, **WIDE
    )
    assert PeopleRecipe(seed=0, size=96).settings == SceneSettings(size=96)
    for bad, words in {
        "fov": ([30.0], "--fov takes two numbers"),
        "heights": ([2.0, 1.0], "--heights must be a range"),
        "central": (1.5, "--central must be a share"),
        "size": (3, "--size must be"),
    }.items():
        with pytest.raises(InputError, match=words[1] if isinstance(words, tuple) else words):
            scene_of(SynthOptions(**{bad: words[0]}))  # type: ignore[arg-type]


def test_wide_people_stand_far_off_the_axis() -> None:
    planner, usual = plain_planner(3, **WIDE), plain_planner(3)
    found, expected = ([_angle(p.plan(index)) for index in range(60)] for p in (planner, usual))
    assert sum(angle > 20 for angle in found) > 1.3 * sum(angle > 20 for angle in expected)
    assert max(found) > 35


def _angle(plan: Any) -> float:
    offset = (plan.box[:2] - plan.K_full[:2, 2]) / plan.K_full[0, 0]
    return float(torch.rad2deg(torch.tensor((offset**2).sum() ** 0.5).atan()))


def wide_makers(seed: int) -> SyntheticPeople:
    planner = plain_planner(seed, size=64, **WIDE)
    return SyntheticPeople(planner, BareBodies(plain_body()), batch_size=4)


def wide_shards(folder: Path, seed: int, count: int) -> Path:
    manifest = Manifest(
        count=count,
        shard_size=count,
        seed=seed,
        topology_hash=plain_body().topology_hash,
        settings={"scene": {"size": 64}},
    )
    write_shards(folder, manifest, partial(wide_makers, seed))
    return folder


@pytest.mark.slow
def test_a_small_run_writes_all_its_tables(tmp_path: Path) -> None:
    people = wide_shards(tmp_path / "people", 1, 6)
    judge = Judge(wide_shards(tmp_path / "judge", 2, 6), 6)
    assert angles(judge).shape == (6,)
    plan = Plan(
        out=tmp_path / "out",
        people=people,
        seeds=2,
        steps=2,
        size=64,
        settings=("data.batch_size=2",),
    )
    assert ablation_perspective.main(plan, judge, list(plan.runs())) == 0
    text = (tmp_path / "out" / "results.md").read_text()
    for arm in ARMS:
        assert f"| hmr | {arm} | 2 |" in text and f"| perspose | {arm} | 2 |" in text
    assert "| hmr | PE+PR - none |" in text
    rows = (tmp_path / "out" / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 4 * 2 * 6
    ElementTree.parse(tmp_path / "out" / "results.svg")
