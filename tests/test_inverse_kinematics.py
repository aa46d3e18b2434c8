"""From joints to poses: there and back, against a plain twin, against reference numbers."""

import time
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.inverse_kinematics import SolvedPose, solve_pose
from meshreg.body.joint_placing import place_joints
from meshreg.body.kinematics import joint_positions, offsets_of, world_rotations
from meshreg.body.ortho_twists import LEAVES, TURNED, pose_twists, rest_twists
from meshreg.body.rest_skeleton import PARENTS, RestSkeleton
from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from tests.joint_people import people, reference_skeleton
from tests.reference import inverse_kinematics as reference

CASES = ("exact", "noisy", "noisy_raw_twist")


@pytest.fixture(scope="module")
def skeleton() -> RestSkeleton:
    return RestSkeleton.of(load_body()).like(torch.zeros((), dtype=torch.float64))


@pytest.fixture(scope="module")
def ik(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "perspose" / "ik.pt", weights_only=True)


def people_again(
    skeleton: RestSkeleton, p: dict[str, Tensor], solved: SolvedPose
) -> dict[str, Tensor]:
    offsets = offsets_of(p["rest"], PARENTS)
    offsets[:, 0] += solved.transl
    joints = joint_positions(world_rotations(solved.pose_rotmat, PARENTS), offsets, PARENTS)
    return p | {"pose": solved.pose_rotmat, "transl": solved.transl, "joints": joints}


def solve(skeleton: RestSkeleton, p: dict[str, Tensor]) -> SolvedPose:
    return solve_pose(
        skeleton, p["joints"], p["betas"], twists=p["twists"], leaf_rotmat=p["leaves"]
    )


def angles(first: Tensor, second: Tensor) -> Tensor:
    return roma.rotmat_geodesic_distance(first, second)


def test_true_joints_and_twists_give_the_pose_back(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 200)
    found = solve(skeleton, p)
    assert angles(found.pose_rotmat, p["pose"]).max() < 1e-6
    torch.testing.assert_close(found.pose_rotmat, p["pose"], atol=1e-9, rtol=0)
    assert (found.transl - p["transl"]).norm(dim=-1).max() < 3e-5
    assert (found.joints - p["joints"]).norm(dim=-1).max() < 1e-9


def test_single_precision_loses_little(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 100)
    found = solve(skeleton, {name: value.float() for name, value in p.items()})
    assert found.pose_rotmat.dtype == torch.float32
    posed = people_again(skeleton, p, SolvedPose(*(x.double() for x in vars(found).values())))
    assert (posed["joints"] - p["joints"]).norm(dim=-1).max() < 3e-5


def test_a_moved_and_turned_skeleton_gives_the_moved_and_turned_body(
    skeleton: RestSkeleton,
) -> None:
    p = people(skeleton, 20)
    p["joints"] = p["joints"] + 0.02 * torch.randn_like(p["joints"])
    R, shift = (
        roma.random_rotmat(20, dtype=torch.float64),
        torch.randn(20, 1, 3, dtype=torch.float64),
    )
    turned = p | {
        "joints": p["joints"] @ R.mT + shift,
        "twists": p["twists"] @ R.mT,
    }
    first, second = solve(skeleton, p), solve(skeleton, turned)
    torch.testing.assert_close(second.joints, first.joints @ R.mT + shift)
    torch.testing.assert_close(second.pose_rotmat[:, 1:], first.pose_rotmat[:, 1:])
    torch.testing.assert_close(second.pose_rotmat[:, 0], R @ first.pose_rotmat[:, 0])


def test_bones_keep_their_lengths_and_the_pose_reaches_the_placed_joints(
    skeleton: RestSkeleton,
) -> None:
    p = people(skeleton, 50)
    p["joints"] = p["joints"] + 0.03 * torch.randn_like(p["joints"])
    found = solve(skeleton, p)
    lengths = [offsets_of(j, PARENTS)[:, 1:].norm(dim=-1) for j in (found.joints, p["rest"])]
    torch.testing.assert_close(*lengths)
    posed = people_again(skeleton, p, found)["joints"]
    torch.testing.assert_close(posed, found.joints)
    identity = torch.eye(3, dtype=torch.float64).expand_as(found.pose_rotmat)
    torch.testing.assert_close(found.pose_rotmat @ found.pose_rotmat.mT, identity)


def test_without_twists_the_joints_are_reached_all_the_same(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 50)
    found = solve_pose(skeleton, p["joints"], p["betas"])
    posed = people_again(skeleton, p, found)["joints"]
    torch.testing.assert_close(posed, p["joints"], atol=1e-9, rtol=0)
    rest = solve_pose(skeleton, p["rest"], p["betas"])
    identity = torch.eye(3, dtype=torch.float64).expand_as(rest.pose_rotmat)
    torch.testing.assert_close(rest.pose_rotmat, identity, atol=1e-9, rtol=0)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_the_plain_twin(skeleton: RestSkeleton, noise: float) -> None:
    p = people(skeleton, 10)
    p["joints"] = p["joints"] + noise * torch.randn_like(p["joints"])
    p["twists"] = p["twists"] + 4 * noise * torch.randn_like(p["twists"])
    found = solve(skeleton, p)
    rows = [p[name].numpy() for name in ("rest", "joints", "twists", "leaves")]
    for body, row in enumerate(zip(*rows, strict=True)):
        pose, transl, joints = reference.solve(*row)
        np.testing.assert_allclose(found.joints[body], joints, atol=1e-8)
        np.testing.assert_allclose(found.pose_rotmat[body], pose, atol=2e-6)
        np.testing.assert_allclose(found.transl[body], transl, atol=1e-8)


def test_the_plain_twin_in_the_picture_plane(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 10)
    seen = p["joints"] + 0.02 * torch.randn_like(p["joints"])
    found = place_joints(p["rest"], seen, max_drift=None, keep_xy=True).joints
    for body in range(10):
        joints, _, _ = reference.place(
            p["rest"][body].numpy(), seen[body].numpy(), max_drift=None, keep_xy=True
        )
        np.testing.assert_allclose(found[body], joints, atol=1e-7)


@pytest.mark.parametrize("case", CASES)
def test_reference_numbers(ik: dict, case: str) -> None:
    inputs, expected, skeleton = ik[case], ik[case]["f64"], reference_skeleton(ik)
    found = solve_pose(
        skeleton,
        inputs["joints"],
        expected["beta"],
        twists=inputs["ortho_twist"],
        leaf_rotmat=ik["leaf_rot"].unflatten(2, (3, 3)),
    )
    assert (found.joints - expected["joints_final_mode"]).abs().max() < 5e-5
    assert (found.pose_rotmat - expected["theta"]).abs().max() < 7e-4
    assert (found.transl - expected["transl"]).abs().max() < 5e-5
    rest = skeleton.joints(expected["beta"])
    flat = place_joints(rest, inputs["joints"], max_drift=None, keep_xy=True)
    assert (flat.joints - expected["joints_xy_mode"]).abs().max() < 5e-4  # roots of small numbers
    assert (found.pose_rotmat[:, 0] - expected["root_R"]).abs().max() < 7e-4


def test_reference_poses_to_the_last_digit(ik: dict) -> None:
    skeleton = reference_skeleton(ik)
    rest = skeleton.joints(ik["beta_true"])
    assert ik["leaf_joints"].tolist() == list(LEAVES) and ik["parents"].tolist() == list(PARENTS)
    torch.testing.assert_close(rest, ik["rest_joints_at_beta_true"])
    torch.testing.assert_close(rest_twists(rest)[:, 4:], ik["rest_twist_at_beta_true"][:, 4:])
    twists, turned = pose_twists(ik["theta_true"], rest), list(TURNED)
    torch.testing.assert_close(twists[:, turned], ik["ortho_twist_true"][:, turned])
    found = solve_pose(
        skeleton,
        ik["joints_true"],
        ik["beta_true"],
        twists=ik["ortho_twist_true"],
        leaf_rotmat=ik["leaf_rot"].unflatten(2, (3, 3)),
    )
    torch.testing.assert_close(found.pose_rotmat, ik["theta_true"], atol=1e-10, rtol=0)
    torch.testing.assert_close(found.transl, ik["transl_true"], atol=1e-10, rtol=0)


def test_batches_of_any_shape(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 6)
    whole = solve(skeleton, p)
    for shape in ((2, 3), (3, 2), (1, 6)):
        some = {name: value.unflatten(0, shape) for name, value in p.items()}
        found = solve(skeleton, some).pose_rotmat.flatten(0, 1)
        torch.testing.assert_close(found, whole.pose_rotmat)
    one = solve(skeleton, {name: value[2] for name, value in p.items()})
    torch.testing.assert_close(one.pose_rotmat, whole.pose_rotmat[2])
    # Three bodies are no axis of vectors.
    three = solve(skeleton, {name: value[:3] for name, value in p.items()})
    torch.testing.assert_close(three.pose_rotmat, whole.pose_rotmat[:3])
    none = solve(skeleton, {name: value[:0] for name, value in p.items()})
    assert none.pose_rotmat.shape == (0, 24, 3, 3)


@pytest.mark.parametrize("has_twists", [True, False])
def test_gradients(skeleton: RestSkeleton, has_twists: bool) -> None:
    p = people(skeleton, 1)
    seen = p["joints"] + 0.004 * torch.randn_like(p["joints"])
    seen, twists, betas, leaves = (
        x.clone().requires_grad_() for x in (seen, p["twists"], p["betas"], p["leaves"])
    )

    def solved(seen: Tensor, twists: Tensor, betas: Tensor, leaves: Tensor) -> tuple:
        found = solve_pose(
            skeleton,
            seen,
            betas,
            twists=twists if has_twists else None,
            leaf_rotmat=leaves,
        )
        return found.pose_rotmat, found.transl, found.joints

    assert torch.autograd.gradcheck(solved, (seen, twists, betas, leaves), fast_mode=True)


def test_gradients_are_finite_where_nothing_is_defined(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 2)
    joints = p["joints"].clone()
    joints[0] = joints[0, :1]  # all in one point
    joints[1, 20] = joints[1, 18]
    joints.requires_grad_()
    twists = torch.zeros_like(p["twists"], requires_grad=True)
    found = solve_pose(skeleton, joints, p["betas"], twists=twists)
    (found.pose_rotmat.sum() + found.transl.sum()).backward()
    assert joints.grad is not None and twists.grad is not None
    assert found.pose_rotmat.isfinite().all()
    assert joints.grad.isfinite().all() and twists.grad.isfinite().all()


def test_descent_through_the_solver_finds_a_target(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 1, reach=0.2)
    joints = (p["joints"] + 0.05 * torch.randn_like(p["joints"])).requires_grad_()
    optimiser = torch.optim.Adam([joints], lr=0.005)
    errors = []
    for _ in range(60):
        found = solve_pose(skeleton, joints, p["betas"], twists=p["twists"])
        error = (found.joints - p["joints"]).square().sum()
        errors.append(float(error.detach()))
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert errors[-1] < 0.02 * errors[0]


def test_bad_input_is_refused_in_one_sentence(skeleton: RestSkeleton) -> None:
    p = people(skeleton, 3)
    joints = p["joints"].clone()
    joints[1, 18, 2] = torch.nan
    with pytest.raises(InputError, match="left_elbow is not finite"):
        solve_pose(skeleton, joints, p["betas"])
    betas = torch.zeros(3, skeleton.num_betas + 1, dtype=torch.float64)
    with pytest.raises(InputError, match=r"11 betas were given, but this body has 10 shape"):
        solve_pose(skeleton, p["joints"], betas)


@pytest.mark.slow
def test_five_thousand_bodies_per_second(skeleton: RestSkeleton) -> None:
    p = {name: value.float() for name, value in people(skeleton, 1000).items()}
    solve(skeleton, p)
    start = time.perf_counter()
    solve(skeleton, p)
    assert 1000 / (time.perf_counter() - start) > 5000
