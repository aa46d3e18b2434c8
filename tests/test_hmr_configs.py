"""The configs of the regressors: each can be read, and each takes a step."""

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from photograph_files import make_photographs
from plain_people import BareBodies, plain_body, plain_planner
from safetensors.torch import load_file

from meshreg.cli import _parse, main
from meshreg.cli.recipes import recipe_of, spell_out_settings
from meshreg.cli.train import MODULES
from meshreg.data.augment import Augmented
from meshreg.data.sample import Batch
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.errors import InputError
from meshreg.models.checkpoint import load_model
from meshreg.train.hmr import main as train_hmr
from meshreg.train.hmr_config import (
    PHOTOGRAPHS,
    DsrConfig,
    HmrConfig,
    LossConfig,
    SourceConfig,
    TermConfig,
)

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs" / "hmr").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]


def read(path: Path, *words: str) -> HmrConfig:
    options = _parse(["train", "--config", str(path), *words])[1]
    assert isinstance(options, HmrConfig)
    return options


def test_there_are_configs() -> None:
    wanted = {"small", "dsr", "keypoints_only", "silhouette", "dsr_paper", "overfit", "photographs"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_a_config_begins_with_its_command(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[0]
    assert first == f"# meshreg train --config configs/hmr/{path.name}"
    config = read(path)
    assert config.out.name == f"hmr_{path.stem}"
    assert config.losses.terms()


def test_words_after_the_config_override_it() -> None:
    config = read(CONFIGS[0], "losses.dsr_c.weight=0.25", "run.steps=7", "--out=here")
    assert config.losses.dsr_c.weight == 0.25 and config.run.steps == 7
    assert config.out == Path("here")
    assert config.losses.keypoints2d.weight > 0  # the rest stays
    assert spell_out_settings(["train", "a.b=1", "--c=2", "x.yaml"]) == [
        *("train", "--a.b=1", "--c=2", "x.yaml")
    ]
    assert spell_out_settings(["fit", "a=b.jpg"]) == ["fit", "a=b.jpg"]


def test_2d_supervision_leaves_out_what_knows_the_body() -> None:
    flat = LossConfig(supervision="2d", pose_prior=TermConfig(0.1), vertices=TermConfig(1.0))
    assert set(flat.terms()) == {"keypoints2d", "camera", "pose_prior"}
    assert {"joints3d", "pose", "betas"} <= set(LossConfig().terms())


BAD = {
    "losses.keypoint2d.weight=3": "losses.keypoint2d.weight",
    "run.stepps=3": "run.stepps",
    "run.steps=0": "run.steps must be 1 to",
    "run.steps=many": "run.steps",
    "losses.pose.weight=-1": "weight of a loss term must be 0 or more, not -1",
    "losses.dsr.mode=paper": "goes with renderer",
    "losses.dsr.step=0": "losses.dsr.step must be at least 1",
    "data.augment.mirror=2": "augment.mirror must be 0 to 1",
    "run.precision=fp16": "run.precision",
}


@pytest.mark.parametrize("word", BAD)
def test_bad_settings_are_named_in_one_sentence(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", str(CONFIGS[NAMES.index("small")]), word]) == 2
    told = capsys.readouterr().err
    assert BAD[word] in told and told.count("\n") == 1


def test_bad_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    for text, words in {
        "data: {sizee: 3}": "data.sizee",
        "recipe: lifters": "recipe 'lifters' is not known: choose from hmr",
        "data: {sources: {a: {kind: shards}}}": "needs path",
        "data: {sources: {a: {kind: spin, path: a.npz}}}": "needs images",
        "data: {sources: {a: {count: 0}}}": "count of a data source",
    }.items():
        file.write_text(text)
        assert main(["train", "--config", str(file)]) == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1, told
    assert recipe_of(["train", f"--config={CONFIGS[0]}"]) is HmrConfig
    with pytest.raises(InputError, match="does not take path"):
        SourceConfig(path=tmp_path)
    with pytest.raises(InputError, match="mode"):
        DsrConfig(mode="paper")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom meshreg.cli import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'lightning', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"losses.dsr_c.weight" in done.stdout


@pytest.mark.parametrize(("is_finished", "code"), [(True, 0), (False, 130)])
def test_an_interrupted_training_says_how_to_go_on(
    is_finished: bool,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = ModuleType("recipe")
    module.main = lambda config: is_finished  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "recipe", module)
    monkeypatch.setitem(MODULES, "hmr", "recipe")
    assert main(["train", "out=runs/x"]) == code
    told = capsys.readouterr().err
    assert ("runs/x/model.safetensors" in told) == is_finished
    assert ("same command again" in told) != is_finished


# --- with the real networks and losses ------------------------------------------------------------
def plain(self: PeopleRecipe) -> SyntheticPeople:
    """Bare bodies instead of dressed ones, for speed."""
    planner = plain_planner(self.seed, size=self.size)
    return SyntheticPeople(planner, BareBodies(plain_body()), batch_size=1)


def tiny(config: HmrConfig, out: Path, prior: Path) -> HmrConfig:
    """Two drawn people of 64 pixels, and tiny photographs, two steps, every term at once."""
    source = SourceConfig(kind="synthetic", count=2)
    sources = {"a": source} | {
        name: replace(kept, **make_photographs(out.parent / name, kept.kind))
        for name, kept in config.data.sources.items()
        if kept.kind in PHOTOGRAPHS
    }
    size = 2 * len(sources)
    data = replace(
        config.data, size=64, batch_size=size, sources=sources, judge=source, judge_count=2
    )
    terms = {name: replace(term, start=0, ramp=0) for name, term in config.losses.terms().items()}
    losses = replace(config.losses, **terms, dsr=replace(config.losses.dsr, prior=prior))
    run = replace(
        config.run, steps=2, workers=0, device="cpu", evaluate_every=2, picture_every=2, log_every=1
    )
    model = replace(config.model, builder="hmr_small", weights=None, start_from=None)
    return replace(config, out=out, data=data, losses=losses, run=run, model=model)


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from meshreg.clothing.counting import labels_from_joints
    from meshreg.clothing.prior import SemanticPrior, save_semantic_prior

    path = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    body = plain_body()
    probs = labels_from_joints(body.weights)
    save_semantic_prior(path, SemanticPrior(probs=probs, topology_hash=body.topology_hash))
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=NAMES)
def test_every_config_takes_a_step(
    path: Path, tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(PeopleRecipe, "people", plain)
    config = tiny(read(path), tmp_path / "out", prior)
    assert train_hmr(config)
    header, *rows = (config.out / "metrics.csv").read_text().splitlines()
    wanted = {*config.losses.terms(), "loss", "gradient_norm", "eval_mpjpe_mm"}
    assert wanted <= set(header.split(",")), header
    assert len(rows) == 3
    model = load_model(config.out / "model.safetensors")
    assert torch.isfinite(model(torch.zeros(1, 3, 64, 64), **camera()).betas).all()
    assert list((config.out / "pictures").iterdir())


def camera() -> dict[str, Any]:
    K = torch.tensor([[[500.0, 0, 300], [0, 500, 300], [0, 0, 1]]])
    return {"K_full": K, "box": torch.tensor([[300.0, 300, 200]])}


def test_a_run_goes_on_only_with_its_own_config(
    tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(PeopleRecipe, "people", plain)
    config = tiny(read(CONFIGS[NAMES.index("overfit")]), tmp_path / "out", prior)
    assert train_hmr(config)
    assert train_hmr(replace(config, run=replace(config.run, workers=0, keep=5)))
    other = replace(config, optimiser=replace(config.optimiser, lr=0.5))
    with pytest.raises(InputError, match=r"a run with optimiser.lr 0.001 instead of 0.5"):
        train_hmr(other)
    assert asdict(config)["optimiser"]["lr"] == 0.001


def test_a_regressor_that_crashed_goes_on_to_the_last_bit(
    tmp_path: Path, prior: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeopleRecipe, "people", plain)
    config = tiny(read(CONFIGS[NAMES.index("dsr")]), tmp_path / "whole", prior)
    config = replace(config, run=replace(config.run, steps=4, save_every=2, evaluate_every=0))
    assert train_hmr(config)
    parts, at = replace(config, out=tmp_path / "parts"), Augmented.at

    def crash(self: Augmented, number: int) -> Batch:
        if number == 3:
            raise RuntimeError("the power went")
        return at(self, number)

    monkeypatch.setattr(Augmented, "at", crash)
    with pytest.raises(RuntimeError, match="power"):
        train_hmr(parts)
    monkeypatch.setattr(Augmented, "at", at)
    assert train_hmr(parts)
    ours, theirs = (load_file(c.out / "model.safetensors") for c in (config, parts))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_sixteen_people_are_learned_by_heart(tmp_path: Path) -> None:
    """Dressed ones, by the config as it is: data, losses and network fit together."""
    config = read(CONFIGS[NAMES.index("overfit")])
    assert config.data.sources["people"].count == config.data.judge_count == 16
    assert train_hmr(replace(config, out=tmp_path))
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    place = rows[0].split(",").index("eval_mpjpe_mm")
    scores = [float(row.split(",")[place]) for row in rows[1:] if row.split(",")[place]]
    assert scores[-1] < 10, scores  # millimetres
