"""PersPose as released: every key, every number of the network, whole files or none."""

import importlib.util
import json
import zlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose, build_perspose, solve_body
from meshreg.models.perspose_heads import RELEASED, Reading, averaged, in_camera
from meshreg.models.released_perspose import load_released_perspose, released_name


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


def test_every_key_and_shape_is_as_released(large: PersPose, table: dict) -> None:
    ours = {released_name(key): value for key, value in large.state_dict().items()}
    theirs = {row["name"]: row for row in table["keys"] if not row["smpl"]}
    assert len(ours) == 1967 and set(ours) == set(theirs)
    for name, value in ours.items():
        assert list(value.shape) == theirs[name]["shape"], name
        assert str(value.dtype).removeprefix("torch.") in theirs[name]["dtype"], name
    assert sum(p.numel() for p in large.parameters()) == 75_713_559


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
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


def constant(value: Tensor, name: str) -> Tensor:
    """A tensor of one number that only this layer has; a file stores the number once."""
    if not value.is_floating_point():
        return value
    return torch.tensor([zlib.crc32(name.encode()) / 2**32]).expand(value.shape)


def released_file(path: Path, model: PersPose, **changes: Tensor | None) -> dict[str, Tensor]:
    """Write what a released file holds, weights, body and optimiser; returns the weights."""
    names = {released_name(key): value for key, value in model.state_dict().items()}
    weights = {name: constant(value, name) for name, value in names.items()}
    for name, value in changes.items():
        weights.pop(name.replace("__", "."), None)
        if value is not None:
            weights[name.replace("__", ".")] = value
    bodies = {"smpl.betas": torch.zeros(96, 11), "smpl.lbs_weights": torch.zeros(2, 24)}
    torch.save({"model": weights | bodies, "epoch": 16, "optimizer": {}, "scaler": {}}, path)
    return weights


def test_released_files_load_completely(large: PersPose, wide_body: Body, tmp_path: Path) -> None:
    path = tmp_path / "ckpt_3dpw_16epochs.pt"
    weights = released_file(path, large)
    found = load_released_perspose(path, body=wide_body)
    assert not found.training and found.architecture.released
    state = found.state_dict()
    for name, value in state.items():
        assert torch.equal(value, weights[released_name(name)]), name
    torch.save({f"module.{name}": value for name, value in weights.items()}, path)
    again = load_released_perspose(path, body=wide_body).state_dict()
    assert all(torch.equal(again[name], value) for name, value in state.items())


class Touch:
    """What pickle would turn into an empty file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_files_cannot_run_anything(large: PersPose, wide_body: Body, tmp_path: Path) -> None:
    path, touched = tmp_path / "evil.pt", tmp_path / "touched"
    torch.save({"model": {}, "config": Touch(touched)}, path)
    with pytest.raises(InputError, match="could run code"):
        load_released_perspose(path, body=wide_body)
    assert not touched.exists()


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
    path = tmp_path / "other.pt"
    released_file(path, large, **changes)
    with pytest.raises(InputError, match=sentence):
        load_released_perspose(path, body=wide_body)


def test_released_weights_need_eleven_shape_columns(body: Body, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="11 betas were given, but this body has 10"):
        load_released_perspose(tmp_path / "any.pt", body=body)


def test_other_files_are_refused(wide_body: Body, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load_released_perspose(tmp_path / "no.pt", body=wide_body)
    path = tmp_path / "list.pt"
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds no weights"):
        load_released_perspose(path, body=wide_body)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="damaged"):
        load_released_perspose(path, body=wide_body)
