"""PersPose's losses: number for number as published, and without a word from what is unknown."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.joint_estimate import JointEstimate
from meshreg.body.ortho_twists import LEAVES
from meshreg.losses.perspose import WEIGHTS, PersPoseTruth, perspose_terms
from meshreg.losses.terms import total

BATCHES = ("mixed", "only_coco")
COCO = [7, 8, 9, 10, 13, 14, 15, 16]  # elbows, wrists, knees and ankles
H36M = [0, 2, 3, 5, 6, 12, 13, 15, 16]
NAMES = {
    "points": "uv",
    "points_annotated": "uv_coco",
    "points_captured": "uv_3dhp",
    "depth": "depth",
    "depth_captured": "depth_3dhp",
    "density": "rho_root",
    "density_captured": "rho_root_3dhp",
    "twists": "twist",
    "betas": "beta",
    "leaves": "leaf",
}
# Our fields and the reference's; densities are in mm there.
LEARNT = {
    "points_px": "uv",
    "depth": "depth",
    "density": "density",
    "twists": "ortho_twist",
    "leaf_rotmat": "leaf_rot",
    "betas": "beta",
}


@pytest.fixture(scope="module")
def losses(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "perspose" / "losses.pt", weights_only=True)


def prediction(output: dict[str, Tensor]) -> JointEstimate:
    """What was predicted, as leaves of the graph."""
    values = {
        "points_px": output["uv"],
        "depth": output["depth"][..., 0],
        "density": output["density"][..., 0] / 1000,
        "joints_cam": output["xyz"] + output["xyz0"],
        "twists": output["ortho_twist"],
        "leaf_rotmat": output["leaf_rot"].unflatten(2, (3, 3)),
        "betas": output["beta"],
    }
    return JointEstimate(**{name: x.clone().requires_grad_() for name, x in values.items()})


def truth_of(labels: dict) -> PersPoseTruth:
    names = labels["dataset_name"]
    rotmat = roma.rotvec_to_rotmat(labels["smpl_theta"])
    coco = labels["coco_kp17"][:, COCO]
    is_coco = torch.tensor([name == "coco" for name in names])
    return PersPoseTruth(
        K=labels["cam_intrinsics"],
        size=(256, 256),
        stature=labels["height"][:, 0],
        has_body=torch.tensor([name.startswith("hps") for name in names]),
        joints_cam=torch.cat([labels["smpl_j24"], labels["smpl_j17"][:, :1]], 1),
        twists=labels["smpl_ortho_twist"],
        leaf_rotmat=rotmat[:, list(LEAVES)],
        betas=labels["smpl_beta"],
        points_weight=torch.tensor([0.1 if "bedlam" in name else 1.0 for name in names]),
        annotated_px=coco[..., :2],
        annotated=((coco[..., 2] > 0) & is_coco[:, None]).float(),
        captured_cam=labels["3dhp_j17"][:, H36M],
        captured=torch.tensor([name == "3dhp" for name in names]),
    )


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("config", ["3dpw", "h36m", "3dhp", "w_be_3dhp"])
def test_reference_numbers(losses: dict, name: str, config: str) -> None:
    batch = losses[name]
    pred = prediction(batch["output"])
    loss, parts = total(perspose_terms(pred, truth_of(batch["labels"]), WEIGHTS[config]))
    for ours, theirs in NAMES.items():
        assert float(parts[ours]) == pytest.approx(float(batch["loss"][theirs]), rel=2e-5), ours
    expected = float(batch["total"][f"cfg_{config}"])
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", BATCHES)
def test_reference_gradients(losses: dict, name: str) -> None:
    batch = losses[name]
    pred = prediction(batch["output"])
    total(perspose_terms(pred, truth_of(batch["labels"]), WEIGHTS["3dpw"]))[0].backward()
    for ours, theirs in LEARNT.items():
        expected = batch["grad_total_cfg_3dpw"][theirs]
        if ours == "density":
            expected = 1000 * expected
        found = getattr(pred, ours).grad
        found = torch.zeros_like(getattr(pred, ours)) if found is None else found
        scale = 1 + float(expected.abs().max())
        torch.testing.assert_close(
            found, expected.reshape(found.shape), atol=2e-5 * scale, rtol=1e-4
        )


def example(number: int = 4) -> tuple[JointEstimate, PersPoseTruth]:
    """People in front of a camera, and a prediction that is somewhat wrong."""
    K = torch.tensor([[600.0, 0, 128], [0, 600.0, 128], [0, 0, 1]]).expand(number, 3, 3)
    joints = 0.4 * torch.randn(number, 25, 3) + torch.tensor([0.0, 0.0, 4.0])
    truth = PersPoseTruth(
        K=K,
        size=(256, 256),
        stature=torch.full((number,), 1.7),
        has_body=torch.ones(number, dtype=torch.bool),
        joints_cam=joints,
        twists=torch.nn.functional.normalize(torch.randn(number, 24, 3), dim=-1),
        leaf_rotmat=roma.random_rotmat((number, 5)),
        betas=torch.randn(number, 10),
        points_weight=torch.ones(number),
        annotated_px=256 * torch.rand(number, 8, 2),
        annotated=torch.ones(number, 8),
        captured_cam=joints[:, :9],
        captured=torch.ones(number, dtype=torch.bool),
    )
    pred = {
        "points_px": 256 * torch.rand(number, 25, 2),
        "depth": 0.3 * torch.randn(number, 25),
        "density": 0.007 + 0.001 * torch.rand(number, 25),
        "joints_cam": joints,
        "twists": torch.randn(number, 25, 3),
        "leaf_rotmat": roma.random_rotmat((number, 5)),
        "betas": torch.randn(number, 10),
    }
    return JointEstimate(**{name: x.requires_grad_() for name, x in pred.items()}), truth


def spoiled(truth: PersPoseTruth, row: int) -> PersPoseTruth:
    """Nothing is known of one sample, and nonsense stands in its place."""
    changes = {}
    for field in fields(truth):
        value = getattr(truth, field.name)
        if field.name in ("K", "size", "stature", "points_weight"):
            continue
        value = value.clone()
        value[row] = 0 if field.name in ("has_body", "annotated", "captured") else torch.nan
        changes[field.name] = value
    return replace(truth, **changes)


def test_what_is_unknown_says_nothing() -> None:
    pred, truth = example()
    loss, _ = total(perspose_terms(pred, spoiled(truth, 1)))
    loss.backward()
    for name in LEARNT:
        gradient = getattr(pred, name).grad
        assert gradient.isfinite().all() and gradient[1].abs().max() == 0, name
        assert gradient[0].abs().max() > 0, name


def test_terms_are_means_over_what_is_known() -> None:
    pred, truth = example()
    kept = [0, 2, 3]
    some = JointEstimate(**{f.name: getattr(pred, f.name)[kept] for f in fields(pred)})
    picked = replace(
        truth,
        **{f.name: getattr(truth, f.name)[kept] for f in fields(truth) if f.name != "size"},
    )
    fewer = total(perspose_terms(some, picked))[1]
    with_unknown = total(perspose_terms(pred, spoiled(truth, 1)))[1]
    for name, value in fewer.items():
        torch.testing.assert_close(with_unknown[name], value)


def test_the_truth_costs_nothing() -> None:
    pred, truth = example()
    points = truth.joints_cam @ truth.K.mT
    z = truth.joints_cam[..., 2]
    perfect = replace(
        pred,
        points_px=points[..., :2] / points[..., 2:],
        depth=z - z[:, :1],
        density=z / 600,
        twists=3 * torch.nn.functional.pad(truth.twists, (0, 0, 0, 1)),
        leaf_rotmat=truth.leaf_rotmat,
        betas=truth.betas,
    )
    nothing = replace(truth, annotated=torch.zeros(4, 8), captured=torch.zeros(4, dtype=torch.bool))
    for name, value in total(perspose_terms(perfect, nothing))[1].items():
        assert value < 1e-4, name


def test_an_empty_batch_has_no_loss_and_no_gradient() -> None:
    pred, truth = example()
    for row in range(4):
        truth = spoiled(truth, row)
    loss, _ = total(perspose_terms(pred, truth))
    assert float(loss.detach()) == 0
    loss.backward()
    for name in LEARNT:
        assert getattr(pred, name).grad.abs().max() == 0, name


def test_gradients() -> None:
    torch.manual_seed(3)
    pred, truth = example(2)

    def doubled(value: object) -> object:
        return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value

    truth = replace(truth, **{f.name: doubled(getattr(truth, f.name)) for f in fields(truth)})
    values = [getattr(pred, f.name).detach().double().requires_grad_() for f in fields(pred)]

    def loss(*values: Tensor) -> Tensor:
        parts = dict(zip([f.name for f in fields(pred)], values, strict=True))
        return total(perspose_terms(JointEstimate(**parts), truth))[0]

    assert torch.autograd.gradcheck(loss, values, fast_mode=True)
