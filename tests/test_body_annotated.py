"""SPIN's 49 joints on a body: each where its name says, by a regressor where there is one."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch
from plain_people import plain_body

from meshreg.body.annotated import ANNOTATED, BODY, AnnotatedJoints
from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.body.smpl import Body


def posed(body: Body) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    pose = roma.rotvec_to_rotmat(0.4 * torch.randn(2, 24, 3, generator=generator))
    return torch.randn(2, 10, generator=generator), pose, torch.tensor([[0.0, 0, 3], [1, 0, 4]])


def test_joints_are_where_regressors_and_joints_put_them() -> None:
    body = plain_body()
    betas, pose, transl = posed(body)
    out = body(betas, pose, transl)
    found = AnnotatedJoints(body)(out.vertices, out.joints)
    for place, name in enumerate(ANNOTATED.joints):
        if place < 25 and name in BODY.joints:
            torch.testing.assert_close(found[:, place], out.joints[:, BODY.index(name)[0]])
    for name, (set_name, theirs) in {
        "right_hip_lsp": ("lsp14", "right_hip_lsp"),
        "left_ankle_lsp": ("lsp14", "left_ankle"),
        "head_top": ("lsp14", "head_top"),
        "left_ear_coco": ("coco17", "left_ear"),
        "jaw_h36m": ("h36m17", "jaw_h36m"),
    }.items():
        expected = BodyKeypoints(body, set_name)(betas, pose, transl)[0]
        there = expected[:, SKELETONS[set_name].index(theirs)[0]]
        torch.testing.assert_close(found[:, ANNOTATED.index(name)[0]], there, atol=1e-5, rtol=0)
    hips = out.joints[:, BODY.index("left_hip", "right_hip")].mean(1)
    torch.testing.assert_close(found[:, ANNOTATED.index("mid_hip")[0]], hips)


def test_sides_are_not_exchanged() -> None:
    """Unposed, the built-in body is its own mirror image."""
    body = plain_body()
    eye = torch.eye(3).expand(1, 24, 3, 3)
    out = body(torch.zeros(1, 10), eye, torch.zeros(1, 3))
    found = AnnotatedJoints(body)(out.vertices, out.joints)[0]
    mirrored = found[list(ANNOTATED.flip)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(found, mirrored, atol=0.012, rtol=0)
    lefts = [i for i, name in enumerate(ANNOTATED.joints) if name.startswith("left_")]
    assert (found[lefts, 0] > 0.015).all()


@pytest.mark.parametrize("has_regressors", [True, False])
def test_what_a_body_cannot_show_is_unknown(has_regressors: bool) -> None:
    body = plain_body()
    if not has_regressors:
        body = Body(replace(body.data, regressors={}))
    joints = AnnotatedJoints(body)
    unknown = {
        name for name, known in zip(ANNOTATED.joints, joints.known, strict=True) if not known
    }
    assert {"pelvis_mpii", "thorax_mpii"} <= unknown
    assert (unknown == {"pelvis_mpii", "thorax_mpii"}) == has_regressors
    if not has_regressors:  # exactly those that no name of the body's own joints means
        found = np.array(map_joints(BODY, ANNOTATED).found)
        assert {n for n, there in zip(ANNOTATED.joints, found, strict=True) if not there} == unknown
    out = body(*posed(body))
    assert not joints(out.vertices, out.joints)[:, joints.known == 0].any()
