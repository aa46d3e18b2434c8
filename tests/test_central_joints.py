"""Spine, thorax, jaw and head out of COCO's joints."""

import numpy as np
import pytest
import torch
from lift_people import walk

from meshreg.body.skeleton import mirrored_name, skeleton
from meshreg.data.central_joints import GROUPS, central_joints, rules

COCO, H36M = skeleton("coco17"), skeleton("h36m17")
CENTRAL = ("spine_h36m", "thorax", "jaw_h36m", "head_h36m")
PX_PER_METRE = 139  # of the walking person
Table = dict[str, np.ndarray]


def people(points: np.ndarray | None = None) -> tuple[Table, Table]:
    """The walking person's joints by name, all seen."""
    table = walk(8).coco_px.numpy() if points is None else points
    named = {name: table[:, place].astype(float) for place, name in enumerate(COCO.joints)}
    return named, {name: np.full(len(table), 0.9) for name in named}


def test_weights_sum_to_one_and_use_what_is_seen() -> None:
    for rule in rules():
        assert set(rule.weights) == set(CENTRAL)
        for shares in rule.weights.values():
            assert sum(shares.values()) == pytest.approx(1, abs=1e-9)
            assert set(shares) <= {*rule.seen, "shoulders", "hips"}
    assert rules()[-1].seen == ()  # whatever is seen, one applies


def test_a_joint_is_the_weighted_sum_of_the_first_rule() -> None:
    points, confidence = people()
    found, sure, used = central_joints(points, confidence)
    assert (used == 0).all()
    for joint, shares in rules()[0].weights.items():
        wanted = np.zeros((8, 2))
        for group, share in shares.items():
            for name in GROUPS[group]:
                wanted += share / len(GROUPS[group]) * points[name]
        np.testing.assert_allclose(found[joint], wanted)
        np.testing.assert_allclose(sure[joint], 0.9)


def test_they_are_near_the_bodys_own() -> None:
    found, _, _ = central_joints(*people())
    truth = walk(8).h36m_px.numpy()
    for joint in CENTRAL:
        error = np.linalg.norm(found[joint] - truth[:, H36M.index(joint)[0]], axis=1)
        assert error.max() < 0.04 * PX_PER_METRE, joint


def test_they_turn_and_mirror_with_the_person() -> None:
    """Any picture of a plane: turned, squeezed, moved; and left for right."""
    points, confidence = people()
    squeeze, shift = np.array([[0.9, -0.4], [0.1, 1.3]]), np.array([20.0, -7.0])
    found, _, _ = central_joints(points, confidence)
    moved, _, _ = central_joints({n: p @ squeeze.T + shift for n, p in points.items()}, confidence)
    mirrored = {name: points[mirrored_name(name)] * [-1, 1] for name in points}
    flipped, _, _ = central_joints(mirrored, confidence)
    for joint in CENTRAL:
        np.testing.assert_allclose(moved[joint], found[joint] @ squeeze.T + shift, atol=1e-9)
        np.testing.assert_allclose(flipped[joint], found[joint] * [-1, 1], atol=1e-9)


def test_what_is_not_seen_has_no_influence() -> None:
    points, confidence = people()
    for name in ("nose", "left_eye", "right_eye"):
        confidence[name] = confidence[name] * (np.arange(8) >= 4)
        points[name][:4] = 1e6
    confidence["left_ear"][2] = 0.0
    points["left_ear"][2] = -1e6
    found, sure, used = central_joints(points, confidence)
    by_ears = next(n for n, rule in enumerate(rules()) if rule.seen == ("ears",))
    assert used.tolist() == [by_ears] * 4 + [0] * 4
    truth = walk(8).h36m_px.numpy()
    for joint in CENTRAL:
        error = np.linalg.norm(found[joint] - truth[:, H36M.index(joint)[0]], axis=1)
        assert error.max() < 0.1 * PX_PER_METRE, joint
        assert (sure[joint] > 0).all()


def test_without_a_hip_there_is_no_confidence() -> None:
    points, confidence = people()
    confidence["left_hip"][3] = 0.0
    _, sure, used = central_joints(points, confidence)
    assert used.tolist() == [-1 if frame == 3 else 0 for frame in range(8)]
    for joint in CENTRAL:
        assert (sure[joint] > 0).tolist() == [frame != 3 for frame in range(8)]


def test_a_detectors_errors_do_not_grow() -> None:
    """Each joint trembles by 1; a joint that is built may tremble by little more."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 17, 2, generator=generator).numpy()
    found, _, _ = central_joints(*people(noise))
    for joint in CENTRAL:
        assert found[joint].std() < 1.5, joint
