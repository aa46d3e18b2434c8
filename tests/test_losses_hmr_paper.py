"""The released losses without rendering, compared number for number, with all gradients."""

from pathlib import Path

import pytest
import roma
import torch
from torch import Tensor

from meshreg.losses.hmr_paper import (
    OVERALL,
    WEIGHTS,
    PaperBody,
    PaperTruth,
    absolute_error,
    hmr_terms,
    keypoint_error,
)
from meshreg.losses.terms import total

BATCHES = ("mixed", "no_smpl", "no_3d", "all")
# Our terms and the fixture's names, without and with weights.
NAMES = {
    "keypoints": ("keypoints2d", "loss_keypoints"),
    "joints": ("keypoints3d", "loss_keypoints_3d"),
    "pose": ("pose", "loss_regr_pose"),
    "betas": ("betas", "loss_regr_betas"),
    "camera": ("cam", "loss_cam"),
}
FIELDS = {
    "pose_rotmat": "pred_pose",
    "betas": "pred_shape",
    "vertices": "smpl_vertices",
    "joints": "smpl_joints3d",
    "points": "smpl_joints2d",
}


@pytest.fixture(scope="module")
def batches(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "dsr" / "losses.pt", weights_only=True)


def problem(batch: dict) -> tuple[PaperBody, PaperTruth, Tensor]:
    """The prediction, as leaves of the graph, the truth, and the camera's parameters."""
    pred, gt = batch["pred"], batch["gt"]
    joints = torch.zeros(len(gt["pose"]), 49, 3)
    confidence = torch.zeros(len(gt["pose"]), 49)
    joints[:, 25:], confidence[:, 25:] = gt["pose_3d"][..., :3], gt["pose_3d"][..., 3]
    truth = PaperTruth(
        body=PaperBody(
            pose_rotmat=roma.rotvec_to_rotmat(gt["pose"].unflatten(1, (24, 3))),
            betas=gt["betas"],
            vertices=gt["vertices"],
            joints=joints,
            points=gt["keypoints"][..., :2],
        ),
        points_confidence=gt["keypoints"][..., 2],
        joints_confidence=confidence,
        has_body=gt["has_smpl"] == 1,
        has_joints=gt["has_pose_3d"] == 1,
    )
    leaves = {ours: pred[theirs].clone().requires_grad_() for ours, theirs in FIELDS.items()}
    return PaperBody(**leaves), truth, pred["pred_cam"].clone().requires_grad_()


@pytest.mark.parametrize("name", BATCHES)
def test_values(batches: dict, name: str) -> None:
    batch = batches[name]
    pred, truth, camera = problem(batch)
    loss, parts = total(hmr_terms(pred, truth, camera[:, 0]))
    torch.testing.assert_close(loss.detach(), batch["weighted"]["total_loss"].squeeze())
    assert set(parts) == set(NAMES), "the vertices have weight zero and are not computed"
    for ours, (plain, weighted) in NAMES.items():
        torch.testing.assert_close(parts[ours], batch["unweighted"][plain].squeeze(), msg=ours)
        found = WEIGHTS[ours] * parts[ours]
        torch.testing.assert_close(found, batch["weighted"][weighted].squeeze(), msg=ours)


@pytest.mark.parametrize("name", BATCHES)
def test_gradients(batches: dict, name: str) -> None:
    batch = batches[name]
    pred, truth, camera = problem(batch)
    total(hmr_terms(pred, truth, camera[:, 0]))[0].backward()
    leaves = {theirs: getattr(pred, ours) for ours, theirs in FIELDS.items()} | {"pred_cam": camera}
    for theirs, leaf in leaves.items():
        expected = batch["grad_total"][theirs]
        if expected.shape == (1,):  # no gradient
            assert leaf.grad is None or not leaf.grad.any(), theirs
        elif leaf.grad is None:
            assert not expected.any(), theirs
        else:
            torch.testing.assert_close(leaf.grad, expected, atol=1e-6, rtol=1e-5, msg=theirs)


@pytest.mark.parametrize("name", BATCHES)
def test_terms_that_do_not_count(batches: dict, name: str) -> None:
    pred, truth, _ = problem(batches[name])
    expected = batches[name]["unweighted"]
    vertices = absolute_error(pred.vertices, truth.body.vertices, truth.has_body)
    torch.testing.assert_close(vertices.detach(), expected["shape"].squeeze())
    points = keypoint_error(
        pred.points, truth.body.points, truth.points_confidence, openpose_weight=1.0
    )
    torch.testing.assert_close(points.detach(), expected["keypoints2d_openpose1"])


def test_the_weights(batches: dict) -> None:
    weights = batches["weights"]
    assert weights["total"] == OVERALL and weights["keypoint"] == WEIGHTS["keypoints"]
    assert weights["beta"] == WEIGHTS["betas"] and weights["shape"] == WEIGHTS["vertices"]
    assert weights["dsr_mc"] == WEIGHTS["dsr_mc"] and weights["dsr_c"] == WEIGHTS["dsr_c"]
