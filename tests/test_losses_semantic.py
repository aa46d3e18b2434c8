"""Losses on rendered masks and parts against values worked out by hand and brute force."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.losses.semantic import (
    PART_OF_LABEL,
    PARTS,
    LabelTarget,
    label_target,
    mask_mismatch,
    outside_distance,
    part_mismatch,
    soft_parts,
)

PERSON, UNKNOWN = 254, 255


def target_of(labels: Tensor, outside_px: Tensor | None = None) -> LabelTarget:
    person = ((labels > 0) & (labels != UNKNOWN)).float()
    return label_target(
        labels, person, torch.zeros_like(person) if outside_px is None else outside_px
    )


def test_the_weight_of_every_label() -> None:
    labels = torch.tensor([[*range(20), UNKNOWN]])
    weight = target_of(labels).weight[0]
    cloth, hair = {5, 6, 7, 9, 12}, {1, 2, 4, 11}
    for label in range(20):
        expected = 0.15 if label in cloth else 0.1 if label in hair else 1.0
        assert weight[label] == pytest.approx(expected), label
    assert weight[20] == 0.0
    assert target_of(torch.tensor([[PERSON]])).weight.item() == 1.0, "a silhouette without labels"


def test_the_part_of_every_label() -> None:
    labels = torch.tensor([[*range(20), UNKNOWN]])
    part = target_of(labels).part[0].tolist()
    for label, index in zip([*range(20), UNKNOWN], part, strict=True):
        assert index == (PARTS.index(PART_OF_LABEL[label]) if label in PART_OF_LABEL else -1)
    sides = {14: "left_arm", 15: "right_arm", 16: "left_leg", 17: "right_leg"}
    assert all(PARTS[part[label]] == name for label, name in sides.items())


def test_mask_mismatch_by_hand() -> None:
    labels = torch.tensor([[0, 5, 14], [2, UNKNOWN, 14]])
    alpha = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]]])
    wrong = 1.0 * 1 + 0.15 * 1 + 1.0 * 0.25 + 0.1 * 1 + 0.0 + 0.0
    assert mask_mismatch(alpha, target_of(labels)).tolist() == pytest.approx([wrong / 4])


def test_unknown_pixels_say_nothing() -> None:
    labels = torch.tensor([[5, UNKNOWN], [0, UNKNOWN]])
    alpha = torch.rand(3, 2, 2, requires_grad=True)
    parts = torch.rand(3, 2, 2, len(PARTS), requires_grad=True)
    target = target_of(labels)
    (mask_mismatch(alpha, target) + part_mismatch(parts, target)).sum().backward()
    assert not alpha.grad[:, :, 1].any() and alpha.grad[:, :, 0].all()
    assert not parts.grad.any(), "no bare skin, no opinion on parts"


def test_shares_of_pixels_are_compared_as_shares() -> None:
    person = torch.tensor([[0.25, 1.0]])
    target = label_target(torch.tensor([[14, 14]]), person, torch.zeros(1, 2))
    assert mask_mismatch(person[None], target).item() == 0.0
    alpha = torch.tensor([[[1.0, 1.0]]])
    assert mask_mismatch(alpha, target).item() == pytest.approx(0.75**2 / 1.25)


def test_part_mismatch_by_hand() -> None:
    labels = torch.tensor([[14, 15, 5, 0]])
    parts = torch.zeros(2, 1, 4, len(PARTS))
    parts[0, 0, 0, PARTS.index("left_arm")] = 0.7
    parts[0, 0, 1, PARTS.index("left_arm")] = 1.0  # wrong side
    parts[1, 0, 0, PARTS.index("left_arm")] = 1.0
    parts[1, 0, 1, PARTS.index("right_arm")] = 1.0
    expected = [(0.3**2 + 1.0) / 3, 0.0]
    assert part_mismatch(parts, target_of(labels)).tolist() == pytest.approx(expected)


def test_losses_of_an_empty_label_map_are_finite() -> None:
    target = target_of(torch.zeros(3, 4, dtype=torch.int64))
    alpha = torch.ones(1, 3, 4)
    assert mask_mismatch(alpha, target).item() == 12.0
    assert part_mismatch(torch.ones(1, 3, 4, len(PARTS)), target).item() == 0.0


# --- distance of vertices from the mask ---------------------------------------------------------


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> Tensor:
    """Distance in pixels of every pixel from a disc."""
    y, x = torch.meshgrid(*(torch.arange(n).float() for n in size), indexing="ij")
    return (torch.hypot(x - centre[0], y - centre[1]) - radius).clamp_min(0)


def interpolated(image: np.ndarray, x: float, y: float) -> float:
    """Bilinear interpolation between pixel centres; beyond the outermost ones their value."""
    x, y = np.clip(x, 0, image.shape[1] - 1), np.clip(y, 0, image.shape[0] - 1)
    left, top = min(int(x), image.shape[1] - 2), min(int(y), image.shape[0] - 2)
    rows = image[top : top + 2, left : left + 2] @ [1 - (x - left), x - left]
    return float(rows @ [1 - (y - top), y - top])


def test_outside_distance_against_brute_force() -> None:
    labels = torch.zeros(20, 30, dtype=torch.int64)
    target = target_of(labels, disc((20, 30), (12.0, 8.0), 3.0))
    points = torch.rand(2, 40, 2) * torch.tensor([36.0, 26.0]) - 3
    found = outside_distance(points, target, scale_px=10.0)
    image = target.outside_px.double().numpy()
    for body in range(2):
        squares = []
        for x, y in points[body].tolist():
            inside = -0.5 < x < 29.5 and -0.5 < y < 19.5
            squares.append((interpolated(image, x, y) / 10) ** 2 if inside else 0.0)
        assert float(found[body]) == pytest.approx(np.mean(squares), rel=1e-4)


def test_outside_distance_pulls_towards_the_mask() -> None:
    target = target_of(torch.zeros(60, 80, dtype=torch.int64), disc((60, 80), (40.0, 30.0), 5.0))
    angle = torch.arange(12) * (2 * math.pi / 12)
    away = torch.stack([angle.cos(), angle.sin()], -1)
    points = (torch.tensor([40.0, 30.0]) + 20 * away)[None].requires_grad_()
    loss = outside_distance(points, target, scale_px=10.0)
    loss.sum().backward()
    assert float(loss.detach()) == pytest.approx(1.5**2, rel=0.02)
    direction = torch.cosine_similarity(points.grad[0], away)
    assert (direction > 0.99).all(), "downhill is towards the disc"
    on_it = torch.tensor([[[40.0, 30.0], [100.0, 30.0], [-5.0, 2.0]]], requires_grad=True)
    loss = outside_distance(on_it, target, scale_px=10.0)
    loss.sum().backward()
    assert loss.item() == 0.0 and not on_it.grad.any()


# --- parts of the body --------------------------------------------------------------------------


def test_vertices_belong_to_parts_of_their_own_side() -> None:
    body = load_body()
    parts = soft_parts(body.weights, SKELETONS["smpl24"].joints)
    torch.testing.assert_close(parts.sum(1), torch.ones(len(parts)), atol=1e-4, rtol=0)
    assert (parts >= 0).all()
    centre = {
        name: (parts[:, i, None] * body.v_template).sum(0) / parts[:, i].sum()
        for i, name in enumerate(PARTS)
    }
    assert centre["left_arm"][0] > 0.2 and centre["right_arm"][0] < -0.2
    assert centre["left_leg"][0] > 0.03 and centre["right_leg"][0] < -0.03
    assert centre["head"][1] > centre["torso"][1] > centre["left_leg"][1]


def test_the_part_of_every_joint() -> None:
    names = SKELETONS["smpl24"].joints
    part = [PARTS[i] for i in soft_parts(torch.eye(24), names).argmax(1).tolist()]
    members = {p: {n for n, q in zip(names, part, strict=True) if p == q} for p in PARTS}
    assert members["head"] == {"head"}
    assert members["torso"] == {
        *("pelvis", "spine1", "spine2", "spine3", "neck", "left_collar", "right_collar")
    }
    for side in ("left", "right"):
        arm, leg = ("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")
        assert members[f"{side}_arm"] == {f"{side}_{joint}" for joint in arm}
        assert members[f"{side}_leg"] == {f"{side}_{joint}" for joint in leg}
