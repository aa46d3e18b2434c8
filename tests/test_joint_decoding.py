"""Metric joints from maps and densities: exact for any camera, and number for number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.body.joint_estimate import FLIP, JointEstimate
from meshreg.body.ortho_twists import LEAVES
from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.geometry.cameras import flip_intrinsics, project
from meshreg.geometry.joint_decoding import (
    EDGES,
    back_projected,
    expected_places,
    joint_densities,
    mean_focal,
)
from meshreg.geometry.ray_map import ray_map
from meshreg.models.perspose import solve_body
from meshreg.models.perspose_heads import (
    OURS,
    RELEASED,
    RawOutput,
    Reading,
    averaged,
    in_camera,
    read,
)

CAMERAS = {
    "square, centred": (600.0, 600.0, 127.5, 127.5, 0.0),
    "far off centre": (300.0, 300.0, -400.0, 700.0, 0.0),
    "oblong pixels, skewed": (500.0, 620.0, 100.0, 140.0, 3.0),
}


@pytest.fixture(scope="module")
def decode(reference_fixtures: Path) -> dict:
    return torch.load(reference_fixtures / "perspose" / "decode.pt", weights_only=True)


def camera(name: str) -> Tensor:
    fx, fy, cx, cy, skew = CAMERAS[name]
    rows = [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]
    return torch.tensor([rows], dtype=torch.float64)


def random_joints(K: Tensor, number: int = 25) -> tuple[Tensor, Tensor]:
    """Joints that are seen at random pixels of a crop, and these pixels."""
    points = 256 * torch.rand(1, number, 2, dtype=torch.float64) - 0.5
    depth = 3 + torch.rand(1, number, 1, dtype=torch.float64)
    rays = torch.cat([points, torch.ones_like(depth)], -1) @ torch.linalg.inv(K).mT
    return rays * depth, points


@pytest.mark.parametrize("name", CAMERAS)
def test_decoding_undoes_the_projection(name: str) -> None:
    K = camera(name)
    joints, points = random_joints(K)
    torch.testing.assert_close(project(joints, K), points)
    depth, rho0 = joints[..., 2] - joints[:, :1, 2], joints[:, 0, 2] / mean_focal(K)
    density = joint_densities(depth, rho0, K)
    torch.testing.assert_close(back_projected(points, density, K), joints)


def test_one_focal_length_is_exact_for_square_pixels_only() -> None:
    for name, exact in zip(CAMERAS, (True, True, False), strict=True):
        K = camera(name)
        joints, points = random_joints(K)
        density = joints[..., 2] / mean_focal(K)[:, None]
        found = back_projected(points, density, K, one_focal=True)
        assert ((found - joints).norm(dim=-1).max() < 1e-9) == exact, name


@pytest.mark.parametrize("start", [-0.5, EDGES])
def test_a_sharp_peak_is_read_where_it_is(start: float) -> None:
    logits = torch.full((1, 2, 16, 8), -100.0)
    logits[0, 0, 3, 5] = 100.0
    logits[0, 1, :, 2] = 100.0
    places = expected_places(logits, 4, start=start)
    expected = torch.tensor([[[22.0, 14.0], [10.0, 32.0]]]) + start
    torch.testing.assert_close(places, expected)


def test_rays_of_cells(reference_fixtures: Path) -> None:
    pe = torch.load(reference_fixtures / "perspose" / "pe.pt", weights_only=True)
    known = pe["known_camera"]
    K = pe["K_crop"].double()
    for name, cameras in (("map", K), ("map_flip", RELEASED.mirrored_K(K, 256))):
        found = ray_map(RELEASED.centred_K(cameras), (256, 256), (64, 64), known=known)
        assert (found - pe[name]).abs().max() < 1e-6


@pytest.mark.parametrize("name", CAMERAS)
def test_the_mirrored_camera_sees_mirrored_rays(name: str) -> None:
    K = camera(name)
    torch.testing.assert_close(OURS.mirrored_K(K, 256), flip_intrinsics(K, 256))
    here, there = (ray_map(k, (256, 256), (64, 64)) for k in (K, OURS.mirrored_K(K, 256)))
    mirror = torch.tensor([-1.0, 1.0])[:, None, None]
    torch.testing.assert_close(there, mirror * here.flip(-1))


def reading(number: int = 4) -> Reading:
    raw = RawOutput(
        heatmaps=torch.randn(number, 25, 64, 64),
        depth=torch.randn(number, 25),
        density=torch.randn(number, 1),
        twists=torch.randn(number, 75),
        betas=torch.randn(number, 11),
        leaves=torch.randn(number, 30),
    )
    return read(raw, 4, OURS)


def test_mirroring_twice_changes_nothing() -> None:
    first = reading()
    again = first.mirrored(256, OURS).mirrored(256, OURS)
    for name, value in vars(first).items():
        torch.testing.assert_close(getattr(again, name), value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", [OURS, RELEASED])
def test_a_mirrored_reading_is_the_mirrored_body_in_the_mirrored_camera(rule: object) -> None:
    K = camera("far off centre").float().expand(4, 3, 3)
    first = reading()
    there = in_camera(first.mirrored(256, rule), rule.mirrored_K(K, 256), rule).joints_cam
    here = in_camera(first, K, rule).joints_cam
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(there, (here * mirror)[:, FLIP], atol=1e-4, rtol=1e-5)


def raw_of(heads: dict[str, Tensor]) -> RawOutput:
    return RawOutput(
        heatmaps=heads["hm"],
        depth=heads["depth"],
        density=heads["rho0"],
        twists=heads["twist"],
        betas=heads["beta"],
        leaves=heads["leaf"],
    )


def assert_estimate(found: JointEstimate, expected: dict[str, Tensor]) -> None:
    assert (found.points_px - expected["uv"]).abs().max() < 1e-4
    assert (found.depth - expected["depth"][..., 0]).abs().max() < 1e-6
    assert (1000 * found.density - expected["density"][..., 0]).abs().max() < 1e-5
    joints = expected["xyz"] + expected["xyz0"]
    assert (found.joints_cam - joints).abs().max() < 1e-5
    torch.testing.assert_close(found.twists, expected["ortho_twist"])
    torch.testing.assert_close(found.leaf_rotmat.flatten(2), expected["leaf_rot"])


def test_reference_numbers(decode: dict) -> None:
    first = read(raw_of(decode["heads_noflip"]), 4, RELEASED)
    mirrored = read(raw_of(decode["heads_flip"]), 4, RELEASED).mirrored(256, RELEASED)
    assert decode["flip_joint_idx"].tolist() == list(FLIP)
    assert decode["leaf_joints"].tolist() == list(LEAVES)
    assert (mirrored.points_px - decode["inner_flip"]["uv"]).abs().max() < 1e-4
    skeleton = RestSkeleton(
        template=decode["rest_joints_mean"], shapedirs=decode["rest_joints_dirs"]
    )
    for name, found in (("single_pass", first), ("forward_eval", averaged(first, mirrored))):
        expected = decode[name]
        estimate = in_camera(found, decode["K_crop"], RELEASED)
        assert_estimate(estimate, expected)
        # The last two are no people but random maps, for which the search's errors have jumps: a
        # millionth of a metre decides. So everybody starts from the very same joints.
        joints_cam = expected["xyz"] + expected["xyz0"]
        body = solve_body(replace(estimate, joints_cam=joints_cam), skeleton, stature="search")
        torch.testing.assert_close(body.betas, expected["beta"], atol=1e-5, rtol=0)
        torch.testing.assert_close(body.pose_rotmat, expected["theta"], atol=2e-3, rtol=0)
        torch.testing.assert_close(body.transl, expected["transl"], atol=5e-5, rtol=0)


def test_half_precision_is_left_before_anything_is_exponentiated() -> None:
    values = vars(reading())
    assert all(value.dtype == torch.float32 for value in values.values())
    small = RawOutput(
        heatmaps=torch.randn(1, 25, 8, 8).half(),
        depth=torch.randn(1, 25).half(),
        density=torch.randn(1, 1).half(),
        twists=torch.randn(1, 75).half(),
        betas=torch.randn(1, 10).half(),
        leaves=torch.randn(1, 30).half(),
    )
    assert all(x.dtype == torch.float32 for x in vars(read(small, 4, OURS)).values())


def test_gradients() -> None:
    K = camera("oblong pixels, skewed")
    logits = torch.randn(1, 25, 4, 4, dtype=torch.float64, requires_grad=True)
    depth = torch.randn(1, 25, dtype=torch.float64, requires_grad=True)
    rho0 = torch.rand(1, dtype=torch.float64, requires_grad=True)

    def joints(logits: Tensor, depth: Tensor, rho0: Tensor) -> Tensor:
        density = joint_densities(depth, rho0, K)
        return back_projected(expected_places(logits, 4), density, K)

    assert torch.autograd.gradcheck(joints, (logits, depth, rho0), fast_mode=True)
