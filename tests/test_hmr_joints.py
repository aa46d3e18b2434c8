"""The terms of joints: what people annotated counts as much as it is known, and no more."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from plain_people import plain_body, plain_people

from meshreg.body.annotated import AnnotatedJoints
from meshreg.body.smpl import BodyOutput
from meshreg.data.sample import KEYPOINTS, Batch
from meshreg.geometry.cameras import project
from meshreg.losses.terms import total
from meshreg.train.hmr_config import LossConfig
from meshreg.train.hmr_joints import JointTerms
from meshreg.train.hmr_terms import HmrTerms

KNEE, HIP, UNKNOWN = KEYPOINTS.index("left_knee_lsp", "right_hip_lsp", "pelvis_mpii")


@pytest.fixture(scope="module")
def drawn() -> Batch:
    """Two drawn people, of whom this file forgets everything but annotations."""
    return plain_people(size=64).render(range(2))


def photographs(drawn: Batch) -> tuple[Batch, BodyOutput, torch.Tensor]:
    """People of whom only correct annotations are known, their bodies, and the 49 joints."""
    body = plain_body()
    posed = body(drawn.betas, drawn.pose_rotmat, drawn.transl)
    points = AnnotatedJoints(body)(posed.vertices, posed.joints)
    batch = replace(
        drawn,
        joints_visible=torch.zeros_like(drawn.joints_visible),
        joints_weight=torch.zeros_like(drawn.joints_weight),
        keypoints_px=project(points, drawn.K),
        keypoints_weight=torch.ones(2, 49),
        keypoints_cam=points + torch.tensor([1.0, -2.0, 3.0]),  # from any origin
        keypoints_cam_weight=torch.ones(2, 49),
    )
    return batch, posed, points


def with_change(batch: Batch, name: str, joint: int, by: list[float]) -> Batch:
    values = getattr(batch, name).clone()
    values[0, joint] += torch.tensor(by)
    return replace(batch, **{name: values})


def with_weight(batch: Batch, name: str, joint: int, weight: float) -> Batch:
    values = getattr(batch, name).clone()
    values[0, joint] = weight
    return replace(batch, **{name: values})


def test_right_annotations_of_a_body_leave_no_error(drawn: Batch) -> None:
    batch, posed, _ = photographs(drawn)
    terms = JointTerms(plain_body(), "absolute")
    assert float(terms.in_picture(posed, batch)) < 1e-5
    assert float(terms.in_space(posed, batch)) < 1e-5


def test_a_wrong_keypoint_counts_by_its_weight(drawn: Batch) -> None:
    batch, posed, _ = photographs(drawn)
    terms = JointTerms(plain_body(), "absolute")
    wrong = with_change(batch, "keypoints_px", KNEE, [6.0, -2.0])
    known = 2 * 49 - 2 * 2  # two of SPIN's joints are nowhere on the built-in body
    by_hand = (6 + 2) / 32 / known
    assert float(terms.in_picture(posed, wrong)) == pytest.approx(by_hand, rel=1e-3)
    half = with_weight(wrong, "keypoints_weight", KNEE, 0.5)
    by_hand = 0.5 * (6 + 2) / 32 / (known - 0.5)
    assert float(terms.in_picture(posed, half)) == pytest.approx(by_hand, rel=1e-3)


def test_a_wrong_point_counts_from_the_middle_of_the_others(drawn: Batch) -> None:
    batch, posed, _ = photographs(drawn)
    terms = JointTerms(plain_body(), "absolute")
    wrong = with_change(batch, "keypoints_cam", HIP, [0.0, 0.0, 0.47])
    # The middle of the 47 moves by a 47th; it is that far off for the other 46.
    by_hand = (0.46 + 46 * 0.01) / 94
    assert float(terms.in_space(posed, wrong)) == pytest.approx(by_hand, rel=1e-3)


@pytest.mark.parametrize("garbage", [50.0, float("nan"), float("inf")])
@pytest.mark.parametrize("joint", [KNEE, UNKNOWN])
def test_what_is_not_known_changes_nothing(drawn: Batch, joint: int, garbage: float) -> None:
    """Neither joints of weight zero nor those that the body lacks, not even in the gradient."""
    batch, posed, _ = photographs(drawn)
    terms = JointTerms(plain_body(), "squared")
    for name, weight in (
        ("keypoints_px", "keypoints_weight"),
        ("keypoints_cam", "keypoints_cam_weight"),
    ):
        width = getattr(batch, name).shape[-1]
        if joint == KNEE:
            batch = with_weight(batch, weight, joint, 0.0)
        batch = with_change(batch, name, joint, [garbage] * width)
    joints = posed.joints.clone().requires_grad_()
    changed = replace(posed, joints=joints + 0.01)
    loss = terms.in_picture(changed, batch) + terms.in_space(changed, batch)
    loss.backward()
    assert float(loss.detach()) < 1.0 and joints.grad is not None and joints.grad.isfinite().all()


def test_derivatives(drawn: Batch) -> None:
    batch, posed, _ = photographs(drawn)
    batch = with_change(batch, "keypoints_px", KNEE, [6.0, -2.0])
    batch = with_change(batch, "keypoints_cam", KNEE, [0.1, 0.2, -0.3])
    terms = JointTerms(plain_body(), "squared").double()
    kept = {n: v.double() for n, v in vars(batch).items() if v.is_floating_point()}
    batch, vertices = replace(batch, **kept), posed.vertices.double()
    start = posed.joints.double()
    rows = torch.nn.functional.normalize(torch.randn(4, *start.shape, dtype=torch.float64), dim=-1)

    def loss(along: torch.Tensor) -> torch.Tensor:
        joints = start + 0.01 * (along[:, None, None, None] * rows).sum(0)
        here = replace(posed, vertices=vertices, joints=joints)
        return terms.in_picture(here, batch) + terms.in_space(here, batch)

    assert torch.autograd.gradcheck(loss, (torch.rand(4).double().requires_grad_(),))


def test_the_loss_of_a_regressor_holds_both(drawn: Batch) -> None:
    batch, _, _ = photographs(drawn)
    cam = torch.ones(2, 3)
    truth = SimpleNamespace(
        betas=batch.betas, pose_rotmat=batch.pose_rotmat, transl=batch.transl, cam=cam
    )
    terms = HmrTerms(LossConfig(), plain_body())

    def parts(of: Batch) -> dict[str, float]:
        named = total(terms(lambda image, **view: truth, of, 0))[1]
        return {name: float(value) for name, value in named.items()}

    right = parts(batch)
    assert max(right[name] for name in ("keypoints2d", "joints3d", "pose", "betas")) < 1e-5
    in_picture = parts(with_change(batch, "keypoints_px", KNEE, [9.0, 9.0]))
    assert {n for n in right if abs(in_picture[n] - right[n]) > 1e-4} == {"keypoints2d"}
    in_space = parts(with_change(batch, "keypoints_cam", KNEE, [0.1, 0.1, 0.1]))
    assert {n for n in right if abs(in_space[n] - right[n]) > 1e-4} == {"joints3d"}


def test_without_annotations_nothing_is_added(drawn: Batch) -> None:
    posed = plain_body()(drawn.betas, drawn.pose_rotmat, drawn.transl)
    moved = replace(posed, joints=posed.joints * torch.tensor([1.0, 1.1, 1.0]))
    terms = JointTerms(plain_body(), "absolute")
    seen = drawn.joints_visible
    error = (project(moved.joints, drawn.K) - drawn.joints_px).abs().sum(-1)[seen].mean() / 32
    torch.testing.assert_close(terms.in_picture(moved, drawn), error)
    own = (moved.joints - moved.joints[:, :1]) - (drawn.joints_cam - drawn.joints_cam[:, :1])
    torch.testing.assert_close(terms.in_space(moved, drawn), own.abs().sum(-1).mean())
