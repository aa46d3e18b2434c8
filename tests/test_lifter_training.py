"""The lifter recipe: every config takes a step, the file it writes lifts, and faults are told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lifting_files import write_h36m, write_motion

from meshreg.cli import _parse, main
from meshreg.errors import InputError
from meshreg.lifters.baselines import TemporalConvNet, mlp_baseline, tcn_baseline
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, is_lifter, load_lifter, save_lifter
from meshreg.lifters.lifting import lift
from meshreg.train.lifter import main as train_lifter
from meshreg.train.lifter_config import LifterConfig

ROOT = Path(__file__).parents[1] / "configs" / "lifters"
LARGE, SMALL = sorted(ROOT.glob("*.yaml")), sorted((ROOT / "small").glob("*.yaml"))
NAMES = {"ktpformer", "convformer", "hot", "gla_gcn", "mixste", "tcn_baseline", "mlp_baseline"}
NAMES |= {"uao"}
# Sizes at which the large ones take a step within a second; the rest of the config stays.
TINY = {
    "convformer": {"width": 8, "kernels": [3], "num_heads": 2},
    "gla_gcn": {"width": 8},
    "tcn_baseline": {"width": 8},
    "mlp_baseline": {"width": 8},
    "uao": {"width": 8, "hidden": 8, "depth": 1, "joint_growth": 1},
    "hot_mixste": {"width": 8, "hidden": 8, "depth": 2, "num_heads": 2, "keep": 3, "after": 1},
}
TRANSFORMER = {"width": 8, "hidden": 8, "depth": 2, "num_heads": 2}


def read(path: Path, *words: str) -> LifterConfig:
    options = _parse(["train", "--config", str(path), *words])[1]
    assert isinstance(options, LifterConfig)
    return options


def one_step(config: LifterConfig, out: Path) -> None:
    run = replace(config.run, steps=1, workers=0, evaluate_every=1, log_every=1)
    assert train_lifter(replace(config, out=out, run=run))
    network, header = load_lifter(out / "model.safetensors")
    assert header.spec.frames == config.model.frames
    poses = lift(network, torch.rand(5, 17, 2) * 500, (500, 500))
    assert poses.isfinite().all() and poses.shape == (5, 17, 3)


def test_there_are_configs_of_every_network() -> None:
    small = {path.stem.removesuffix("_frames") for path in SMALL}
    assert {path.stem for path in LARGE} == small == NAMES


@pytest.mark.parametrize("path", SMALL, ids=[path.stem for path in SMALL])
def test_a_small_config_takes_a_step(path: Path, tmp_path: Path) -> None:
    write_motion(tmp_path / "motion.npz")
    config = read(path, f"data.path={tmp_path / 'motion.npz'}")
    assert path.read_text("utf-8").startswith(
        f"# meshreg train --config configs/lifters/small/{path.name}"
    )
    few = replace(config.data, batch_size=2, shapes=1, judge_frames=4)
    one_step(replace(config, data=few), tmp_path / "run")
    assert (tmp_path / "run" / "model.safetensors").stat().st_size < 8e6


@pytest.mark.parametrize("path", LARGE, ids=[path.stem for path in LARGE])
def test_a_large_config_takes_a_step_when_made_smaller(path: Path, tmp_path: Path) -> None:
    config = read(path)
    assert path.read_text("utf-8").startswith(
        f"# meshreg train --config configs/lifters/{path.name}"
    )
    with torch.device("meta"):
        whole = build_lifter(_spec(config)) if config.model.builder != "gla_gcn" else None
    assert whole is None or sum(p.numel() for p in whole.parameters()) > 1e6
    write_h36m(tmp_path)
    data = replace(
        config.data,
        path=tmp_path / "data_3d_h36m.npz",
        detections=tmp_path / "data_2d_h36m_gt.npz",
        cameras=tmp_path / "cameras.json",
        subjects=["S1"],
        judged=["S9"],
        batch_size=2,
        judge_frames=4,
    )
    frames = 1 if config.model.frames == 1 else 9
    options = TINY.get(config.model.builder, TRANSFORMER)
    model = replace(config.model, frames=frames, options=options)
    one_step(replace(config, data=data, model=model), tmp_path / "run")


def _spec(config: LifterConfig) -> LifterSpec:
    return LifterSpec(
        config.model.builder, config.model.frames, config.model.joint_set, config.model.options
    )


def test_convolutions_over_time_are_the_same_strided_and_dilated() -> None:
    network = TemporalConvNet(frames=9, width=8).eval()
    clip = torch.randn(1, 14, 17, 2)
    windows = clip[0].unfold(0, 9, 1).permute(0, 3, 1, 2)
    torch.testing.assert_close(network(clip)[0], network(windows)[:, 0])


def test_the_baselines_have_the_sizes_of_their_papers() -> None:
    with torch.device("meta"):
        convolutions, frames = tcn_baseline(), mlp_baseline()
    assert sum(p.numel() for p in convolutions.parameters()) == 16_952_371
    assert 4.2e6 < sum(p.numel() for p in frames.parameters()) < 4.4e6


def test_a_file_gives_the_same_network_again(tmp_path: Path) -> None:
    spec = LifterSpec("tcn_baseline", 9, "h36m17", {"width": 8})
    network = build_lifter(spec).eval()
    save_lifter(tmp_path / "a.safetensors", network, LifterHeader(spec, fps=30.0, licence="mine"))
    again, header = load_lifter(tmp_path / "a.safetensors")
    assert (
        header.spec == spec and header.licence == "mine" and is_lifter(tmp_path / "a.safetensors")
    )
    x = torch.randn(2, 9, 17, 2)
    torch.testing.assert_close(again(x), network(x))
    with pytest.raises(InputError, match="is not a lifter"):
        build_lifter(LifterSpec("resnet"))
    with pytest.raises(InputError, match="do not suit"):
        build_lifter(LifterSpec("mixste", options={"colour": 3}))
    torch.save({}, tmp_path / "b.pth")
    with pytest.raises(InputError, match="load_released"):
        load_lifter(tmp_path / "b.pth")


BAD = {
    "model.frames=500": "1 to 351",
    "model.builder=resnet": "is not a lifter",
    'data.judged=["77"]': "no clip is left",
    'data.judged=["Anna"]': "numbers",
    "losses.sequence=1": "global_head",
    "losses.uncertainty=1": "for uao, not tcn_baseline",
    "data.history=-1": "0 to 100",
    "losses.velocity=-1": "0 or more",
    "data.kind=h36m": "detections",
    "model.joint_set=coco25": "joint set",
}


@pytest.mark.parametrize("word", BAD)
def test_bad_settings_are_one_sentence(
    word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_motion(tmp_path / "motion.npz")
    words = [f"data.path={tmp_path / 'motion.npz'}", f"--out={tmp_path / 'run'}", word]
    assert main(["train", "--config", str(ROOT / "small" / "tcn_baseline.yaml"), *words]) == 2
    told = capsys.readouterr().err
    assert BAD[word] in told and told.count("\n") == 1


def test_training_learns(tmp_path: Path) -> None:
    write_motion(tmp_path / "motion.npz")
    config = read(
        ROOT / "small" / "mlp_baseline.yaml",
        f"data.path={tmp_path / 'motion.npz'}",
        "data.batch_size=64",
        "data.shapes=1",
        "data.judge_frames=10",
        "optimiser.warmup=5",
        "optimiser.ema=0",
        "run.steps=60",
        "run.evaluate_every=20",
        f"--out={tmp_path / 'run'}",
        'model.options={"width": 32, "dropout": 0.0}',
    )
    assert train_lifter(config)
    rows = np.genfromtxt(tmp_path / "run" / "metrics.csv", delimiter=",", names=True)
    loss = rows["loss"][np.isfinite(rows["loss"])]
    assert loss[-1] < 0.7 * loss[0]
