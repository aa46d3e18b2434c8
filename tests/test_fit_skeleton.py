"""Inverse kinematics of a skeleton: a known body comes back, left and right as they were."""

from dataclasses import replace

import pytest
import roma
import torch
from lift_people import SMPL, walk

from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from meshreg.fit.skeleton import H36M, SkeletonFitSettings, fit_skeleton, num_steps

QUICK = SkeletonFitSettings(steps=40, rate=0.06)


def test_a_known_body_is_found_again() -> None:
    truth, body, calls = walk(8), load_body(), []
    fit = fit_skeleton(body, truth.h36m, settings=QUICK, on_step=lambda: calls.append(1))
    assert len(calls) == num_steps(8, QUICK)
    assert fit.error.mean() < 0.008
    assert fit.error.max() < 0.015
    shape = fit.betas.expand(8, -1)
    with torch.no_grad():
        found = body(shape, fit.pose_rotmat, fit.transl)
        there = body(truth.betas.expand(8, -1), truth.pose_rotmat, truth.transl)
    assert (found.vertices - there.vertices).norm(dim=-1).mean() < 0.04
    # Knees and elbows bend about the axes that bend them, the root looks the same way.
    turned = roma.rotmat_geodesic_distance(fit.pose_rotmat, truth.pose_rotmat)
    hinges = SMPL.index("pelvis", "left_knee", "right_knee", "left_elbow", "right_elbow")
    assert torch.rad2deg(turned[:, hinges]).mean() < 15
    rest = torch.stack([found.joints[:, i] for i in SMPL.index("left_hip", "right_hip")], 1)
    assert (rest[:, 0, 0] > rest[:, 1, 0]).all()  # the person looks at the camera


def test_exchanged_sides_turn_the_body_around() -> None:
    joints = walk(8).h36m[:2]
    fit = fit_skeleton(load_body(), joints[:, list(H36M.flip)], settings=QUICK)
    facing = (fit.pose_rotmat[:, 0] @ torch.tensor([0.0, 0.0, 1.0]))[:, 2]
    assert (facing > 0).all()  # away from the camera
    upright = fit_skeleton(load_body(), joints, settings=QUICK)
    assert ((upright.pose_rotmat[:, 0] @ torch.tensor([0.0, 0.0, 1.0]))[:, 2] < 0).all()
    assert fit.error.mean() > 2 * upright.error.mean()  # knees do not bend that way


def test_what_cannot_be_fitted_is_refused() -> None:
    body = load_body()
    broken = walk(8).h36m.clone()
    broken[1, 3] = float("nan")
    for joints in (broken, broken[:0]):
        with pytest.raises(InputError, match="finite joints"):
            fit_skeleton(body, joints)
    assert num_steps(513, replace(QUICK, steps=3)) == 9
