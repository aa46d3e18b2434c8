"""The labels that bodies would show, as drawn for DSR's losses."""

import pytest
import torch
from dressed_people import Scene, make_scene

from meshreg.clothing.counting import mirrored
from meshreg.clothing.groups import DSR_CLOTHING, MINIMALLY_CLOTHED
from meshreg.clothing.labels import Label, flip_labels
from meshreg.clothing.prior import SemanticPrior
from meshreg.errors import InputError
from meshreg.geometry.cameras import flip_intrinsics
from meshreg.losses.dsr import dsr_c, dsr_mc, silhouette
from meshreg.losses.dsr_render import SemanticRenderer, centred_in_depth
from meshreg.losses.dsr_target import semantic_target, thinned
from meshreg.render.rasterizer import rasterizer

STYLES = ("edge", "soft")


@pytest.fixture(scope="module")
def scene() -> Scene:
    torch.manual_seed(3)
    return make_scene(batch=3, side=64)


def renderer_of(scene: Scene, style: str = "edge", **options) -> SemanticRenderer:
    return SemanticRenderer(
        body=scene.body, prior=scene.prior, rasterizer=rasterizer(), style=style, **options
    )


def test_all_channels_are_drawn_at_once(scene: Scene) -> None:
    vertices = scene.posed(scene.pose).vertices
    visible = torch.zeros(3, 20, dtype=torch.bool)
    visible[0, Label.FACE] = visible[1, Label.LEFT_ARM] = visible[1, Label.UPPER_CLOTHES] = True
    pred = renderer_of(scene)(vertices, scene.K, scene.size, visible)
    image = rasterizer().edge_semantic(
        vertices, scene.body.faces, scene.K, scene.size, scene.prior.probs[None]
    )
    torch.testing.assert_close(pred.bare[0], image.classes[0, ..., Label.FACE])
    torch.testing.assert_close(pred.bare[1], image.classes[1, ..., Label.LEFT_ARM])
    assert not pred.bare[2].any(), "clothes are not bare, and what is not visible is not expected"
    merged = image.classes @ DSR_CLOTHING.membership
    torch.testing.assert_close(pred.classes, merged)
    torch.testing.assert_close(pred.alpha, image.alpha)


@pytest.mark.parametrize("style", STYLES)
def test_probabilities_add_up_to_the_coverage(scene: Scene, style: str) -> None:
    vertices = scene.posed(scene.pose).vertices
    visible = torch.ones(3, 20, dtype=torch.bool)
    pred = renderer_of(scene, style)(vertices, scene.K, scene.size, visible)
    torch.testing.assert_close(pred.classes.sum(-1), pred.alpha, atol=1e-5, rtol=0)
    assert (pred.bare <= pred.alpha + 1e-5).all() and 0.05 < pred.alpha.mean() < 0.5


def test_the_soft_style_sees_the_front_from_any_distance(scene: Scene) -> None:
    soft, sharp = renderer_of(scene, "soft"), renderer_of(scene, "edge")
    vertices = scene.posed(scene.pose).vertices
    visible = torch.ones(3, 20, dtype=torch.bool)
    for far in (0.0, 44.0):
        moved, K = vertices + torch.tensor([0.0, 0.0, far]), scene.K.clone()
        K[:, :2, :2] *= (far + 6) / 6
        drawn, truth = (r(moved, K, scene.size, visible) for r in (soft, sharp))
        inside = torch.nn.functional.max_pool2d(1 - truth.alpha, 3, 1, 1) == 0
        error = (drawn.classes - truth.classes)[inside].abs()
        assert error.mean() < 0.02, far


def test_sliding_along_rays_keeps_the_picture(scene: Scene) -> None:
    vertices = scene.posed(scene.pose).vertices
    vertices[0, :5] = torch.tensor([0.1, 0.1, -2.0])
    moved = centred_in_depth(vertices, 2.5)
    assert (moved[0, :5] == -1).all(), "behind the camera"
    moved, vertices = moved[1:], vertices[1:]
    torch.testing.assert_close(
        moved[..., :2] / moved[..., 2:], vertices[..., :2] / vertices[..., 2:]
    )
    torch.testing.assert_close(moved[..., 2].mean(1), torch.full((2,), 2.5))
    torch.testing.assert_close(
        moved[..., 2] - moved[:, :1, 2], vertices[..., 2] - vertices[:, :1, 2], atol=1e-5, rtol=0
    )


def test_thinned_labels_are_the_thinned_cameras_picture() -> None:
    scene = make_scene(batch=2, side=112)
    vertices = scene.posed(scene.pose).vertices
    full = scene.labels(vertices)
    for step in (2, 3, 4):
        labels, K = thinned(full, scene.K, step)
        drawn = scene.labels(vertices, K, (labels.shape[1], labels.shape[2]))
        assert (drawn != labels).float().mean() < 5e-4, step


@pytest.mark.parametrize("style", STYLES)
def test_a_mirrored_picture_has_the_mirrored_loss(scene: Scene, style: str) -> None:
    body = scene.body
    mirror = torch.from_numpy(body.data.mirror)
    probs = (scene.prior.probs + mirrored(scene.prior.probs, mirror)) / 2
    prior = SemanticPrior(probs=probs, topology_hash=body.topology_hash)
    renderer = SemanticRenderer(body=body, prior=prior, rasterizer=rasterizer(), style=style)
    labels = scene.labels(scene.posed(scene.pose).vertices)
    vertices = scene.posed(scene.pose + 0.02).vertices.requires_grad_()
    flipped = (vertices.detach()[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])).requires_grad_()
    K = flip_intrinsics(scene.K, scene.size[1])
    for loss in (dsr_mc, dsr_c, silhouette):
        target, other = semantic_target(labels), semantic_target(flip_labels(labels))
        there = loss(renderer(vertices, scene.K, scene.size, target.visible), target)
        here = loss(renderer(flipped, K, scene.size, other.visible), other)
        torch.testing.assert_close(here, there, atol=2e-3, rtol=5e-3)
        (expected,) = torch.autograd.grad(there, vertices)
        (found,) = torch.autograd.grad(here, flipped)
        back = found[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
        assert torch.cosine_similarity(back.flatten(), expected.flatten(), 0) > 0.97
    unswapped = semantic_target(labels.flip(-1))
    wrong = dsr_c(renderer(flipped, K, scene.size, unswapped.visible), unswapped)
    right = dsr_c(renderer(vertices, scene.K, scene.size, target.visible), target)
    assert wrong > right + 0.08, "labels that keep their sides do not fit"


def test_the_bare_set_and_the_classes_can_be_chosen(scene: Scene) -> None:
    renderer = renderer_of(scene, bare="dsr_paper")
    assert set(renderer.bare) == MINIMALLY_CLOTHED["dsr_paper"]
    visible = torch.zeros(3, 20, dtype=torch.bool)
    visible[:, Label.LEFT_SHOE] = True
    vertices = scene.posed(scene.pose).vertices
    assert renderer(vertices, scene.K, scene.size, visible).bare.any()
    assert not renderer_of(scene)(vertices, scene.K, scene.size, visible).bare.any()


def test_the_prior_of_another_body_is_refused(scene: Scene) -> None:
    other = SemanticPrior(probs=scene.prior.probs, topology_hash="another")
    with pytest.raises(InputError, match="belongs to a body"):
        SemanticRenderer(body=scene.body, prior=other, rasterizer=rasterizer())
