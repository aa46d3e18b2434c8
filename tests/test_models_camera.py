"""Weak perspective and full cameras: exact round trips, first order agreement, published values."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.geometry.cameras import project
from meshreg.models.camera import (
    box_condition,
    crop_camera,
    transl_to_weak,
    weak_project,
    weak_to_transl,
)
from tests.released_weights import load

# Pixels that are not square, some skew, and a principal point off the middle
K = torch.tensor([[[900.0, 4.0, 310.0], [0.0, 950.0, 250.0], [0.0, 0.0, 1.0]]]).double()


def views(number: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    scale = torch.rand(number, 1).double() + 0.4
    cam = torch.cat([scale, torch.randn(number, 2).double() * 0.3], 1)
    box = torch.rand(number, 3).double() * torch.tensor([640.0, 480.0, 200.0])
    return cam, box + torch.tensor([0.0, 0.0, 80.0]), K.expand(number, 3, 3)


def test_round_trips_are_exact() -> None:
    cam, box, K_full = views()
    transl = weak_to_transl(cam, box, K_full)
    assert torch.allclose(transl_to_weak(transl, box, K_full), cam, atol=1e-12)
    assert (transl[:, 2] > 0).all()


def test_the_origin_appears_where_the_crop_says() -> None:
    cam, box, K_full = views()
    transl = weak_to_transl(cam, box, K_full)
    origin = torch.zeros(len(cam), 1, 3).double()
    seen = project(transl[:, None], K_full)
    assert torch.allclose(seen, weak_project(origin, cam, box), atol=1e-9)


def test_a_small_body_looks_the_same_through_both_cameras() -> None:
    """Agreement to first order: halving the body quarters the disagreement."""
    cam, box, _ = views()
    square = torch.tensor([[900.0, 0.0, 310.0], [0.0, 900.0, 250.0], [0.0, 0.0, 1.0]]).double()
    K_full = square.expand(len(cam), 3, 3)
    # Seen from the side, depth counts in first order: points of the plane through the origin only.
    body = torch.randn(len(cam), 30, 3).double() * torch.tensor([1.0, 1.0, 0.0])
    transl = weak_to_transl(cam, box, K_full)
    for size in (0.5, 0.05):
        exact = project(size * body + transl[:, None], K_full)
        assert torch.allclose(exact, weak_project(size * body, cam, box), atol=1e-9)
    deep = torch.randn(len(cam), 30, 3).double()
    centred = cam * torch.tensor([1.0, 0.0, 0.0])
    middle = torch.cat([K_full[:, :2, 2], box[:, 2:]], 1)
    transl = weak_to_transl(centred, middle, K_full)
    gaps = [
        (project(s * deep + transl[:, None], K_full) - weak_project(s * deep, centred, middle))
        .norm(dim=-1)
        .mean()
        for s in (0.02, 0.01)
    ]
    assert 3.9 < gaps[0] / gaps[1] < 4.1


def test_published_full_image_conversion() -> None:
    """The formula of CLIFF: a principal point in the middle and square pixels."""
    cam, box, _ = views()
    focal, width, height = 800.0, 640.0, 480.0
    K_full = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]).double()
    s, tx, ty = cam.unbind(1)
    cx, cy, side = box.unbind(1)
    expected = torch.stack(
        [
            tx + 2 * (cx - width / 2) / (side * s),
            ty + 2 * (cy - height / 2) / (side * s),
            2 * focal / (side * s),
        ],
        1,
    )
    found = weak_to_transl(cam, box, K_full.expand(len(cam), 3, 3))
    assert torch.allclose(found, expected, atol=1e-12)


def test_published_crop_camera(reference_fixtures: Path) -> None:
    case = load(reference_fixtures, "head.pt")["geometry"]
    cam = case["weak_cam"]
    K_crop, box = crop_camera(len(cam), 224)
    transl = weak_to_transl(cam, box, K_crop)
    torch.testing.assert_close(transl, case["cam_t"], rtol=1e-6, atol=1e-6)
    seen = project(case["points"] + transl[:, None], K_crop) - K_crop[:, None, :2, 2]
    torch.testing.assert_close(seen, case["proj_px_rel_centre"], rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("scale", [0.0, -0.5])
def test_a_scale_that_no_camera_has_stays_finite(scale: float) -> None:
    cam = torch.tensor([[scale, 0.1, 0.1]], requires_grad=True)
    K_crop, box = crop_camera(1, 224)
    transl = weak_to_transl(cam, box, K_crop)
    transl.sum().backward()
    assert transl.isfinite().all() and transl[0, 2] > 0
    assert cam.grad is not None and cam.grad.isfinite().all()


def test_gradients() -> None:
    cam, box, K_full = (x.clone().requires_grad_() for x in views(3))
    assert torch.autograd.gradcheck(weak_to_transl, (cam, box, K_full))
    transl = weak_to_transl(cam, box, K_full).detach().requires_grad_()
    assert torch.autograd.gradcheck(transl_to_weak, (transl, box, K_full))


def test_the_condition_is_made_of_tangents() -> None:
    _, box, K_full = views()
    condition = box_condition(box, K_full)
    x = (box[:, 0] - 310) / 900
    assert torch.allclose(condition[:, 0], x)
    assert torch.allclose(condition[:, 1], (box[:, 1] - 250) / 950)
    assert torch.allclose(condition[:, 2], box[:, 2] / (900 * 950) ** 0.5)
    # The same picture at twice the size says the same.
    K_twice = K_full * torch.tensor([[2.0], [2.0], [1.0]])
    assert torch.allclose(box_condition(2 * box, K_twice), condition)
