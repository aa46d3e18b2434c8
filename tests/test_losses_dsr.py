"""DSR's corrected losses by hand, their derivatives, and what must count nothing."""

import math

import pytest
import torch
from torch import Tensor

from meshreg.clothing.groups import DSR_CLOTHING, minimally_clothed
from meshreg.clothing.labels import Label
from meshreg.geometry.cameras import intrinsics, project
from meshreg.losses.dsr import dsr_c, dsr_mc, label_nll, silhouette, soft_iou_loss
from meshreg.losses.dsr_render import SemanticPrediction
from meshreg.losses.dsr_target import balanced_weights, semantic_target, thinned

LOSSES = (dsr_mc, dsr_c, silhouette)


def random_prediction(batch: int, height: int, width: int) -> SemanticPrediction:
    """Probabilities that could have been drawn, as leaves of the graph, in double precision."""
    alpha = torch.rand(batch, height, width, dtype=torch.float64)
    classes = torch.rand(batch, height, width, 8, dtype=torch.float64).softmax(-1)
    leaves = (torch.rand_like(alpha) * alpha, classes * alpha[..., None], alpha)
    bare, classes, alpha = (leaf.detach().requires_grad_() for leaf in leaves)
    return SemanticPrediction(bare=bare, classes=classes, alpha=alpha)


def gradients(loss: Tensor, pred: SemanticPrediction) -> list[Tensor]:
    leaves = (pred.bare, pred.classes, pred.alpha)
    return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


def random_labels(*shape: int) -> Tensor:
    labels = torch.randint(20, shape, dtype=torch.uint8)
    labels[torch.rand(shape) < 0.3] = 0
    labels[torch.rand(shape) < 0.1] = 254
    labels[torch.rand(shape) < 0.1] = 255
    return labels


# --- targets ------------------------------------------------------------------------------------


def test_the_target_of_every_label() -> None:
    labels = torch.tensor([[[*range(20), 254, 255]]], dtype=torch.uint8)
    target = semantic_target(labels)
    bare = {10, 13, 14, 15, 16, 17}
    assert target.bare[0, 0].tolist() == [i in bare for i in range(22)]
    assert target.bare_known[0, 0].tolist() == [True] * 20 + [False] * 2
    assert target.classes[0, 0].tolist() == [*DSR_CLOTHING.of_label, 255, 255]
    assert target.person[0, 0].tolist() == [False] + [True] * 20 + [False]
    assert target.person_known[0, 0].tolist() == [True] * 21 + [False]
    assert set(target.visible[0].nonzero()[:, 0].tolist()) == bare
    paper = semantic_target(labels, bare="dsr_paper")
    assert set(paper.visible[0].nonzero()[:, 0].tolist()) == {13, 14, 15, 18, 19}


def test_few_pixels_are_neither_wanted_nor_wrong() -> None:
    labels = torch.zeros(2, 100, 100, dtype=torch.uint8)
    labels[:, :2, :30] = Label.FACE
    labels[0, 50, :11] = Label.LEFT_ARM
    labels[1, 50, :12] = Label.LEFT_ARM
    target = semantic_target(labels, min_share=11.5e-4)
    assert target.visible.sum(1).tolist() == [1, 2]
    assert not target.bare[0, 50].any() and not target.bare_known[0, 50, :11].any()
    assert target.bare_known[0, 50, 11:].all()
    assert target.bare[1, 50, :12].all() and target.bare_known[1].all()


def test_classes_count_alike_within_a_ratio() -> None:
    counts = torch.tensor([[1000.0, 500.0, 100.0, 99.0, 1.0, 0.0]])
    assert balanced_weights(counts, 10.0)[0].tolist() == pytest.approx([1, 2, 10, 10, 10, 0])


def test_thinned_labels_and_camera_agree() -> None:
    K = intrinsics(90.0, 80.0, 30.5, 22.0)[None]
    points = torch.tensor([[[0.1, -0.2, 3.0], [0.4, 0.3, 2.0]]])
    for step in (1, 2, 3, 4):
        labels = torch.arange(48 * 60).reshape(1, 48, 60)
        small, camera = thinned(labels, K, step)
        for x, y in [(0, 0), (5, 3), (small.shape[2] - 1, small.shape[1] - 1)]:
            at = int(small[0, y, x])
            ray = torch.tensor([[[at % 60, at // 60, 1.0]]]) @ torch.linalg.inv(K[0]).T
            torch.testing.assert_close(
                project(ray, camera)[0, 0], torch.tensor([x, y]).float(), atol=1e-4, rtol=0
            )
        assert torch.equal(thinned(labels, K, step)[1][:, 2], K[:, 2])
        assert torch.isfinite(project(points, camera)).all()


# --- losses by hand -----------------------------------------------------------------------------


def test_intersection_over_union_by_hand() -> None:
    rendered = torch.tensor([[[0.2, 0.9, 0.5], [0.0, 1.0, 0.7]]])
    mask = torch.tensor([[[False, True, True], [True, True, False]]])
    known = torch.tensor([[[True, True, True], [True, True, False]]])
    both, either = 0.9 + 0.5 + 1.0, 0.2 + 1 + 1 + 1 + 1
    assert soft_iou_loss(rendered, mask, known).item() == pytest.approx(1 - both / either)


def test_a_perfect_match_is_zero_wherever_it_is() -> None:
    mask = torch.zeros(2, 224, 224, dtype=torch.bool)
    mask[0, 100:150, 100:150] = True
    known = torch.ones_like(mask)
    losses = soft_iou_loss(mask.float(), mask, known)
    assert losses.tolist() == [0.0, 0.0], "also where there is nothing"
    above = torch.zeros(1, 224, 224)
    above[0, :50, 100:150] = 0.5
    above.requires_grad_()
    soft_iou_loss(mask[:1].float() + above, mask[:1], known[:1]).sum().backward()
    assert (above.grad[0, :50, 100:150] > 0).all(), "rows without target count"


def test_likelihood_by_hand() -> None:
    pred, labels = random_prediction(2, 5, 6), random_labels(2, 5, 6)
    target = semantic_target(labels, max_ratio=3.0)
    found = label_nll(pred, target, label_noise=0.1)
    groups = DSR_CLOTHING.group(labels.long())
    for sample in range(2):
        counts = torch.bincount(groups[sample].flatten(), minlength=256)[:8]
        weights = [min(3.0, int(counts.max()) / max(int(n), 1)) for n in counts]
        total = mass = 0.0
        for y in range(5):
            for x in range(6):
                group = int(groups[sample, y, x])
                if group == 255:
                    continue
                prob = float(pred.classes[sample, y, x, group].detach())
                if group == 0:
                    prob += 1 - float(pred.alpha[sample, y, x].detach())
                total -= weights[group] * math.log(0.9 * prob + 0.1 / 8)
                mass += weights[group]
        assert found[sample].item() == pytest.approx(total / mass)


def test_what_one_pixel_can_cost() -> None:
    labels = torch.tensor([[[Label.FACE, 0]]], dtype=torch.uint8)
    target = semantic_target(labels, min_share=0.0)
    classes = torch.zeros(1, 1, 2, 8)
    classes[0, 0, 1, 1] = 1.0
    worst = SemanticPrediction(
        bare=torch.zeros(1, 1, 2), classes=classes, alpha=torch.tensor([[[0.0, 1.0]]])
    )
    assert dsr_c(worst, target, label_noise=0.2).item() == pytest.approx(math.log(8 / 0.2))
    best = SemanticPrediction(
        bare=torch.zeros(1, 1, 2), classes=classes.flip(2), alpha=torch.tensor([[[1.0, 0.0]]])
    )
    assert dsr_c(best, target, label_noise=0.2).item() == pytest.approx(-math.log(0.8 + 0.2 / 8))


@pytest.mark.parametrize("loss", LOSSES)
def test_derivatives(loss) -> None:
    pred, target = random_prediction(2, 4, 5), semantic_target(random_labels(2, 4, 5))
    weight = torch.tensor([0.3, 1.0], dtype=torch.float64)

    def of(bare: Tensor, classes: Tensor, alpha: Tensor) -> Tensor:
        drawn = SemanticPrediction(bare=bare, classes=classes, alpha=alpha)
        return loss(drawn, target, weight)

    assert torch.autograd.gradcheck(of, (pred.bare, pred.classes, pred.alpha))


# --- what counts --------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_pixels_count_nothing(loss) -> None:
    pred, labels = random_prediction(2, 8, 9), random_labels(2, 8, 9)
    for gradient in gradients(loss(pred, semantic_target(labels)), pred):
        assert not gradient[labels == 255].any() and torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [0, 255])
def test_samples_without_labels_count_nothing(loss, label: int) -> None:
    pred, labels = random_prediction(3, 8, 9), random_labels(3, 8, 9)
    labels[1] = label
    found = loss(pred, semantic_target(labels))
    keep = [0, 2]
    part = SemanticPrediction(
        bare=pred.bare[keep], classes=pred.classes[keep], alpha=pred.alpha[keep]
    )
    torch.testing.assert_close(found, loss(part, semantic_target(labels[keep])))
    for gradient in gradients(found, pred):
        assert not gradient[1].any() and torch.isfinite(gradient).all()
    nothing = loss(pred, semantic_target(torch.full_like(labels, label)))
    assert nothing.item() == 0.0
    assert not any(gradient.any() for gradient in gradients(nothing, pred))


@pytest.mark.parametrize("loss", LOSSES)
def test_samples_are_weighted(loss) -> None:
    pred, target = random_prediction(2, 8, 9), semantic_target(random_labels(2, 8, 9))
    each = [loss(pred, target, torch.eye(2)[i]).item() for i in range(2)]
    mixed = loss(pred, target, torch.tensor([1.0, 3.0]))
    assert mixed.item() == pytest.approx((each[0] + 3 * each[1]) / 4)


def test_a_silhouette_alone_trains_the_silhouette_alone() -> None:
    labels = torch.zeros(1, 8, 9, dtype=torch.uint8)
    labels[:, 2:6, 3:5] = 254
    pred, target = random_prediction(1, 8, 9), semantic_target(labels)
    assert dsr_mc(pred, target).item() == 0.0 and dsr_c(pred, target).item() == 0.0
    assert silhouette(pred, target).item() > 0.1


def test_the_bare_set_can_be_chosen() -> None:
    labels = random_labels(1, 20, 20)
    target = semantic_target(labels, bare=[Label.FACE], min_share=0.0)
    assert torch.equal(target.bare, labels == Label.FACE)
    bare = minimally_clothed("default").membership[:, 1] > 0
    assert not (semantic_target(labels).visible & ~bare).any()
