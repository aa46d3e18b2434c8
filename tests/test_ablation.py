"""The ablation of the label losses: its arms, its statistics, its sharing of work, a small run."""

import csv
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from plain_people import plain_body, plain_people
from safetensors.torch import load_file

from benchmarks import ablation_dsr
from benchmarks.ablation import scores as scoring
from benchmarks.ablation.arms import ARMS, BASE, WEIGHTS, Plan, config_of
from benchmarks.ablation.report import written
from benchmarks.ablation.scores import Judge, body_iou, check_disjoint
from benchmarks.ablation.sharing import claimed, work_off
from benchmarks.ablation.statistics import Scores, bootstrap, mean_interval, paired_difference
from meshreg.data.augment import Augmented
from meshreg.data.sample import Batch
from meshreg.data.shard_workers import write_shards
from meshreg.data.shards import Manifest, read_manifest
from meshreg.errors import InputError
from meshreg.evaluate.comparison import Comparison
from meshreg.metrics import Interval, bootstrap_interval
from meshreg.render.rasterizer import rasterizer

PLAN = Plan(out=Path("out"), people=Path("people"))


# --- arms -----------------------------------------------------------------------------------------
def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {prefix: values}
    return {k: v for n, x in values.items() for k, v in flat(x, f"{prefix}.{n}".strip(".")).items()}


def different(one: tuple[int, str], other: tuple[int, str], plan: Plan = PLAN) -> set[str]:
    """Names of the settings in which two runs differ."""
    a, b = (flat(asdict(config_of(plan, *run))) for run in (one, other))
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


def test_arms_differ_in_their_terms_only() -> None:
    mc, c, silhouette = (f"losses.{name}.weight" for name in ("dsr_mc", "dsr_c", "silhouette"))
    wanted = {"B": {silhouette}, "C": {mc}, "D": {mc, c}, "E": {mc, c, "losses.dsr.renderer"}}
    assert {arm: different((0, "A"), (0, arm)) - {"out"} for arm in wanted} == wanted
    assert different((1, "D"), (1, "E")) == {"out", "losses.dsr.renderer", c}
    terms = config_of(PLAN, 0, "A").losses.terms()
    assert {"keypoints2d", "pose_prior", "shape_prior"} <= set(terms)
    assert not {"joints3d", "pose", "betas", "vertices", "dsr_mc", "dsr_c"} & set(terms)


def test_arms_go_on_from_their_base_run_and_see_batches_in_another_order() -> None:
    assert different((0, BASE), (0, "A")) == {
        *("out", "model.start_from", "run.steps", "run.seed"),
        *("optimiser.lr", "optimiser.warmup"),
    }
    assert different((0, "D"), (1, "D")) == {"out", "model.start_from", "run.seed"}
    start = config_of(PLAN, 2, "E").model.start_from
    assert start == config_of(PLAN, 2, BASE).out / "model.safetensors"
    seeds = [config_of(PLAN, seed, arm).run.seed for seed, arm in PLAN.runs() if arm in "A" + BASE]
    assert len(set(seeds)) == 2 * PLAN.seeds


def test_words_change_all_runs_alike() -> None:
    plan = replace(PLAN, settings=("losses.pose_prior.weight=0.25", "data.batch_size=4"))
    for arm in (BASE, *ARMS):
        config = config_of(plan, 0, arm)
        assert config.losses.pose_prior.weight == 0.25 and config.data.batch_size == 4
    for word in ("losses.dsr_mc.weight=1", "losses.dsr_x.weight=1"):
        with pytest.raises(InputError):
            config_of(replace(PLAN, settings=(word,)), 0, "A")


def test_weights_and_runs_are_chosen_by_words() -> None:
    weights = ablation_dsr.weights_of(["dsr_mc=7", "soft.dsr_c=0.5"])
    assert weights["edge"]["dsr_mc"] == weights["soft"]["dsr_mc"] == 7
    assert (weights["edge"]["dsr_c"], weights["soft"]["dsr_c"]) == (WEIGHTS["edge"]["dsr_c"], 0.5)
    config = config_of(replace(PLAN, weights=weights), 0, "E")
    assert (config.losses.dsr_mc.weight, config.losses.dsr_c.weight) == (7, 0.5)
    assert ablation_dsr.selected(PLAN, ["1:B"]) == [(1, BASE), (1, "B")]
    assert len(ablation_dsr.selected(PLAN, ["0", "2"])) == 12
    assert ablation_dsr.selected(PLAN, [])[:3] == [(0, BASE), (1, BASE), (2, BASE)]
    for words in (["3"], ["0:F"], ["x"]):
        with pytest.raises(InputError, match="--only"):
            ablation_dsr.selected(PLAN, words)
    for words in (["dsr_q=1"], ["dsr_c"], ["dsr_c=-1"], ["hard.dsr_c=1"]):
        with pytest.raises(InputError, match="--weights"):
            ablation_dsr.weights_of(words)


# --- statistics -----------------------------------------------------------------------------------
def test_seeds_alone_by_hand() -> None:
    # Two seeds at 0 and 2: drawn twice with replacement their mean is 0, 1 or 2 with chances of
    # 1/4, 1/2, 1/4; made sqrt(2) times as wide. People are all alike.
    found = bootstrap(torch.tensor([[0.0] * 5, [2.0] * 5]).double())
    assert found.mean == 1.0
    assert (found.low, found.high) == pytest.approx((1 - 2**0.5, 1 + 2**0.5))


def test_people_alone_agree_with_the_bootstrap_of_one_run() -> None:
    people = torch.randn(400, generator=torch.Generator().manual_seed(3)).double()
    expected = bootstrap_interval(people)
    for found in (bootstrap(people[None]), bootstrap(people.expand(3, -1))):
        assert found.mean == pytest.approx(expected.mean)
        assert found.low == pytest.approx(expected.low, abs=0.01)
        assert found.high == pytest.approx(expected.high, abs=0.01)
        assert found.high - found.low == pytest.approx(2 * 1.96 * float(people.std()) / 20, rel=0.1)


def test_both_spreads_add_up() -> None:
    rng = torch.Generator().manual_seed(0)
    seeds, people = torch.randn(30, 1, generator=rng), torch.randn(1, 300, generator=rng)
    found = bootstrap((0.3 * seeds + people).double(), resamples=8000)
    spread = (0.09 * float(seeds.var()) / 30 + float(people.var()) / 300) ** 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.08)


def test_pairs_are_of_the_same_seed_and_person() -> None:
    # What persons and seeds share drops out: the difference is -1 everywhere.
    hard = torch.tensor([10.0, 90.0, 40.0])
    reference = Scores({0: hard, 1: hard + 20, 2: hard - 5})
    arm = Scores({2: hard - 6, 0: hard - 1})  # one run is not finished
    interval, by_seed = paired_difference(arm, reference)
    assert (interval.mean, interval.low, interval.high) == (-1.0, -1.0, -1.0)
    assert by_seed == (-1.0, -1.0)
    alone = mean_interval(reference)
    assert alone.mean == pytest.approx((140 + 200 + 125) / 9) and alone.high - alone.low > 20
    # By hand: differences of (1, 3) for one seed and (-1, 1) for the other
    interval, by_seed = paired_difference(
        Scores({0: torch.tensor([1.0, 3.0]), 1: torch.tensor([4.0, 6.0])}),
        Scores({0: torch.tensor([0.0, 0.0]), 1: torch.tensor([5.0, 5.0])}),
    )
    assert (interval.mean, by_seed) == (1.0, (2.0, 0.0))
    assert interval.low < 0 < interval.high


def test_numbers_are_written_with_their_interval() -> None:
    assert written(Interval(1.26, -0.5, 2.0), digits=1, signed=True) == "+1.3 (-0.5 ... +2.0)"


# --- judging --------------------------------------------------------------------------------------
def test_the_overlap_of_bodies_is_of_bare_ones() -> None:
    batch = plain_people().render([0, 1])
    batch = replace(batch, vertices_cam=batch.vertices_cam[:, :0])
    right = Comparison(batch, batch, plain_body(), {}, rasterizer())
    assert body_iou(right).tolist() == [1.0, 1.0]
    away = replace(batch, transl=batch.transl + torch.tensor([0.1, 0.0, 0.0]))
    moved = body_iou(Comparison(batch, away, plain_body(), {}, rasterizer()))
    assert (moved < 0.95).all() and (moved > 0.1).all()


def shards(folder: Path, seed: int, count: int = 4, size: int = 64) -> Path:
    manifest = Manifest(
        count=count,
        shard_size=4,
        seed=seed,
        topology_hash=plain_body().topology_hash,
        settings={"scene": {"size": size}},
    )
    write_shards(folder, manifest, partial(plain_people, seed, size))
    return folder


def test_nobody_is_trained_on_and_judged_by(tmp_path: Path) -> None:
    people = read_manifest(shards(tmp_path / "people", 0))
    check_disjoint(people, Judge(shards(tmp_path / "others", 1), 4), 64)
    for judge, size, words in (
        (Judge(tmp_path / "people", 4), 64, "of seed 0, as the training does"),
        (Judge(tmp_path / "others", 5), 64, "holds 4 people"),
        (Judge(tmp_path / "others", 4), 128, "pictures of 64 pixels"),
    ):
        with pytest.raises(InputError, match=words):
            check_disjoint(people, judge, size)


# --- sharing --------------------------------------------------------------------------------------
def test_a_run_is_taken_once(tmp_path: Path) -> None:
    with claimed(tmp_path / "lock") as mine, claimed(tmp_path / "lock") as others:
        assert mine and not others
    with claimed(tmp_path / "lock") as mine:
        assert mine


def test_work_waits_for_what_it_needs_and_for_others(tmp_path: Path) -> None:
    done: list[str] = []
    left = claimed(tmp_path / "b")
    left.__enter__()  # somebody else is at b

    def finish(run: str) -> bool:
        done.append(run)
        if run == "c":
            done.append("b")  # which they have now finished
        return True

    parts: dict[str, Any] = {
        "is_done": lambda run: run in done,
        "is_ready": lambda run: run != "a" or "c" in done,
        "lock": lambda run: tmp_path / run,
        "pause": 0.0,
    }
    assert work_off(["a", "b", "c"], finish=finish, **parts)
    left.__exit__(None, None, None)
    assert done == ["c", "b", "a"]
    done.clear()
    assert not work_off(["b", "c"], finish=lambda run: False, **parts)


# --- all of it ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_small_ablation_goes_on_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(
        out=tmp_path / "out",
        people=shards(tmp_path / "people", 0),
        seeds=1,
        base_steps=2,
        arm_steps=2,
        settings=("data.size=64", "data.batch_size=2", "run.save_every=1"),
    )
    judge = Judge(shards(tmp_path / "others", 1), 3)
    monkeypatch.setattr(scoring, "BATCH", 2)
    run = partial(ablation_dsr.main, judge=judge, page=None)
    assert run(plan, runs=list(plan.runs())) == 0

    at, again = Augmented.at, replace(plan, out=tmp_path / "again")

    def crash(self: Augmented, number: int) -> Batch:
        if number == 1 and (again.folder(0, "D") / "checkpoints").is_dir():
            raise RuntimeError("the power went")
        return at(self, number)

    monkeypatch.setattr(Augmented, "at", crash)
    with pytest.raises(RuntimeError, match="power"):
        run(again, runs=ablation_dsr.selected(again, ["0:D"]))
    monkeypatch.setattr(Augmented, "at", at)
    assert run(again, runs=ablation_dsr.selected(again, ["0:D"])) == 0
    ours, theirs = (load_file(p.folder(0, "D") / "model.safetensors") for p in (plan, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    record = json.loads((plan.out / "results.json").read_text())
    assert set(record["means"]) == {BASE, *ARMS}
    assert set(record["differences"]) == {"B - A", "C - A", "D - A", "E - A", "E - D"}
    gradients = record["branch"]["0"]["gradients"]
    assert gradients["keypoints2d"]["share"] == pytest.approx(1)
    assert {"B: silhouette", "D: dsr_c", "E: dsr_mc", "pose_prior"} <= set(gradients)
    with (plan.out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 3
    mean = sum(float(r["pve_mm"]) for r in rows if r["arm"] == "B") / 3
    assert mean == pytest.approx(record["means"]["B"]["pve_mm"]["mean"], rel=1e-4)
    with pytest.raises(InputError, match=r"run.steps 2 instead of 3"):
        run(replace(plan, arm_steps=3), runs=list(plan.runs()))
