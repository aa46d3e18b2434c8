"""Doubts of regressors: calibrated on what they got wrong, kept in their files, read back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import meshreg
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.errors import InputError
from meshreg.evaluate.doubts import Observations, calibrate, observe
from meshreg.metrics.reliability import calibration_error, coverage, laplace_nll, reliability
from meshreg.models.builders import hmr_resnet18
from meshreg.models.checkpoint import load_model
from meshreg.models.doubts import (
    KEY,
    SIGNS,
    DoubtCalibration,
    ScaleMap,
    read_doubts,
    signs_of_doubt,
    write_doubts,
)
from meshreg.models.outputs import JointEvidence
from meshreg.predictor.regress import DEFAULT_MODEL
from meshreg.weight_files import write_header


def laplace(scale: torch.Tensor, dims: int) -> torch.Tensor:
    shape = (*scale.shape, dims)
    return torch.distributions.Laplace(0.0, 1.0).sample(shape) * scale[..., None]


@pytest.fixture(scope="module")
def planted() -> tuple[Observations, DoubtCalibration]:
    """Errors drawn from scales that are known."""
    torch.manual_seed(0)
    offsets = torch.linspace(-3, -1, 45)
    offsets = (offsets + offsets[list(meshreg.body.skeleton.SKELETONS["smplx45"].flip)]) / 2
    truth = DoubtCalibration(
        points=ScaleMap(offsets, torch.tensor([0.8, 0.0, 0.5, 0.0])),
        across=ScaleMap(offsets, torch.tensor([0.0, 0.6, 0.0, 0.0])),
        depth=ScaleMap(offsets + 0.5, torch.tensor([0.2, 0.9, 0.0, 0.4])),
        place=ScaleMap(torch.tensor([-1.0]), torch.tensor([1.0, 0.0, 0.0, 0.0])),
    )
    signs = torch.randn(3000, 45, 4)
    doubts = truth(signs)
    observed = Observations(
        signs=signs,
        points=laplace(doubts.points, 2),
        across=laplace(doubts.across, 2),
        depth=laplace(doubts.depth, 1),
        place=laplace(doubts.place, 1)[:, None],
        seen_depth=laplace(doubts.depth, 1),
        in_picture=torch.ones(3000, 45, dtype=torch.bool),
    )
    return observed, truth


def test_a_planted_calibration_is_found(planted: tuple[Observations, DoubtCalibration]) -> None:
    observed, truth = planted
    found = calibrate(observed)
    for name in ("points", "across", "depth"):
        part, true = getattr(found, name), getattr(truth, name)
        torch.testing.assert_close(part.slope, true.slope, atol=0.04, rtol=0)
        torch.testing.assert_close(part.offset, true.offset, atol=0.12, rtol=0)
    # Of one value a person there is far less to learn from, and its signs hardly vary.
    assert found.place.slope[0] > found.place.slope[1:].max()


def test_calibrated_scales_are_on_the_diagonal(
    planted: tuple[Observations, DoubtCalibration],
) -> None:
    observed, truth = planted
    scale = truth(observed.signs).depth.flatten()
    error = observed.depth[..., 0].flatten()
    assert calibration_error(reliability(error, scale)) < 0.03
    assert calibration_error(reliability(error, 2 * scale)) > 0.6
    for level in (0.5, 0.9):
        assert abs(coverage(error, scale, level) - level) < 0.01
    assert coverage(error, 0.5 * scale, 0.9) < 0.75
    true, half, twice = (laplace_nll(error, f * scale).mean() for f in (1.0, 0.5, 2.0))
    assert true < half and true < twice
    density = torch.distributions.Laplace(0.0, scale).log_prob(error)
    torch.testing.assert_close(laplace_nll(error, scale), -density)


def test_a_sign_never_makes_surer(planted: tuple[Observations, DoubtCalibration]) -> None:
    """Errors that shrink with a sign, which no honest network has, give slope zero."""
    observed, _ = planted
    odd = torch.exp(-0.5 * observed.signs[..., :1])
    found = calibrate(replace(observed, depth=observed.depth * odd))
    assert (found.depth.slope >= 0).all() and found.depth.slope[0] < 0.01


def test_signs_come_from_maps_and_body() -> None:
    points = torch.zeros(1, 45, 2)
    evidence = JointEvidence(
        points=points,
        depth=torch.zeros(1, 45),
        log_spread=torch.full((1, 45), -2.0),
        log_depth_spread=torch.full((1, 45), -1.0),
        log_share=torch.zeros(1, 45, 2, 2),
    )
    joints = points.clone()
    joints[0, 3] = torch.tensor([1.5, 0.5])
    signs = signs_of_doubt(evidence, joints)
    gap, outside = SIGNS.index("gap"), SIGNS.index("outside")
    assert (signs[0, :, 0] == -2).all() and (signs[0, :, 1] == -1).all()
    assert signs[0, 3, gap].exp().item() == pytest.approx(1.02)
    assert signs[0, 3, outside].item() == 0.5 and signs[0, 4, outside].item() == 0
    assert signs[0, 4, gap].exp().item() == pytest.approx(0.02)


# --- files ----------------------------------------------------------------------------------------
def test_a_file_keeps_its_weights_and_tells_the_calibration(
    tmp_path: Path, planted: tuple[Observations, DoubtCalibration]
) -> None:
    path, (_, truth) = tmp_path / "model.safetensors", planted
    shutil.copy(DEFAULT_MODEL, path)
    write_doubts(path, truth)
    with safe_open(DEFAULT_MODEL, "pt") as old, safe_open(path, "pt") as new:
        assert set(old.keys()) == set(new.keys())
        assert all(torch.equal(old.get_tensor(k), new.get_tensor(k)) for k in old.keys())  # noqa: SIM118
        assert new.metadata()["meshreg_model"] == old.metadata()["meshreg_model"]
    found = load_model(path).doubts
    assert found is not None
    for name, part in vars(found).items():
        torch.testing.assert_close(part.offset, getattr(truth, name).offset, atol=1e-4, rtol=0)


def test_files_without_with_another_and_with_a_broken_calibration(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"meshreg_model": "{}"})
    assert read_doubts(path) is None
    write_header(path, KEY, {"format": 1, "signs": ["something else"]})
    assert read_doubts(path) is None
    write_header(path, KEY, {"format": 1, "signs": SIGNS, "points": 3})
    with pytest.raises(InputError, match="calibration of doubts .* is damaged"):
        read_doubts(path)
    save_file({"a": torch.zeros(2)}, path, metadata={KEY: json.dumps(3)})
    with pytest.raises(InputError, match="is damaged"):
        read_doubts(path)


# --- the shipped network --------------------------------------------------------------------------
def test_the_shipped_network_knows_its_errors() -> None:
    model = meshreg.load_model().model
    assert model.doubts is not None
    people = PeopleRecipe(seed=555_777, size=128, supersampling=1).people().render(range(40))
    seen = observe(model, [people[n] for n in range(40)])
    doubts = model.doubts(seen.signs)
    for name in ("points", "across", "depth"):
        error = getattr(seen, name)[:, 1:]
        scale = getattr(doubts, name)[:, 1:, None].expand_as(error)
        error, scale = error.flatten(), scale.flatten()
        constant = error.abs().mean().expand_as(error)
        assert laplace_nll(error, scale).mean() < laplace_nll(error, constant).mean() - 0.1, name
        assert calibration_error(reliability(error, scale, bins=5)) < 0.35, name


def test_networks_without_joint_maps_have_no_doubts() -> None:
    people = PeopleRecipe(seed=1, size=128, supersampling=1).people().render(range(1))
    with pytest.raises(InputError, match="no joint maps"):
        observe(hmr_resnet18().eval(), [people[0]])
    with pytest.raises(InputError, match="no people"):
        observe(hmr_resnet18().eval(), [])
