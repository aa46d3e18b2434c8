"""Errors on people and cameras that were not, partly or fully known."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.ablation.adapt_arms import ARMS, PAIRS, Plan, config_of, target_of
from benchmarks.ablation.plot import Panel, write_svg
from benchmarks.ablation.report import markdown, written
from benchmarks.ablation.scores import Values, scores_of
from benchmarks.ablation.statistics import Scores, bootstrap, mean_interval, paired_difference
from meshreg.body.skeleton import skeleton
from meshreg.data.lifting import LiftingData
from meshreg.evaluate.lifting import LiftingProtocol, measured
from meshreg.files import written_whole
from meshreg.lifters.checkpoint import load_lifter
from meshreg.lifters.lifting import lift
from meshreg.train.poseda_data import target_clips

# Measure -> its title, and whether less is better
MEASURES: dict[str, tuple[str, bool]] = {
    "mpjpe_mm": ("MPJPE, mm", True),
    "pa_mpjpe_mm": ("PA-MPJPE, mm", True),
    "pck150": ("PCK, %", False),
    "auc150": ("AUC, %", False),
}
_RULES = LiftingProtocol(
    name="adapt",
    summary="clips of the target, root at the origin",
    average="sequences",
    keep_root=False,
    measures=tuple(MEASURES),
    unscored=("pelvis",),
)
_JUDGE_SEED = 3_000_017  # bodies and cameras of judged people are those of nothing else
Results = dict[str, dict[str, Scores]]  # arm -> measure -> scores


@dataclass(frozen=True)
class Judge:
    """The clips that all runs are judged by."""

    plan: Plan

    @cached_property
    def clips(self) -> LiftingData:
        config, joints = target_of(self.plan, "judged"), skeleton("h36m16")
        return target_clips(config, joints, seed=_JUDGE_SEED)

    def name(self) -> str:
        return f"{self.plan.split}, {self.plan.shift}, {self.plan.shapes} shapes, {_JUDGE_SEED}"


@torch.inference_mode()
def errors(model_path: Path, judge: Judge) -> Values:
    """The mean of every measure in every clip, averaged with the mirrored pass."""
    network, _ = load_lifter(model_path)
    found: dict[str, list[float]] = {name: [] for name in MEASURES}
    for clip in judge.clips.clips:
        poses = lift(
            network, clip.keypoints_px, clip.size, joint_set=judge.clips.joints, batch_size=512
        )
        for name, values in measured(poses, clip, judge.clips.joints, _RULES).items():
            found[name].append(float(values.mean()))
    return {name: torch.tensor(values) for name, values in found.items()}


def results_of(plan: Plan, judge: Judge) -> Results:
    """Of all arms that have a finished run."""
    results: Results = {}
    for arm in ARMS:
        models = {seed: plan.folder((seed, arm)) / "model.safetensors" for seed in plan.all_seeds()}
        found = {
            seed: scores_of(path, judge, MEASURES, errors)
            for seed, path in models.items()
            if path.is_file()
        }
        if found:
            results[arm] = {
                name: Scores({seed: values[name] for seed, values in found.items()})
                for name in MEASURES
            }
    return results


def write_report(plan: Plan, judge: Judge) -> str:
    """Write results.md, results.json and results.svg into the folder; returns the Markdown."""
    results = results_of(plan, judge)
    text = "\n\n".join(part for part in tables(results) if part)
    with written_whole(plan.out / "results.md") as temporary:
        temporary.write_text(text + "\n", "utf-8")
    record = {
        "plan": asdict(plan) | {"out": "", "motion": plan.motion.name},
        "configs": {
            arm: _portable(asdict(config_of(plan, (plan.first_seed, arm)))) for arm in ARMS
        },
        "judge": judge.name(),
        "versions": {name: version(name) for name in ("meshreg", "torch")},
        "clips": [clip.name for clip in judge.clips.clips],
        "by_clip": {
            arm: {
                name: {seed: [round(v, 3) for v in values.tolist()] for seed, values in s.items()}
                for name, s in (
                    (name, scores[name].by_seed) for name in ("mpjpe_mm", "pa_mpjpe_mm")
                )
            }
            for arm, scores in results.items()
        },
    }
    with written_whole(plan.out / "results.json") as temporary:
        temporary.write_text(json.dumps(record, default=str) + "\n", "utf-8")
    write_svg(plan.out / "results.svg", panels(results, judge))
    return text


def _portable(config: dict) -> dict:
    """Settings without the places of files."""
    places = ("out", "path", "start_from")
    return {
        name: _portable(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in places
    }


# --- tables ---------------------------------------------------------------------------------------
def tables(results: Results) -> list[str]:
    """Means, differences, and how much of the gap is closed."""
    titles = [title for title, _ in MEASURES.values()]
    means = [
        [arm, ARMS[arm].title, str(len(scores["mpjpe_mm"].by_seed))]
        + [written(mean_interval(scores[name]), digits=1) for name in MEASURES]
        for arm, scores in results.items()
    ]
    pairs = [(a, b) for a, b in PAIRS if a in results and b in results]
    pairs = [(a, b) for a, b in pairs if _common(results, a, b)]
    differences = [[f"{a} - {b}", *_difference(results, a, b)] for a, b in pairs]
    return [
        markdown(["arm", "learns from", "runs", *titles], means),
        markdown(["difference", *titles], differences),
        markdown(
            [
                "arm",
                "MPJPE against source only",
                "of each seed",
                "share of the gap closed, by seed",
            ],
            [_share(results, arm) for arm in results if arm != "source" and "source" in results],
        ),
    ]


def _common(results: Results, one: str, other: str) -> bool:
    seeds = (results[arm]["mpjpe_mm"].by_seed.keys() for arm in (one, other))
    return bool(set.intersection(*map(set, seeds)))


def _difference(results: Results, arm: str, other: str) -> list[str]:
    """Bold where the interval is off zero and all of several seeds say the same."""
    cells = []
    for name in MEASURES:
        interval, by_seed = paired_difference(results[arm][name], results[other][name])
        agreed = len(by_seed) > 1 and len({value > 0 for value in by_seed}) == 1
        surely = agreed and (interval.low > 0 or interval.high < 0)
        text = written(interval, digits=2, signed=True)
        cells.append(f"**{text}**" if surely else text)
    return cells


def _share(results: Results, arm: str) -> list[str]:
    """By how many percent an arm beats no adaptation, and how far it gets towards the oracle."""
    means = {
        name: {seed: float(v.mean()) for seed, v in results[name]["mpjpe_mm"].by_seed.items()}
        for name in ("source", arm, "oracle")
        if name in results
    }
    seeds = sorted(set.intersection(*(set(values) for values in means.values())))
    if not seeds:
        return [arm, "", "", ""]
    changes = [100 * (means[arm][s] / means["source"][s] - 1) for s in seeds]
    shares = [
        (means["source"][s] - means[arm][s]) / (means["source"][s] - means["oracle"][s])
        for s in seeds
        if "oracle" in means
    ]
    return [
        arm,
        f"{sum(changes) / len(changes):+.1f} %",
        ", ".join(f"{value:+.1f} %" for value in changes),
        ", ".join(f"{value:.0%}" for value in shares),
    ]


def panels(results: Results, judge: Judge) -> list[Panel]:
    """Two diagrams: all clips, and those of each subject."""
    arms = [arm for arm in ARMS if arm in results]
    subjects = [clip.subject for clip in judge.clips.clips]
    found = []
    for name in ("mpjpe_mm", "pa_mpjpe_mm"):
        curves = {"all": [mean_interval(results[arm][name]) for arm in arms]}
        for subject in dict.fromkeys(subjects):
            rows = [place for place, who in enumerate(subjects) if who == subject]
            curves[f"subject {subject}"] = [
                bootstrap(_table(results[arm][name])[:, rows]) for arm in arms
            ]
        title = MEASURES[name][0]
        found.append(Panel("Error on the target", "learned from", title, arms, curves))
    return found


def _table(scores: Scores) -> torch.Tensor:
    return scores.table(tuple(sorted(scores.by_seed)))
