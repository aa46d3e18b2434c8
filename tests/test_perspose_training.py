"""PersPose as a recipe: its truth from known bodies, every config a step, its files everywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from photograph_files import make_photographs
from plain_people import BareBodies, plain_body, plain_people, plain_planner

from meshreg.body.joint_estimate import JointEstimate
from meshreg.body.regressor import JointRegressor
from meshreg.cli import _parse
from meshreg.cli.options import EvaluateOptions
from meshreg.data.centred import centred
from meshreg.data.sample import Batch
from meshreg.data.synthetic.endless import SyntheticPeople
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.errors import InputError
from meshreg.geometry.cameras import camera_from_fov, project
from meshreg.geometry.joint_decoding import mean_focal
from meshreg.losses.terms import total
from meshreg.models.perspose import PersPose, solve_body
from meshreg.models.perspose_files import load_perspose
from meshreg.models.regressors import load_regressor
from meshreg.predictor.regress import load_model
from meshreg.train.hmr_config import PHOTOGRAPHS, DataConfig, SourceConfig
from meshreg.train.perspose import build_model
from meshreg.train.perspose import main as train_perspose
from meshreg.train.perspose_config import PersPoseConfig, PersPoseLossConfig, PersPoseModelConfig
from meshreg.train.perspose_terms import PersPoseTerms, TruthOf

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs" / "perspose").glob("*.yaml"))


def read(path: Path, *words: str) -> PersPoseConfig:
    options = _parse(["train", "--config", str(path), *words])[1]
    assert isinstance(options, PersPoseConfig)
    return options


def some_people() -> Batch:
    batch = plain_people(5, 64).render([0, 1])
    return centred(replace(batch, vertices_cam=torch.zeros(2, 0, 3)), "minimal")


# --- what is learned ------------------------------------------------------------------------------
def test_the_truth_is_solved_back_into_the_body() -> None:
    body, batch = plain_body(), some_people()
    truth = TruthOf(body)(batch, 10)
    assert truth.has_body.all() and not truth.captured.any() and not truth.annotated.any()
    # Stature and the 25th joint by hand
    rest = body.v_template + torch.einsum("vxs,bs->bvx", body.shapedirs, batch.betas)
    torch.testing.assert_close(truth.stature, rest[..., 1].amax(1) - rest[..., 1].amin(1))
    vertices = body(batch.betas, batch.pose_rotmat, batch.transl).vertices
    regressor = JointRegressor.from_body(body.data, "h36m17")
    place = regressor.skeleton.index("pelvis")
    torch.testing.assert_close(
        truth.joints_cam[:, 24:], regressor(vertices)[:, place], atol=1e-5, rtol=0
    )
    # A network that sees all of this gives the body itself, and has no loss.
    estimate = perfect(batch, truth.joints_cam, truth.twists, truth.leaf_rotmat)
    found = solve_body(estimate, _skeleton(), stature="network")
    torch.testing.assert_close(found.pose_rotmat, batch.pose_rotmat, atol=5e-3, rtol=0)
    torch.testing.assert_close(found.transl, batch.transl, atol=1e-3, rtol=0)
    terms = PersPoseTerms(PersPoseLossConfig(), body)(lambda *args, **known: estimate, batch, 0)
    assert float(total(terms)[0]) < 1e-2


def perfect(batch: Batch, joints: torch.Tensor, twists: torch.Tensor, leaves: torch.Tensor):  # type: ignore[no-untyped-def]
    return JointEstimate(
        points_px=project(joints, batch.K),
        depth=joints[..., 2] - joints[:, :1, 2],
        density=joints[..., 2] / mean_focal(batch.K)[:, None],
        joints_cam=joints,
        twists=torch.cat([twists, twists[:, :1]], 1),
        leaf_rotmat=leaves,
        betas=batch.betas,
    )


def _skeleton():  # type: ignore[no-untyped-def]
    from meshreg.body.rest_skeleton import RestSkeleton

    return RestSkeleton.of(plain_body())


def test_annotated_people_teach_what_is_known_of_them() -> None:
    batch = some_people()
    unknown = replace(
        batch,
        betas_weight=torch.zeros(2),
        keypoints_weight=torch.ones(2, 49),
        keypoints_cam_weight=torch.ones(2, 49),
        transl_weight=torch.tensor([1.0, 0.0]),
    )
    truth = TruthOf(plain_body())(unknown, 11)
    assert not truth.has_body.any() and (truth.annotated == 1).all()
    assert truth.captured.tolist() == [True, False]  # of the other, only directions are known
    assert truth.betas.shape == (2, 11)


# --- configs --------------------------------------------------------------------------------------
def test_there_are_configs() -> None:
    assert {"small", "resnet18", "hrnet_w18", "perspose"} <= {path.stem for path in CONFIGS}
    full = read(CONFIGS[[path.stem for path in CONFIGS].index("perspose")])
    assert full.losses == PersPoseLossConfig() and full.data.centred == "minimal"
    for path in CONFIGS:
        first = path.read_text("utf-8").splitlines()[0]
        assert first == f"# meshreg train --config configs/perspose/{path.name}"
        assert read(path).out.name == f"perspose_{path.stem}"
    assert read(CONFIGS[0], "losses.twists=3", "data.centred=pcl").losses.twists == 3


def test_every_config_names_a_network_that_can_be_built() -> None:
    for path in CONFIGS:
        config = read(path)
        model = replace(config.model, weights=None)
        if "w48" not in model.architecture:  # 75 million weights take their time
            built = build_model(model, config.data, plain_body())
            assert built.image_size == config.data.size and built.centred == config.data.centred
    with pytest.raises(InputError, match="choose from perspose_hrnet_w48"):
        build_model(PersPoseModelConfig(architecture="perspose"), DataConfig(), plain_body())
    with pytest.raises(InputError, match=r"losses.twists must be 0 or more"):
        PersPoseLossConfig(twists=-1.0)


def tiny(config: PersPoseConfig, out: Path) -> PersPoseConfig:
    """Two drawn people of 64 pixels, tiny photographs, two steps of the small network."""
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
    run = replace(
        config.run, steps=2, workers=0, device="cpu", evaluate_every=2, picture_every=2, log_every=1
    )
    model = replace(config.model, architecture="perspose_small", weights=None)
    return replace(config, out=out, data=data, run=run, model=model)


def plain(self: PeopleRecipe) -> SyntheticPeople:
    planner = plain_planner(self.seed, size=self.size)
    return SyntheticPeople(planner, BareBodies(plain_body()), batch_size=1)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_config_takes_a_step_and_its_file_works_everywhere(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeopleRecipe, "people", plain)
    config = tiny(read(path), tmp_path / "out")
    assert train_perspose(config)
    header, *_ = (config.out / "metrics.csv").read_text().splitlines()
    wanted = {*config.losses.weights(), "loss", "gradient_norm", "eval_mpjpe_mm"}
    assert wanted <= set(header.split(",")), header
    assert list((config.out / "pictures").iterdir())
    file = config.out / "model.safetensors"
    model = load_perspose(file, body=plain_body())
    assert (model.centred, model.image_size) == ("minimal", 64)
    assert isinstance(load_regressor(file, body=plain_body()), PersPose)
    predictor = load_model(file, body=plain_body())
    camera = camera_from_fov(80.0, (120, 200))
    picture = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    (person,) = predictor.predict(picture, [[140, 10, 180, 110]], camera)
    assert np.isfinite(person.vertices_cam).all() and person.joints_cam[0, 2] > 0
    seen = project(torch.from_numpy(person.joints_cam[:1]), camera.K)[0]
    assert 100 < float(seen[0]) < 220  # about where the box is, not in the middle


def test_a_perspose_is_evaluated_as_any_model(tmp_path: Path) -> None:
    from meshreg.cli.evaluate import load_regressor as of_options
    from meshreg.evaluate.run import evaluate_model
    from meshreg.models.perspose_files import load_perspose_weights, save_perspose

    data = DataConfig(size=64, centred="minimal")
    model = build_model(PersPoseModelConfig(), data, plain_body())
    save_perspose(tmp_path / "model.safetensors", model)
    found = of_options(EvaluateOptions(model=tmp_path / "model.safetensors"))
    batch = plain_people(5, 64).render([0, 1])
    result = evaluate_model(found, [batch[0], batch[1]], "synth-bench-v1")
    assert result.values["mpjpe_mm"].isfinite().all()
    other = build_model(PersPoseModelConfig(encoding=False), data, plain_body())
    with pytest.raises(InputError, match="encoding True instead of False"):
        load_perspose_weights(other, tmp_path / "model.safetensors")
    load_perspose_weights(model, tmp_path / "model.safetensors")
