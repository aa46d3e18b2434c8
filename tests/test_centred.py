"""Cameras that turn towards people in training, evaluation and prediction, there and back."""

from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_people import plain_body
from torch import Tensor, nn

from meshreg.body.smpl import Body
from meshreg.data.augment import Augmented
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.centred import centred
from meshreg.data.sample import Batch, Sample
from meshreg.errors import InputError
from meshreg.evaluate.run import evaluate_model
from meshreg.geometry.cameras import camera_from_fov, project
from meshreg.models.architecture import ARCHITECTURES, Architecture
from meshreg.models.builders import build_hmr
from meshreg.models.camera import transl_to_weak
from meshreg.models.checkpoint import load_model, save_model
from meshreg.models.hmr import HMR
from meshreg.models.outputs import BodyPrediction
from meshreg.models.regressors import bodies_in_crops
from meshreg.predictor.regress import Predictor
from meshreg.render.rasterizer import rasterizer

SIZE = 64


@cache
def wide_people(number: int = 4) -> Batch:
    """Bodies far from the middle of wide pictures, drawn; K_full differs from person to person."""
    body = plain_body()
    torch.manual_seed(0)
    pose = torch.eye(3).repeat(number, 24, 1, 1)
    pose[:, 0] = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
    betas, depth = torch.randn(number, 10), 3 + torch.rand(number)
    corners = torch.tensor([[-1.0, -1], [1, -1], [-1, 1], [1, 1]])[torch.arange(number) % 4]
    transl = (
        torch.cat([corners * torch.tensor([0.7, 0.3]), torch.ones(number, 1)], 1) * depth[:, None]
    )
    posed = body(betas, pose, transl)
    full = camera_from_fov(100.0, (200, 300))
    K_full = full.K.expand(number, 3, 3)
    points = project(posed.vertices, K_full)
    low, high = points.amin(1), points.amax(1)
    side = (high - low).amax(1) * 1.2
    box = torch.cat([(low + high) / 2, side[:, None]], 1)
    scale = SIZE / side
    window = torch.zeros(number, 3, 3)
    window[:, 0, 0] = window[:, 1, 1] = scale
    window[:, :2, 2] = (SIZE - 1) / 2 - scale[:, None] * box[:, :2]
    window[:, 2, 2] = 1
    K = window @ K_full
    drawn = rasterizer().fragments(posed.vertices, body.faces, K, (SIZE, SIZE))
    there, depth_map = drawn.pix_to_face[..., 0] >= 0, drawn.zbuf[..., 0]
    return Sample(
        image=(200 * there).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous(),
        K=K,
        K_full=K_full.contiguous(),
        full_size=torch.tensor([200, 300]).expand(number, 2),
        box=box,
        betas=betas,
        pose_rotmat=pose,
        transl=transl,
        joints_cam=posed.joints,
        joints_px=project(posed.joints, K),
        joints_visible=torch.ones(number, 45, dtype=torch.bool),
        joints_self_hidden=torch.zeros(number, 45, dtype=torch.bool),
        vertices_cam=torch.zeros(number, 0, 3),
        labels=there.to(torch.uint8),
        depth=torch.where(there, depth_map, 0.0),
        part=torch.full((number, SIZE, SIZE), 255, dtype=torch.uint8),
        instance=there.to(torch.uint8),
        index=torch.arange(number),
    )


# --- batches --------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["minimal", "pcl"])
def test_everything_that_is_known_turns_along(how: str) -> None:
    batch, body = wide_people(), plain_body()
    keypoints = torch.zeros(4, 49, 3)
    keypoints[:, :45] = batch.joints_cam
    batch = replace(batch, keypoints_cam=keypoints, keypoints_px=project(keypoints + 1e-3, batch.K))
    found = centred(batch, how)  # type: ignore[arg-type]
    posed = body(found.betas, found.pose_rotmat, found.transl)
    torch.testing.assert_close(posed.joints, found.joints_cam, atol=2e-5, rtol=0)
    expected = project(found.joints_cam, found.K)
    torch.testing.assert_close(found.joints_px, expected, atol=5e-3, rtol=0)
    torch.testing.assert_close(found.keypoints_cam[:, :45], found.joints_cam, atol=1e-5, rtol=0)
    # Drawn anew in the turned camera, the body covers what the warped label map says, and its
    # depth is what became of the old one.
    drawn = rasterizer().fragments(posed.vertices, body.faces, found.K, (SIZE, SIZE))
    there, labelled = drawn.pix_to_face[..., 0] >= 0, found.labels == 1
    both = (there & labelled).sum((1, 2)) / (there | labelled).sum((1, 2))
    assert (both > 0.85).all(), both
    inside = there & labelled
    error = (drawn.zbuf[..., 0] - found.depth)[inside].abs()
    assert error.median() < 0.02 and error.quantile(0.9) < 0.15
    bright = found.image[:, 0] > 100
    assert ((bright == labelled).float().mean((1, 2)) > 0.95).all()


def test_the_middle_of_the_picture_lies_on_the_axis() -> None:
    found = centred(wide_people(), "minimal")
    middle = torch.full((4, 2), (SIZE - 1) / 2)
    torch.testing.assert_close(found.K[:, :2, 2], middle, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.K, found.K_full)
    assert (found.box == torch.tensor([(SIZE - 1) / 2, (SIZE - 1) / 2, SIZE])).all()
    # A moved box is what the camera turns towards, and still in the middle.
    moved = centred(wide_people(), "minimal", torch.full((4,), 1.1), torch.full((4, 2), 0.1))
    torch.testing.assert_close(moved.K[:, :2, 2], middle, atol=1e-3, rtol=0)
    assert (moved.joints_px - found.joints_px).norm(dim=-1).mean() > 3


def test_cameras_that_nobody_knows_do_not_turn() -> None:
    batch = wide_people()
    guessed = replace(batch, K_weight=torch.tensor([0.0, 1, 1, 1]))
    found = centred(guessed, "minimal")
    torch.testing.assert_close(found.pose_rotmat[0], batch.pose_rotmat[0])
    torch.testing.assert_close(found.joints_px[0], batch.joints_px[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(found.transl[0], batch.transl[0])
    assert (found.image[0] == batch.image[0]).float().mean() > 0.99
    assert not torch.allclose(found.pose_rotmat[1], batch.pose_rotmat[1])


def test_nobody_too_wide_to_be_turned_stops_a_training() -> None:
    batch = wide_people()
    near = replace(batch, K=batch.K / torch.tensor([12.0, 12, 1])[:, None])  # a very wide crop
    found = centred(near, "minimal")
    assert all(getattr(found, f.name).isfinite().all() for f in fields(Sample))


def test_augmented_batches_are_turned_and_stay_consistent() -> None:
    class Same:
        def at(self, number: int) -> Batch:
            return wide_people()

    found = Augmented(Same(), AugmentSettings(), seed=2, how="minimal").at(1)
    posed = plain_body()(found.betas, found.pose_rotmat, found.transl)
    torch.testing.assert_close(posed.joints, found.joints_cam, atol=1e-4, rtol=0)
    torch.testing.assert_close(project(posed.joints, found.K), found.joints_px, atol=0.1, rtol=0)
    torch.testing.assert_close(found.K[:, :2, 2], torch.full((4, 2), 31.5), atol=1e-3, rtol=0)


# --- predictions, there and back ------------------------------------------------------------------
class Knows(HMR):
    """Says the truth about the person whom it is shown, in the camera that it is told of.

    The truth is found by the focal length and place in `seen`, so the order does not matter.
    """

    def __init__(self, how: str, body: Body, truths: list[BodyPrediction]) -> None:
        nn.Module.__init__(self)
        self.body, self.image_size, self.truths, self.calls = body, SIZE, truths, 0
        self.architecture = Architecture(backbone="none", centred=how)  # type: ignore[arg-type]

    def forward(  # type: ignore[override]
        self, image: Tensor, *, K_full: Tensor, box: Tensor, known_camera: Tensor | None = None
    ) -> BodyPrediction:
        self.image, self.K = image, K_full
        truth = self.truths[self.calls]
        self.calls += 1
        return replace(truth, cam=transl_to_weak(truth.transl, box, K_full))


def truth_of(batch: Batch) -> BodyPrediction:
    return BodyPrediction(batch.betas, batch.pose_rotmat, torch.zeros(len(batch), 3), batch.transl)


@pytest.mark.parametrize("how", ["none", "minimal", "pcl"])
def test_a_perfect_network_of_turned_pictures_has_no_error_in_evaluation(how: str) -> None:
    batch, body = wide_people(), plain_body()
    shown = batch if how == "none" else centred(batch, how)  # type: ignore[arg-type]
    model = Knows(how, body, [truth_of(shown)] * 2)
    result = evaluate_model(
        model, [batch[i] for i in range(4)], "synth-bench-v1", body=body, batch_size=4
    )
    assert result.values["mpjpe_mm"].max() < 0.1 and result.values["pve_mm"].max() < 0.1
    assert result.values["silhouette_iou"].min() > 0.97
    found = bodies_in_crops(model, batch.image, K_full=batch.K_full, box=batch.box)
    torch.testing.assert_close(found.transl, batch.transl, atol=1e-4, rtol=0)
    expected = transl_to_weak(batch.transl, batch.box, batch.K_full)
    torch.testing.assert_close(found.cam, expected, atol=1e-3, rtol=0)
    if how != "none":
        torch.testing.assert_close(model.K, shown.K, atol=1e-3, rtol=1e-4)
        assert (model.image.int() - shown.image.int()).abs().float().mean() < 1


@pytest.mark.parametrize("how", ["minimal", "pcl"])
def test_predicted_bodies_lie_on_people_in_every_corner(how: str) -> None:
    """What is right in the turned view is right in the picture, pixel for pixel."""
    batch, body = wide_people(), plain_body()
    camera = camera_from_fov(100.0, (200, 300))
    boxes = torch.cat(
        [batch.box[:, :2] - batch.box[:, 2:] / 2, batch.box[:, :2] + batch.box[:, 2:] / 2], 1
    ).numpy()
    shown = centred(batch, how)  # type: ignore[arg-type]
    model = Knows(how, body, [truth_of(shown)])
    posed = body(batch.betas, batch.pose_rotmat, batch.transl)
    drawn = (
        rasterizer()
        .fragments(posed.vertices, body.faces, batch.K_full, camera.size)
        .pix_to_face[..., 0]
    )
    picture = np.where((drawn >= 0).any(0).numpy()[..., None], 220, 30).astype(np.uint8)
    picture = np.repeat(picture, 3, 2)
    people = Predictor(model, margin=1.0).predict(picture, boxes, camera)
    turned = body(shown.betas, shown.pose_rotmat, shown.transl)
    mine = rasterizer().fragments(turned.vertices, body.faces, shown.K, (SIZE, SIZE))
    lit, covered = model.image[:, 0] > 128, mine.pix_to_face[..., 0] >= 0
    # The network is shown the people where its camera sees them; others may be in the view as well.
    assert ((lit & covered).sum((1, 2)) / covered.sum((1, 2)) > 0.9).all()
    for number, person in enumerate(people):
        expected = posed.vertices[number].numpy()
        assert np.abs(person.vertices_cam - expected).max() < 2e-4
        place = project(torch.from_numpy(person.vertices_cam), camera.K)
        there = project(posed.vertices[number], camera.K)
        assert float((place - there).norm(dim=-1).max()) < 0.1


def test_people_beyond_the_reach_of_a_turned_camera_are_refused() -> None:
    camera = camera_from_fov(165.0, (200, 400))
    model = Knows("minimal", plain_body(), [])
    with pytest.raises(InputError, match="degrees from the optical axis"):
        Predictor(model).predict(np.zeros((200, 400, 3), np.uint8), [[0, 90, 20, 110]], camera)


# --- what models remember -------------------------------------------------------------------------
SMALL = replace(ARCHITECTURES["hmr_small"], width=32, image_size=SIZE)


def test_files_remember_how_cameras_turn_and_old_ones_do_not(tmp_path: Path) -> None:
    body = plain_body()
    model = build_hmr(replace(SMALL, centred="minimal", encoding=True), body=body)
    save_model(tmp_path / "new.safetensors", model)
    again = load_model(tmp_path / "new.safetensors", body=body)
    assert again.centred == "minimal" and len(again.encodings) == 3
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    save_model(tmp_path / "old.safetensors", build_hmr(SMALL, body=body))
    with safe_open(tmp_path / "old.safetensors", framework="pt") as file:
        text = file.metadata()["meshreg_model"]
    for words in (', "encoding": false', ', "centred": "none"'):
        assert words in text
        text = text.replace(words, "")
    save_file(
        load_file(tmp_path / "old.safetensors"),
        tmp_path / "older.safetensors",
        metadata={"meshreg_model": text},
    )
    older = load_model(tmp_path / "older.safetensors", body=body)
    assert older.centred == "none" and len(older.encodings) == 0


@pytest.mark.parametrize("changes", [{}, {"backbone": "resnet18", "head": "iterative"}])
def test_encodings_tell_cameras_apart_and_guesses_are_not_told(changes: dict[str, str]) -> None:
    torch.manual_seed(0)
    architecture = replace(SMALL, encoding=True, dropout=0.0, **changes)  # type: ignore[arg-type]
    model = build_hmr(architecture, body=plain_body()).eval()
    image = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    box = torch.tensor([[300.0, 200, 150]]).expand(2, 3)
    for weight in model.encodings.parameters():
        weight.data.mul_(100)

    @torch.no_grad()
    def betas(fov: float, *, known: bool) -> Tensor:
        K = camera_from_fov(fov, (400, 600)).K.expand(2, 3, 3)
        known_camera = torch.tensor([known, known])
        return model(image, K_full=K, box=box, known_camera=known_camera).betas

    assert not torch.allclose(betas(40.0, known=True), betas(90.0, known=True))
    torch.testing.assert_close(betas(40.0, known=False), betas(90.0, known=False))
    with torch.no_grad():
        torch.testing.assert_close(betas(40.0, known=False), model(image).betas)
