"""DSR's corrected losses on rendered bodies: right slopes, and bodies pulled onto their labels."""

import math
from collections.abc import Callable

import pytest
import torch
from dressed_people import DEPTH, Scene, make_scene
from torch import Tensor

from meshreg.losses import terms
from meshreg.losses.dsr import dsr_c, dsr_mc, silhouette
from meshreg.losses.dsr_paper import FOCAL_PX
from meshreg.losses.dsr_render import SemanticRenderer
from meshreg.losses.dsr_target import semantic_target
from meshreg.losses.dsr_terms import LabelledView, SemanticWeights, paper_terms, semantic_terms
from meshreg.render.rasterizer import rasterizer

TRUNK = [3, 6, 9, 12, 13, 14]
ONE = SemanticWeights(dsr_mc=1.0, dsr_c=1.0, silhouette=1.0, outside=1.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    torch.manual_seed(5)
    return make_scene(batch=6, side=64)


def energy_of(scene: Scene, loss: Callable, style: str = "edge") -> Callable[[Tensor], Tensor]:
    """The loss of the posed bodies' vertices against the true pose's labels."""
    renderer = SemanticRenderer(
        body=scene.body, prior=scene.prior, rasterizer=rasterizer(), style=style
    )
    target = semantic_target(scene.labels(scene.posed(scene.pose).vertices))
    return lambda vertices: loss(renderer(vertices, scene.K, scene.size, target.visible), target)


# How much steeper the gradient may be than the loss: exactly 1 but for the logarithm on outlines.
SLOPES = [
    (dsr_mc, "edge", (0.9, 1.15)),
    (silhouette, "edge", (0.9, 1.15)),
    (dsr_c, "edge", (2.0, 7.0)),
    (dsr_mc, "soft", (0.85, 1.1)),
    (silhouette, "soft", (0.95, 1.05)),
    (dsr_c, "soft", (0.85, 1.1)),
]


@pytest.mark.parametrize(("loss", "style", "bounds"), SLOPES)
def test_slopes_against_differences(scene: Scene, loss, style: str, bounds: tuple) -> None:
    """Shift the bodies from 2 to 4 pixels beside their labels; compare rise and mean slope."""
    energy = energy_of(scene, loss, style)
    vertices = scene.posed(scene.pose).vertices
    pixel = DEPTH / float(scene.K[0, 0, 0])
    for axis in (0, 1):
        direction = torch.eye(3)[axis] * pixel

        def at(shift_px: float, direction: Tensor = direction) -> tuple[float, float]:
            shift = torch.tensor(shift_px, requires_grad=True)
            value = energy(vertices + shift * direction)
            return value.item(), float(torch.autograd.grad(value, shift)[0])

        rise = at(4.0)[0] - at(2.0)[0]
        slope = sum(at(2 + (i + 0.5) / 6)[1] for i in range(12)) / 12
        assert rise > 0 and bounds[0] < 2 * slope / rise < bounds[1], axis


def descend(scene: Scene, energy: Callable, start: Tensor, free: Tensor, steps: int) -> Tensor:
    pose = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([pose], lr=0.02)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        optimizer.zero_grad()
        mixed = torch.where(free, pose, pose.detach())
        energy(scene.posed(mixed).vertices).backward()
        optimizer.step()
    return pose.detach()


@pytest.mark.parametrize(
    ("loss", "joints", "noise", "falls_to"),
    [
        (dsr_c, [*range(20)], 0.2, 0.7),
        (dsr_mc, TRUNK, 0.1, 0.85),
        (silhouette, [*range(20)], 0.2, 0.75),
    ],
)
def test_bodies_are_pulled_onto_their_labels(
    scene: Scene, loss, joints: list[int], noise: float, falls_to: float
) -> None:
    free = torch.zeros(1, 24, 1, dtype=torch.bool)
    free[:, joints] = True
    start = scene.pose + free * torch.randn_like(scene.pose) * noise
    energy = energy_of(scene, loss)
    found = descend(scene, energy, start, free, steps=40)
    with torch.no_grad():
        before, after, best = (
            energy(scene.posed(pose).vertices).item() for pose in (start, found, scene.pose)
        )
    assert after - best < 0.5 * (before - best)
    assert scene.joint_error_mm(found) < falls_to * scene.joint_error_mm(start)


# --- as the training step asks for them ---------------------------------------------------------


def test_terms_of_a_step(scene: Scene) -> None:
    renderer = SemanticRenderer(body=scene.body, prior=scene.prior, rasterizer=rasterizer())
    calls = []
    renderer.register_forward_hook(lambda *_: calls.append(1))
    labels = scene.labels(scene.posed(scene.pose).vertices)
    view = LabelledView(labels=labels, K=scene.K, weight=torch.ones(6))
    vertices = scene.posed(scene.pose).vertices.requires_grad_()
    for weights, times in [(ONE, 1), (SemanticWeights(0.0, 0.0, 0.0, 1.0), 0)]:
        loss, parts = terms.total(semantic_terms(renderer, vertices, view, weights))
        loss.backward()
        assert len(calls) == times, "one picture for all terms, and none if none counts"
        calls.clear()
    assert set(parts) == {"outside"} and parts["outside"] < 1e-3
    _, parts = terms.total(semantic_terms(renderer, vertices, view, ONE))
    assert parts["silhouette"] < 0.01, "thinned labels and picture agree"
    beside = vertices.detach() + torch.tensor([0.3, 0.0, 0.0])
    _, moved = terms.total(semantic_terms(renderer, beside, view, ONE))
    assert all(moved[name] > parts[name] + 1e-3 for name in moved)


def test_a_step_without_any_label(scene: Scene) -> None:
    renderer = SemanticRenderer(body=scene.body, prior=scene.prior, rasterizer=rasterizer())
    vertices = scene.posed(scene.pose).vertices.requires_grad_()
    for label in (0, 255):
        labels = torch.full((6, 64, 64), label, dtype=torch.uint8)
        view = LabelledView(labels=labels, K=scene.K, weight=torch.ones(6))
        loss, _ = terms.total(semantic_terms(renderer, vertices, view, ONE))
        (gradient,) = torch.autograd.grad(loss, vertices)
        assert loss.item() == 0.0 and not gradient.any()


def test_the_released_terms_of_a_step(scene: Scene) -> None:
    """At the released camera: some 50 m away, 224 pixels."""
    truth = scene.posed(scene.pose).vertices[:2]
    far = 2 * FOCAL_PX / 224 / 0.9
    truth = truth + torch.tensor([0.0, 0.0, far - DEPTH])
    K = torch.tensor([[FOCAL_PX, 0.0, 111.5], [0.0, FOCAL_PX, 111.5], [0.0, 0.0, 1.0]])
    K = K.expand(2, 3, 3).contiguous()
    labels = scene.labels(truth, K, (224, 224))
    view = LabelledView(labels=labels, K=K, weight=torch.ones(2))
    face_probs = scene.prior.per_face(scene.body.faces)
    weights = SemanticWeights(dsr_mc=1.0, dsr_c=1.0, silhouette=0.0)
    losses = []
    for shift in (0.0, 0.1):
        moved = (truth + torch.tensor([shift, 0.0, 0.0])).requires_grad_()
        step = paper_terms(rasterizer(), moved, scene.body.faces, view, face_probs, weights)
        loss, parts = terms.total(step)
        (gradient,) = torch.autograd.grad(loss, moved)
        assert torch.isfinite(gradient).all() and gradient.any()
        assert set(parts) == {"dsr_mc", "dsr_c"}
        assert 1.274 < parts["dsr_c"] < math.log(8) + 0.1
        losses.append(parts)
    assert losses[0]["dsr_mc"] > 0.5, "rows without skin count as wrong at the true pose"
    assert all(losses[1][name] > losses[0][name] for name in losses[0])
