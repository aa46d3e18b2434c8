"""PersPose as a network: its trunks, its camera, its mirror image, its files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import project
from meshreg.losses.perspose import WEIGHTS, PersPoseTruth, perspose_terms
from meshreg.losses.terms import total
from meshreg.models.perspose import (
    PersPose,
    PersPoseArchitecture,
    build_perspose,
    crop_K,
    solve_body,
)
from meshreg.models.perspose_files import load_perspose, save_perspose
from meshreg.models.perspose_trunks import perspose_trunk
from tests.joint_people import people

SMALL = PersPoseArchitecture(trunk="resnet18", image_size=64)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def small(body: Body) -> PersPose:
    torch.manual_seed(0)
    return build_perspose(SMALL, body=body).eval()


def intrinsics(focal: float, size: int, number: int = 2) -> Tensor:
    centre = (size - 1) / 2
    rows = [[focal, 0.0, centre + 5], [0.0, focal, centre], [0.0, 0.0, 1.0]]
    return torch.tensor(rows).expand(number, 3, 3)


def pictures(size: int = 64, number: int = 2) -> Tensor:
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8)


# --- any network ----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["resnet18", "hrnet_w18"])
def test_trunks_have_the_sizes_that_they_name(name: str) -> None:
    trunk = perspose_trunk(name).eval()
    features = trunk(torch.randn(1, 3, 64, 96), torch.zeros(1, trunk.encoded, 16, 24))
    assert features.fine.shape == (1, trunk.fine, 16, 24)
    assert features.whole.shape == (1, trunk.whole)
    other = trunk(torch.randn(1, 3, 64, 96), torch.ones(1, trunk.encoded, 16, 24))
    assert not torch.allclose(features.whole, other.whole)


def test_an_hrnet_without_encoding_is_that_of_its_library() -> None:
    trunk = perspose_trunk("hrnet_w18").eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = trunk(x, torch.zeros(1, trunk.encoded, 16, 16))
        expected = trunk.backbone.network.forward_features(x)
    torch.testing.assert_close(features.whole, expected.mean((2, 3)))


def test_unknown_trunks_are_refused() -> None:
    with pytest.raises(InputError, match="no trunk 'vit_small'"):
        perspose_trunk("vit_small")
    with pytest.raises(InputError, match="is not a backbone"):
        perspose_trunk("hrnet_w1")


def test_predictions_are_bodies_where_their_joints_are(small: PersPose) -> None:
    K = intrinsics(80.0, 64)
    found = small.predict(pictures(), K)
    assert found.pose_rotmat.shape == (2, 24, 3, 3) and found.betas.shape == (2, 10)
    torch.testing.assert_close(project(found.estimate.joints_cam, K), found.estimate.points_px)
    posed = small.mesh(found).joints[:, :24]
    lengths = (posed - found.estimate.joints_cam[:, :24]).norm(dim=-1)
    assert lengths.isfinite().all() and lengths[:, 0].max() < 0.5


def test_the_mirror_image_gives_the_mirrored_body(small: PersPose) -> None:
    image, K = pictures(), intrinsics(80.0, 64)
    here = small.predict(image, K).estimate.joints_cam
    there = small.predict(image.flip(-1), small.rule.mirrored_K(K, 64)).estimate.joints_cam
    flip = [*load_body_flip(), 24]
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(there, (here * mirror)[:, flip], atol=1e-4, rtol=1e-4)
    one = small.predict(image, K, mirror=False).estimate.joints_cam
    assert not torch.allclose(one, here)


def load_body_flip() -> tuple[int, ...]:
    from meshreg.body.skeleton import skeleton

    return skeleton("smpl24").flip


def test_only_known_cameras_are_shown_to_the_network(small: PersPose) -> None:
    image, known = pictures(), torch.tensor([True, False])
    with torch.no_grad():
        here, there = (
            small.reading(image, intrinsics(focal, 64), known_camera=known).points_px
            for focal in (40.0, 90.0)
        )
    assert not torch.allclose(here[0], there[0])
    torch.testing.assert_close(here[1], there[1])


def test_crops_of_a_full_picture_share_its_camera(small: PersPose) -> None:
    K_full = intrinsics(900.0, 720)
    box = torch.tensor([[300.0, 200.0, 128.0], [500.0, 450.0, 300.0]])
    points = torch.tensor([[[0.1, -0.2, 4.0]], [[0.3, 0.2, 3.0]]])
    window = (box[:, None, :2] - project(points, K_full)) / box[:, None, 2:]
    expected = 31.5 - 64 * window
    torch.testing.assert_close(project(points, crop_K(K_full, box, 64)), expected)
    image = pictures()
    found = small.regress(image, K_full=K_full, box=box)
    torch.testing.assert_close(found.transl, small.predict(image, crop_K(K_full, box, 64)).transl)


def test_learning_reaches_every_layer(small: PersPose) -> None:
    model = build_perspose(SMALL, body=small.body)
    estimate = model(pictures(), intrinsics(80.0, 64))
    parts = (estimate.joints_cam, estimate.twists, estimate.leaf_rotmat, estimate.betas)
    sum(part.square().sum() for part in parts).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        # The library starts the last normalisation of each block at zero.
        assert parameter.grad.abs().sum() > 0 or ".layer" in name, name


def truth_of(p: dict[str, Tensor], K: Tensor) -> PersPoseTruth:
    """All that is known of skeletons in front of a camera; nothing is annotated or captured."""
    number = len(K)
    joints = torch.cat([p["joints"], p["joints"][:, :1]], 1)
    return PersPoseTruth(
        K=K,
        size=(64, 64),
        stature=torch.full((number,), 1.7),
        has_body=torch.ones(number, dtype=torch.bool),
        joints_cam=joints,
        twists=p["twists"],
        leaf_rotmat=p["leaves"],
        betas=p["betas"],
        points_weight=torch.ones(number),
        annotated_px=torch.zeros(number, 8, 2),
        annotated=torch.zeros(number, 8),
        captured_cam=joints[:, :9],
        captured=torch.zeros(number, dtype=torch.bool),
    )


@pytest.mark.slow
def test_a_batch_is_learnt_by_heart(small: PersPose) -> None:
    """And what was learnt is the body: its joints come out where they were."""
    skeleton = RestSkeleton.of(small.body)
    found = people(skeleton.like(torch.zeros((), dtype=torch.float64)), 2, reach=0.3)
    p = {name: value.float() for name, value in found.items()}
    shift = torch.tensor([0.0, 0.0, 4.0]) - p["joints"][:, :1]
    p["joints"] = p["joints"] + shift
    image, K = pictures(), intrinsics(100.0, 64)
    truth = truth_of(p, K)
    model = build_perspose(SMALL, body=small.body).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 100)
    weights = WEIGHTS["3dpw"] | {"twists": 10.0, "betas": 1.0, "leaves": 1.0}
    for _ in range(100):
        loss, _ = total(perspose_terms(model(image, K), truth, weights))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slower.step()
    with torch.no_grad():
        body = solve_body(model(image, K), skeleton)
    error = (body.estimate.joints_cam[:, :24] - p["joints"]).norm(dim=-1).mean()
    posed = small.body(body.betas, body.pose_rotmat, body.transl).joints[:, :24]
    assert error < 0.1, error
    assert (posed - p["joints"]).norm(dim=-1).mean() < 0.15


@pytest.mark.parametrize("focal", [0.0, -50.0, float("nan")])
def test_impossible_cameras_are_refused(small: PersPose, focal: float) -> None:
    with pytest.raises(InputError, match="focal lengths of K must be positive"):
        small(pictures(), intrinsics(focal, 64))


def test_pictures_of_odd_sizes_are_refused(small: PersPose) -> None:
    with pytest.raises(InputError, match="multiples of 32 pixels, not 60x60"):
        small(pictures(60), intrinsics(80.0, 60))


def test_bodies_with_too_few_shape_columns_are_refused(body: Body) -> None:
    with pytest.raises(InputError, match="12 betas were given, but this body has 10"):
        build_perspose(PersPoseArchitecture(trunk="resnet18", num_betas=12), body=body)


# --- files ----------------------------------------------------------------------------------------
def test_files_give_the_network_back(small: PersPose, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_perspose(path, small)
    found = load_perspose(path)
    assert found.architecture == small.architecture and not found.training
    image, K = pictures(), intrinsics(80.0, 64)
    torch.testing.assert_close(found.predict(image, K).transl, small.predict(image, K).transl)


def test_damaged_and_foreign_files_are_refused(small: PersPose, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    with pytest.raises(MissingFileError):
        load_perspose(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="holds no PersPose"):
        load_perspose(path)
    save_perspose(path, small)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="cut off"):
        load_perspose(path)
