"""Our own files of regressors: everything comes back, and wrong files are told apart."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.models.builders import hmr_resnet18, hmr_small
from meshreg.models.checkpoint import load_model, load_weights, read_model, save_model
from meshreg.models.hmr import HMR


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def model(body: Body) -> HMR:
    torch.manual_seed(1)
    return hmr_small(body=body, conditioned=True).eval()


@pytest.fixture
def path(model: HMR, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, model, licence="CC0", recipe="untrained")
    return path


def test_everything_comes_back(model: HMR, path: Path, body: Body) -> None:
    loaded = load_model(path)
    assert loaded.architecture == model.architecture
    assert not loaded.training
    state = loaded.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    header, _ = read_model(path)
    assert (header.body, header.licence, header.recipe) == ("builtin", "CC0", "untrained")
    assert header.topology == body.topology_hash


def test_half_precision_halves_the_file(model: HMR, path: Path, body: Body, tmp_path: Path) -> None:
    small = tmp_path / "half.safetensors"
    save_model(small, model, dtype="float16")
    assert small.stat().st_size < 0.53 * path.stat().st_size
    assert small.stat().st_size < 16e6
    image, box = torch.rand(1, 3, 64, 64), torch.tensor([[32.0, 32.0, 60.0]])
    K = torch.tensor([[[90.0, 0.0, 31.5], [0.0, 90.0, 31.5], [0.0, 0.0, 1.0]]])
    loaded = load_model(small, body=body)
    assert loaded.head.decpose.weight.dtype == torch.float32
    before, after = (m(image, K_full=K, box=box).pose_rotmat for m in (model, loaded))
    assert torch.allclose(before, after, atol=1e-3) and not torch.equal(before, after)


def test_values_too_large_for_half_precision_stay_single(body: Body, tmp_path: Path) -> None:
    model = hmr_small(body=body)
    with torch.no_grad():
        model.head.decpose.weight[0, 0] = 1e6
    save_model(tmp_path / "half.safetensors", model, dtype="float16")
    _, tensors = read_model(tmp_path / "half.safetensors")
    assert tensors["head.decpose.weight"].dtype == torch.float32
    assert tensors["head.decshape.weight"].dtype == torch.float16


def test_training_goes_on_from_a_file(path: Path, body: Body, model: HMR) -> None:
    other = hmr_small(body=body, conditioned=True)
    load_weights(other, path)
    assert torch.equal(other.head.decpose.weight, model.head.decpose.weight)
    assert other.training


def test_another_architecture_is_refused(path: Path, body: Body) -> None:
    with pytest.raises(InputError, match="conditioned True instead of False"):
        load_weights(hmr_small(body=body), path)
    with pytest.raises(InputError, match="backbone 'mobilenetv4_conv_small' instead of 'resnet18'"):
        load_weights(hmr_resnet18(body=body, conditioned=True), path)


def test_another_body_is_refused(path: Path, body: Body) -> None:
    data = replace(body.data, faces=body.data.faces[::-1].copy())
    with pytest.raises(InputError, match="topology"):
        load_model(path, body=Body(data))


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="cut off"):
        load_model(path)


def test_other_files_are_refused(tmp_path: Path, body: Body) -> None:
    path = tmp_path / "other"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="load_released"):
        load_model(path)
    torch.save({"a": torch.zeros(1)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="load_released"):
        load_model(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no model of meshreg"):
        load_model(path)
    with pytest.raises(MissingFileError, match="check the path"):
        load_model(tmp_path / "none")


def test_a_missing_tensor_is_named(path: Path, body: Body) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    _, tensors = read_model(path)
    del tensors["head.decpose.bias"]
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(InputError, match=r"1 tensors, for example head\.decpose\.bias"):
        load_model(path, body=body)


def test_models_put_together_by_hand_cannot_be_saved(model: HMR, tmp_path: Path) -> None:
    by_hand = HMR(backbone=model.backbone, head=model.head, body=model.body)
    with pytest.raises(InputError, match="named builder"):
        save_model(tmp_path / "x.safetensors", by_hand)
