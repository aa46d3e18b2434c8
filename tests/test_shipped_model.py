"""The regressor that comes with meshreg: small, ready at once, and better than a guess."""

import json
from pathlib import Path

import pytest
import torch

import meshreg
from meshreg.cli import main
from meshreg.data.sample import Batch
from meshreg.data.synthetic.rendered import PeopleRecipe
from meshreg.geometry.rotations import rot6d_to_rotmat
from meshreg.metrics import pa_mpjpe, root_aligned_mpjpe
from meshreg.models.checkpoint import read_model
from meshreg.models.start import upright_start
from meshreg.predictor.regress import DEFAULT_MODEL, Predictor

ASTRONAUT = Path(__file__).parents[1] / "demo" / "samples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return meshreg.load_model()


@pytest.fixture(scope="module")
def strangers() -> Batch:
    """Dressed people whom nobody has trained on."""
    return PeopleRecipe(seed=987_654, size=128, supersampling=1).people().render(range(24))


def test_the_file_is_small_and_says_what_it_is() -> None:
    assert DEFAULT_MODEL.stat().st_size < 16e6
    header, _ = read_model(DEFAULT_MODEL)
    assert header.architecture.conditioned and header.architecture.image_size == 128
    assert header.body == "builtin"
    assert "synthetic" in header.recipe and "CMU" in header.licence


def test_it_beats_the_body_it_starts_from(predictor: Predictor, strangers: Batch) -> None:
    model, truth = predictor.model, strangers.joints_cam[:, :24]
    with torch.inference_mode():
        found = model(strangers.image, K_full=strangers.K_full, box=strangers.box)
        joints = model.mesh(found).joints[:, :24]
        start = upright_start().expand(len(strangers))
        pose = rot6d_to_rotmat(start.pose_rot6d.unflatten(1, (24, 6)))
        guess = model.body(start.betas, pose, strangers.transl).joints[:, :24]
    for error in (pa_mpjpe, root_aligned_mpjpe):
        assert error(joints, truth).mean() < 0.8 * error(guess, truth).mean(), error


def test_its_joint_maps_see_the_joints(predictor: Predictor, strangers: Batch) -> None:
    with torch.inference_mode():
        found = predictor.model(strangers.image, K_full=strangers.K_full, box=strangers.box)
    assert found.evidence is not None
    error = (found.evidence.points_px(128) - strangers.joints_px).norm(dim=-1)
    seen = strangers.joints_visible & ~strangers.joints_self_hidden
    assert error[seen].mean() < 16, error[seen].mean()
    # It knows where it is unsure: the surer half of the joints is nearer to the truth.
    doubt = found.evidence.log_spread[seen]
    sure = doubt < doubt.median()
    assert error[seen][sure].mean() < 0.75 * error[seen][~sure].mean()


def test_a_photograph_gives_a_person(predictor: Predictor) -> None:
    (person,) = predictor.predict(ASTRONAUT)
    assert person.image_size == (512, 512)
    assert torch.isfinite(torch.from_numpy(person.vertices_cam)).all()
    assert person.transl[2] > 0.2


def test_evaluation_takes_it_unless_told_otherwise(tmp_path: Path) -> None:
    assert main(["synth", "--count=3", "--size=64", "--workers=1", f"--out={tmp_path / 'p'}"]) == 0
    words = ["--protocol=synth-bench-v1", f"--data={tmp_path / 'p'}", f"--out={tmp_path / 'r'}"]
    assert main(["evaluate", *words]) == 0
    record = json.loads((tmp_path / "r" / "results.json").read_text("utf-8"))
    assert record["about"]["model"] == "default.safetensors"
    assert record["num_samples"] == 3
