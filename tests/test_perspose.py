"""PersPose as a network: its trunks, its camera, its mirror image, its files."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.cameras import project
from meshreg.models.perspose import (
    PERSPOSE_ARCHITECTURES,
    PersPose,
    PersPoseArchitecture,
    build_perspose,
    crop_K,
    solve_body,
)
from meshreg.models.perspose_files import load_perspose, save_perspose
from meshreg.models.perspose_heads import RELEASED, Reading, averaged, in_camera
from meshreg.models.perspose_trunks import perspose_trunk
from meshreg.models.released_perspose import load_released_perspose, released_name

SMALL = PersPoseArchitecture(trunk="resnet18", image_size=64)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def wide_body(body: Body) -> Body:
    """A body with 11 shape columns, as released weights need; the last one does nothing."""
    wide = load_body()
    wide.num_betas = 11
    for name in ("shapedirs", "joints_shapedirs"):
        setattr(wide, name, torch.nn.functional.pad(getattr(body, name), (0, 1)))
    return wide


@pytest.fixture(scope="module")
def small(body: Body) -> PersPose:
    torch.manual_seed(0)
    return build_perspose(SMALL, body=body).eval()


@pytest.fixture(scope="module")
def table(reference_fixtures: Path) -> dict:
    return json.loads((reference_fixtures / "perspose" / "keys.json").read_text())


@pytest.fixture(scope="module")
def rule(reference_fixtures: Path) -> ModuleType:
    file = reference_fixtures / "perspose" / "fill_rule.py"
    spec = importlib.util.spec_from_file_location("perspose_fill_rule", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def large(wide_body: Body) -> PersPose:
    return build_perspose(PERSPOSE_ARCHITECTURES["perspose_released"], body=wide_body).eval()


def intrinsics(focal: float, size: int, number: int = 2) -> Tensor:
    centre = (size - 1) / 2
    rows = [[focal, 0.0, centre + 5], [0.0, focal, centre], [0.0, 0.0, 1.0]]
    return torch.tensor(rows).expand(number, 3, 3)


def pictures(size: int = 64, number: int = 2) -> Tensor:
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8)


# --- the released network -------------------------------------------------------------------------
def test_every_key_and_shape_is_as_released(large: PersPose, table: dict) -> None:
    ours = {released_name(key): value for key, value in large.state_dict().items()}
    theirs = {row["name"]: row for row in table["keys"] if not row["smpl"]}
    assert len(ours) == 1967 and set(ours) == set(theirs)
    for name, value in ours.items():
        assert list(value.shape) == theirs[name]["shape"], name
        assert str(value.dtype).removeprefix("torch.") in theirs[name]["dtype"], name
    assert sum(p.numel() for p in large.parameters()) == 75_713_559


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference_numbers_of_the_whole_network(
    dtype: torch.dtype,
    large: PersPose,
    rule: ModuleType,
    reference_fixtures: Path,
) -> None:
    net = torch.load(reference_fixtures / "perspose" / "net.pt", weights_only=True)
    keys = {key: released_name(key) for key in large.state_dict()}
    state = large.state_dict()
    large.load_state_dict(
        {key: rule.value(name, tuple(state[key].shape), "hash", 0.7) for key, name in keys.items()}
    )
    model = large.to(dtype)
    norm = model.trunk.backbone
    image = net["images"][net["image_index"]].to(dtype) * norm.std + norm.mean
    K, expected = net["K_crop"].to(dtype), net["hash_f64"]
    options = {"known_camera": torch.tensor([name != "coco" for name in net["dataset_name"]])}
    with torch.no_grad():
        first = model.reading(image, K, **options)
        mirrored = model.reading(image, K, **options, mirror=True)
    assert_reading(first, expected["out_noflip"], dtype)
    assert_reading(mirrored, expected["out_flip"], dtype)
    found, goal = in_camera(averaged(first, mirrored), K, RELEASED), expected["forward_eval"]
    skeleton = RestSkeleton(template=net["rest_joints_mean"], shapedirs=net["rest_joints_dirs"])
    solved = solve_body(found, skeleton, stature="search")
    assert (found.joints_cam - goal["xyz"] - goal["xyz0"]).abs().max() < 1e-5
    assert (solved.betas - goal["beta"]).abs().max() < 1e-5
    assert (solved.pose_rotmat - goal["theta"]).abs().max() < 7e-4
    assert (solved.transl - goal["transl"]).abs().max() < 5e-5
    large.float()


def assert_reading(found: Reading, expected: dict[str, Tensor], dtype: torch.dtype) -> None:
    loose = 1.0 if dtype == torch.float32 else 0.05
    assert (found.points_px - expected["uv"]).abs().max() < 2e-4 * loose
    assert (found.depth - expected["depth"][..., 0]).abs().max() < 2e-6 * loose
    assert (found.rho0 - expected["rho0"][:, 0, 0]).abs().max() < 1e-8 * loose
    assert (found.twists - expected["ortho_twist"]).abs().max() < 5e-6 * loose
    assert (found.leaf_rotmat.flatten(2) - expected["leaf_rot"]).abs().max() < 1e-5 * loose
    assert (found.betas - expected["beta"]).abs().max() < 5e-6 * loose


def released_file(path: Path, model: PersPose, **changes: Tensor | None) -> Path:
    state = {released_name(key): value for key, value in model.state_dict().items()}
    state |= {"smpl.betas": torch.zeros(96, 11), "smpl.lbs_weights": torch.zeros(2, 24)}
    for name, value in changes.items():
        state.pop(name.replace("__", "."), None)
        if value is not None:
            state[name.replace("__", ".")] = value
    torch.save({"model": state, "epoch": 16, "optimizer": {}, "best_metric": 60.1}, path)
    return path


@pytest.mark.slow
def test_released_files_load_completely(large: PersPose, wide_body: Body, tmp_path: Path) -> None:
    path = released_file(tmp_path / "ckpt_3dpw_16epochs.pt", large)
    found = load_released_perspose(path, body=wide_body)
    assert not found.training and found.architecture.released
    for name, value in large.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hm_layer__bias": None}, r"lacks hm_layer\.bias"),
        ({"hm_layer__extra": torch.zeros(2)}, r"also has hm_layer\.extra"),
        ({"hm_layer__bias": torch.zeros(3)}, r"has the shape \(3,\), not \(25,\)"),
        ({"hm_layer__bias": torch.full((25,), torch.nan)}, r"hm_layer\.bias .* is not finite"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    changes: dict, sentence: str, large: PersPose, wide_body: Body, tmp_path: Path
) -> None:
    path = released_file(tmp_path / "other.pt", large, **changes)
    with pytest.raises(InputError, match=sentence):
        load_released_perspose(path, body=wide_body)


def test_released_weights_need_eleven_shape_columns(body: Body, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="11 betas were given, but this body has 10"):
        load_released_perspose(tmp_path / "any.pt", body=body)


def test_other_files_are_refused(
    wide_body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import meshreg.models.released_perspose as module

    small = build_perspose(SMALL, body=wide_body)
    monkeypatch.setattr(module, "build_perspose", lambda *args, **options: small)
    with pytest.raises(MissingFileError):
        load_released_perspose(tmp_path / "no.pt", body=wide_body)
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds no weights"):
        load_released_perspose(path, body=wide_body)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="damaged"):
        load_released_perspose(path, body=wide_body)


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
