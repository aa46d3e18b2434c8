"""DSR's released losses and label preprocessing, compared number for number."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.clothing.groups import DSR_CLOTHING
from meshreg.clothing.labels import NUM_LABELS, UNKNOWN_LABEL, Label
from meshreg.data.images import distance_outside
from meshreg.geometry.cameras import intrinsics
from meshreg.losses import dsr_paper, dsr_paper_labels
from meshreg.losses.dsr_paper import PaperTarget, face_textures, render_labels, rowwise_iou_loss
from meshreg.losses.dsr_paper_labels import exact_labels, near_keypoints, paper_target
from meshreg.losses.dsr_render import SemanticPrediction
from meshreg.render.rasterizer import rasterizer

# In the order of the released code.
PAPER_LABELS = (*(Label.LEFT_SHOE, Label.RIGHT_SHOE, Label.LEFT_ARM, Label.RIGHT_ARM, Label.FACE),)


@pytest.fixture(scope="module")
def losses(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "dsr" / "dsr_mc_c.pt", weights_only=True)


@pytest.fixture(scope="module")
def labels(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "dsr" / "labels.pt", weights_only=True)


def prediction_of(render: Tensor) -> SemanticPrediction:
    """Pictures of grey channels, as the released renderer gives them."""
    grey = render[:, :, :3].mean(2)
    return SemanticPrediction(
        bare=grey[:, 0], classes=grey[:, 1:].movedim(1, -1), alpha=render[:, 0, 3]
    )


def target_of(case: dict) -> PaperTarget:
    visible = torch.zeros(len(case["render"]), NUM_LABELS, dtype=torch.bool)
    visible[:, list(PAPER_LABELS)] = case["valid_labels_mc"] > 0
    return PaperTarget(
        bare=case["mc_target"].float(),
        classes=case["c_target"].long(),
        class_weight=case["class_weight"],
        visible=visible,
    )


# --- losses -------------------------------------------------------------------------------------


def test_values_of_every_sample(losses: dict) -> None:
    pred, target = prediction_of(losses["render"]), target_of(losses)
    assert target.kept.tolist() == (losses["kept"] > 0).tolist()
    defined = target.bare.any(-1).any(-1)  # an empty mask has no distance
    distances = dsr_paper.distance_loss(pred.bare, losses["dist_mat"])
    classes = dsr_paper.class_loss(pred.classes, target.classes, target.class_weight)
    for found, expected in [
        (rowwise_iou_loss(pred.bare, target.bare), losses["per_sample_mc"]),
        (classes, losses["per_sample_c"]),
        (rowwise_iou_loss(pred.alpha, target.bare), losses["baseline_silhouette"]["per_sample_mc"]),
        (distances[defined], losses["distm"]["per_sample_mc"][defined]),
    ]:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_means_and_gradients(losses: dict) -> None:
    render, target = losses["render"].clone().requires_grad_(), target_of(losses)
    mc, c = (f(prediction_of(render), target) for f in (dsr_paper.dsr_mc, dsr_paper.dsr_c))
    torch.testing.assert_close(mc, losses["loss_mc"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(c, losses["loss_c"], atol=1e-6, rtol=1e-6)
    (gradient,) = torch.autograd.grad(mc, render)
    for channel in range(3):
        torch.testing.assert_close(gradient[:, 0, channel], losses["grad_mc"], atol=1e-9, rtol=1e-4)
    assert not gradient[:, 1:].any() and not gradient[:, :, 3].any()
    (gradient,) = torch.autograd.grad(c, render)
    for channel in range(3):
        torch.testing.assert_close(gradient[:, 1:, channel], losses["grad_c"], atol=1e-9, rtol=1e-4)


def test_the_silhouette_baseline(losses: dict) -> None:
    render, target, case = (
        losses["render"].clone(),
        target_of(losses),
        losses["baseline_silhouette"],
    )
    render.requires_grad_()
    loss = dsr_paper.silhouette(prediction_of(render), target)
    torch.testing.assert_close(loss, case["loss_mc"], atol=1e-6, rtol=1e-6)
    loss.backward()
    torch.testing.assert_close(render.grad[:, 0, 3], case["grad_mc_alpha"], atol=1e-9, rtol=1e-4)


def test_the_distance_variant(losses: dict) -> None:
    render, target, case = losses["render"].clone(), target_of(losses), losses["distm"]
    render.requires_grad_()
    found = dsr_paper.distance_loss(prediction_of(render).bare, losses["dist_mat"])
    torch.where(target.kept, found, 0.0).mean().backward()
    defined = target.bare.any(-1).any(-1)
    assert int(defined.sum()) == 9
    torch.testing.assert_close(
        render.grad[defined, 0, 0], case["grad_mc"][defined], atol=1e-9, rtol=1e-4
    )


def test_rectangles(losses: dict) -> None:
    case = losses["rects224"]
    for rows in zip(case["target"], case["render"], case["value"], case["loss"], strict=True):
        (y0, y1, x0, x1), (v0, v1, u0, u1) = (row.tolist() for row in rows[:2])
        mask, drawn = torch.zeros(2, 1, 224, 224)
        mask[0, y0:y1, x0:x1] = 1
        drawn[0, v0:v1, u0:u1] = rows[2]
        assert float(rowwise_iou_loss(drawn, mask)) == pytest.approx(float(rows[3]), abs=1e-6)
    assert float(case["loss"][0]) == pytest.approx(0.777, abs=5e-4), "50 rows, a perfect match"


def test_probabilities_as_logits_can_hardly_fall() -> None:
    classes, weight = torch.randint(8, (1, 6, 6)), torch.ones(1, 8)
    empty = torch.zeros(1, 6, 6, 8)
    perfect = torch.nn.functional.one_hot(classes, 8).float()
    assert dsr_paper.class_loss(empty, classes, weight).item() == pytest.approx(math.log(8))
    assert dsr_paper.class_loss(perfect, classes, weight).item() == pytest.approx(1.274, abs=5e-4)


def test_no_weight_is_no_loss_rather_than_nan() -> None:
    pred = SemanticPrediction(
        bare=torch.rand(2, 4, 4),
        classes=torch.rand(2, 4, 4, 8, requires_grad=True),
        alpha=torch.rand(2, 4, 4),
    )
    target = PaperTarget(
        bare=torch.ones(2, 4, 4),
        classes=torch.zeros(2, 4, 4, dtype=torch.int64),
        class_weight=torch.tensor([[0.0] * 8, [1.0] * 8]),
        visible=torch.ones(2, NUM_LABELS, dtype=torch.bool),
    )
    loss = dsr_paper.dsr_c(pred, target)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(pred.classes.grad).all()
    assert not pred.classes.grad[0].any() and pred.classes.grad[1].any()


# --- rendering ----------------------------------------------------------------------------------


def square(depth: float, *, right: float = 1.0) -> tuple[Tensor, Tensor]:
    """Two triangles across the picture, up to `right` in units of half its width."""
    corners = torch.tensor([[-1.1, -1.1], [right, -1.1], [right, 1.1], [-1.1, 1.1]])
    points = torch.cat([corners * depth * 112 / dsr_paper.FOCAL_PX, torch.full((4, 1), depth)], 1)
    return points, torch.tensor([[0, 1, 2], [0, 2, 3]])


def draw(layers: list[tuple[Tensor, Tensor]], values: list[float]) -> SemanticPrediction:
    vertices = torch.cat([points for points, _ in layers])
    faces = torch.cat([corners + 4 * i for i, (_, corners) in enumerate(layers)])
    textures = torch.tensor(values).repeat_interleave(2)[None, :, None].expand(1, -1, 9)
    K = intrinsics(dsr_paper.FOCAL_PX, dsr_paper.FOCAL_PX, 111.5, 111.5)[None]
    return render_labels(rasterizer(), vertices[None], faces, K, (224, 224), textures.contiguous())


def test_the_released_renderer_sees_through_the_body() -> None:
    pred = draw([square(50.0), square(50.2)], [1.0, 0.0])
    assert float(pred.bare[0, 100, 80]) == pytest.approx(0.503, abs=1e-3)


def test_the_released_renderer_fills_half_covered_pixels() -> None:
    edge = (2 * 100 - 223) / 224  # through the centres of column 100
    pred = draw([square(50.0, right=edge)], [1.0])
    assert float(pred.alpha[0, 112, 100]) == pytest.approx(0.5, abs=0.01)
    assert float(pred.bare[0, 112, 100]) == pytest.approx(0.987, abs=1e-3)


def test_one_pass_is_nine_passes() -> None:
    layers, raster = [square(40.0), square(41.0, right=0.2)], rasterizer()
    vertices = torch.cat([p for p, _ in layers])[None]
    faces = torch.cat([f + 4 * i for i, (_, f) in enumerate(layers)])
    K = intrinsics(5000.0, 5000.0, 20.0, 20.0)[None]
    textures = torch.rand(1, 4, 9)
    whole = render_labels(raster, vertices, faces, K, (40, 40), textures)
    for channel in range(9):
        one = textures[..., channel, None].expand(-1, -1, 9).contiguous()
        single = render_labels(raster, vertices, faces, K, (40, 40), one).bare
        expected = whole.bare if channel == 0 else whole.classes[..., channel - 1]
        torch.testing.assert_close(single, expected)


# --- labels -------------------------------------------------------------------------------------


def test_label_maps_from_colour_crops(labels: dict) -> None:
    for case in labels["cases"]:
        found, cleaned = labels_of_case(case)
        where = case["name"]
        assert torch.equal(torch.where(found == UNKNOWN_LABEL, 0, found), case["label20"]), where
        target = paper_target(found[None])
        assert torch.equal(target.classes[0], case["label8"].long()), where
        torch.testing.assert_close(target.class_weight[0], case["class_weight"], msg=where)
        assert torch.equal(target.bare[0], case["mc_mask"].float()), where
        valid = target.visible[0, list(PAPER_LABELS)]
        assert valid.tolist() == (case["valid_labels_mc"] > 0).tolist(), where
        classes = torch.bincount(target.classes.flatten(), minlength=8)
        assert classes.tolist() == case["counts8"].tolist(), where
        assert float((found == UNKNOWN_LABEL).float().sum()) > 300, "borders match no colour"


def labels_of_case(case: dict) -> tuple[Tensor, Tensor]:
    points_px = (case["keypoints_norm"][None, :, :2] + 1) * 112
    near = near_keypoints(points_px, case["keypoints_norm"][None, :, 2], (224, 224))[0]
    crop = torch.where(near[..., None], case["crop_rgb"], 0)
    return exact_labels(crop).to(torch.uint8), crop


def test_the_cleaned_box(labels: dict) -> None:
    for case in labels["cases"]:
        _, crop = labels_of_case(case)
        for axis, (first, last) in zip((1, 0), case["crop_rgb_cleaned_box"].tolist(), strict=True):
            there = crop.any(-1).any(axis).nonzero()
            assert (int(there[0]), int(there[-1])) == (first, last), case["name"]


def test_the_distance_of_the_target(labels: dict) -> None:
    for case in labels["cases"]:
        if case["distance_defined"]:
            found = torch.from_numpy(distance_outside(case["mc_mask"].numpy() > 0))
            assert (found - case["distance"]).abs().max() < 0.5, "theirs is an approximation"


def test_class_weights(labels: dict) -> None:
    case = labels["class_ratio"]
    found = dsr_paper_labels.class_weights(case["counts"])
    torch.testing.assert_close(found, case["weights"])


def test_textures(labels: dict) -> None:
    visible = torch.stack(
        [paper_target(labels_of_case(c)[0][None]).visible[0] for c in labels["cases"]]
    )
    found = face_textures(labels["prior"], visible)
    for i, case in enumerate(labels["cases"]):
        torch.testing.assert_close(found[i, :, 0], case["texture_mc"])
        torch.testing.assert_close(found[i, :, 1:].T, labels["texture_c"])
    for group, ids in labels["merge8"].items():
        assert {DSR_CLOTHING.of_label[i] for i in ids.tolist()} == {int(group)}
