"""The whole regressor: published numbers, named networks, cameras, gradients."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError
from meshreg.geometry.cameras import project
from meshreg.models.architecture import ARCHITECTURES, Architecture
from meshreg.models.builders import (
    build_hmr,
    hmr_resnet18,
    hmr_resnet50,
    hmr_small,
    hmr_vit_decoder,
)
from meshreg.models.camera import transl_to_weak
from meshreg.models.hmr import HMR
from meshreg.models.start import published_start, upright_start
from tests.released_weights import flat_weights, load

BUILDERS = {
    "hmr_resnet50": hmr_resnet50,
    "hmr_resnet18": hmr_resnet18,
    "hmr_small": hmr_small,
    "hmr_vit_decoder": hmr_vit_decoder,
}


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


def test_the_reference_network(reference_fixtures: Path, body: Body) -> None:
    """Features and outputs of the official code, with the same weights, in both precisions."""
    case = load(reference_fixtures, "net.pt")
    model = hmr_resnet50(body=body).eval()
    weights = flat_weights(reference_fixtures)
    prefix = {name: name.removeprefix("backbone.network.") for name in model.state_dict()}
    model.load_state_dict({k: weights[v.removeprefix("head.")] for k, v in prefix.items()})
    # The reference pictures are normalised already.
    model.backbone.mean.zero_()
    model.backbone.std.fill_(1.0)
    with torch.inference_mode():
        features = model.backbone(case["images"])
        torch.testing.assert_close(features, case["features"], rtol=1e-4, atol=1e-4)
        check_prediction(model, case["images"], case["out"], 2e-5)
        body_dtype = model.body
        model.body = torch.nn.Identity()  # the body of the other tests stays single
        check_prediction(model.double(), case["images"].double(), case["out_f64"], 1e-9)
        model.body = body_dtype


def check_prediction(model: HMR, images: torch.Tensor, expected: dict, atol: float) -> None:
    prediction = model(images)
    torch.testing.assert_close(prediction.betas, expected["pred_shape"], atol=atol, rtol=0)
    torch.testing.assert_close(prediction.cam, expected["pred_cam"], atol=atol, rtol=0)
    torch.testing.assert_close(prediction.pose_rotmat, expected["pred_pose"], atol=atol, rtol=0)


def test_published_counts(body: Body) -> None:
    model = hmr_resnet50(body=body)
    assert sum(p.numel() for p in model.parameters()) == 26_977_501
    assert len(model.state_dict()) == 331
    assert len(model.backbone.state_dict()) == 318


def test_the_small_network_is_small(body: Body) -> None:
    model = hmr_small(body=body)
    assert 2 * sum(x.numel() for x in model.state_dict().values()) < 16e6


def test_the_49_joints_are_the_published_ones(reference_fixtures: Path) -> None:
    case = load(reference_fixtures, "head.pt")["smpl_head"]
    places, found = map_joints(SKELETONS["smpl54"], SKELETONS["spin49"])
    assert all(found)
    assert places == case["joint_map"].tolist()


@pytest.mark.parametrize("name", ["hmr_small", "hmr_resnet18", "hmr_vit_decoder"])
def test_gradients_reach_every_parameter(name: str, body: Body) -> None:
    model = BUILDERS[name](body=body, conditioned=True)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    prediction = model(image, K_full=K(2), box=boxes(2))
    joints = model.mesh(prediction).joints
    loss = project(joints, K(2)).square().mean() * 1e-4 + prediction.betas.square().sum()
    loss.backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle, idle
    assert all(p.grad.isfinite().all() for p in model.parameters())  # type: ignore[union-attr]


def K(number: int) -> torch.Tensor:
    one = torch.tensor([[800.0, 0.0, 319.5], [0.0, 800.0, 239.5], [0.0, 0.0, 1.0]])
    return one.expand(number, 3, 3)


def boxes(number: int) -> torch.Tensor:
    return torch.tensor([[250.0, 200.0, 180.0]]).expand(number, 3)


@pytest.fixture(scope="module")
def small(body: Body) -> HMR:
    torch.manual_seed(0)
    return hmr_small(body=body).eval()


def test_steps_are_kept_on_request(body: Body) -> None:
    model, image = hmr_resnet18(body=body).eval(), torch.rand(2, 3, 64, 64)
    assert model(image).steps == ()
    prediction = model(image, keep_steps=True)
    assert len(prediction.steps) == 3 and len(prediction) == 2
    assert torch.equal(prediction.steps[-1].betas, prediction.betas)
    assert not torch.equal(prediction.steps[0].betas, prediction.betas)
    assert not prediction.detach().steps[0].betas.requires_grad


def test_the_body_appears_in_its_box(small: HMR, body: Body) -> None:
    """A fresh network predicts an average body upright: it must fill the box it was cut from."""
    for layer in (small.head.decpose, small.head.decshape, small.head.deccam):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    prediction = small(torch.rand(2, 3, 64, 64), K_full=K(2), box=boxes(2))
    vertices = small.mesh(prediction).vertices
    pixels = project(vertices, K(2))
    low, high = pixels.amin(1), pixels.amax(1)
    assert torch.allclose((low + high) / 2, boxes(2)[:, :2], atol=0.05 * 180)
    assert torch.allclose((high - low)[:, 1], boxes(2)[:, 2] * 0.85, atol=0.05 * 180)
    head, foot = body.data.v_template[:, 1].argmax(), body.data.v_template[:, 1].argmin()
    assert (pixels[:, head, 1] < pixels[:, foot, 1]).all(), "the head is above the feet"


def test_without_a_camera_the_picture_was_taken_from_far_away(small: HMR) -> None:
    prediction = small(torch.rand(1, 3, 64, 64))
    depth = 2 * 5000 / (64 * prediction.cam[:, 0])
    assert torch.allclose(prediction.transl[:, 2], depth)


def test_camera_and_box_come_together(small: HMR, body: Body) -> None:
    with pytest.raises(InputError, match="both K_full and box"):
        small(torch.rand(1, 3, 64, 64), K_full=K(1))
    with pytest.raises(InputError, match="made to know the camera"):
        hmr_small(body=body, conditioned=True)(torch.rand(1, 3, 64, 64))


def test_half_precision_inside_single_precision_outside(small: HMR) -> None:
    image = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = small(image, K_full=K(2), box=boxes(2))
    for value in (prediction.betas, prediction.pose_rotmat, prediction.transl):
        assert value.dtype == torch.float32
    R = prediction.pose_rotmat
    assert torch.allclose(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5)


def test_a_few_steps_of_training_help(body: Body) -> None:
    """The network can tell pictures apart and put each body in its place."""
    model = hmr_small(body=body, conditioned=True).train()
    image = torch.zeros(4, 3, 64, 64)
    for number in range(4):
        image[number, :, 16 * number : 16 * number + 16] = 1.0
    transl = torch.tensor([[0.5, 0.2, 6.0], [-0.5, 0.0, 4.0], [0.0, 0.0, 7.0], [0.3, 0.0, 5.0]])
    target = transl_to_weak(transl, boxes(4), K(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    errors = []
    for _ in range(30):
        error = (model(image, K_full=K(4), box=boxes(4)).cam - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-5:]) < 0.1 * sum(errors[:5]), errors


def test_other_numbers_of_betas(body: Body) -> None:
    architecture = replace(ARCHITECTURES["hmr_small"], num_betas=4)
    prediction = build_hmr(architecture)(torch.rand(2, 3, 64, 64))
    assert prediction.betas.shape == (2, 4)
    with pytest.raises(InputError, match="has 4 betas"):
        build_hmr(architecture, body=body)


def test_starts(tmp_path: Path) -> None:
    import numpy as np

    relaxed = torch.full((21, 3), 0.1)
    start = upright_start(relaxed, num_betas=4)
    assert start.betas.shape == (1, 4)
    assert not torch.equal(start.pose_rot6d, upright_start().pose_rot6d)
    path = tmp_path / "smpl_mean_params.npz"
    pose = np.linspace(-1, 1, 144)
    np.savez(path, pose=pose, shape=np.ones(10), cam=np.array([0.9, 0.0, 0.0]))
    loaded = published_start(path)
    assert torch.allclose(loaded.pose_rot6d[0], torch.from_numpy(pose).float())
    assert torch.allclose(loaded.cam, torch.tensor([[0.9, 0.0, 0.0]]))
    np.savez(path, pose=pose[:100], shape=np.ones(10), cam=np.zeros(3))
    with pytest.raises(InputError, match="144 finite numbers"):
        published_start(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(InputError, match="holds no pose"):
        published_start(path)


def test_unknown_backbones_are_refused(body: Body) -> None:
    with pytest.raises(InputError, match="is not a backbone"):
        build_hmr(Architecture(backbone="resnet51"), body=body)
