"""Released weights behind the same door as our own files: recognised by what they hold."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from meshreg.body.assets import load_body_data, save_body_data
from meshreg.body.smpl import Body
from meshreg.cli import main
from meshreg.errors import InputError, MissingFileError
from meshreg.export import load_npz
from meshreg.models.builders import hmr_resnet50
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose, build_perspose
from meshreg.models.recognise import is_torch_file, names_perspose
from meshreg.models.regressors import load_regressor
from meshreg.models.released_perspose import released_name


@pytest.fixture(scope="module")
def body_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A body with 12 shape columns, the last two small, as SMPL's largest files have 300."""
    data = load_body_data()
    columns = np.concatenate([data.shapedirs, 0.1 * data.shapedirs[..., :2]], -1)
    path = tmp_path_factory.mktemp("body") / "wide.npz"
    save_body_data(replace(data, name="wide", shapedirs=columns), path)
    return path


@pytest.fixture
def released(
    tmp_path: Path, body_file: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, PersPose]:
    """A file as the authors write it, of a smaller trunk so that it is quick."""
    small = replace(PERSPOSE_ARCHITECTURES["perspose_released"], trunk="hrnet_w18", image_size=64)
    monkeypatch.setitem(PERSPOSE_ARCHITECTURES, "perspose_released", small)
    torch.manual_seed(0)
    body = Body(load_body_data(str(body_file)), num_betas=11)
    model = build_perspose(small, body=body)
    weights = {released_name(key): value for key, value in model.state_dict().items()}
    path = tmp_path / "ckpt_3dpw_16epochs.pt"
    torch.save({"model": weights | {"smpl.betas": torch.zeros(96, 11)}, "epoch": 16}, path)
    return path, model


def test_files_are_told_apart_without_loading_them(
    released: tuple[Path, PersPose], tmp_path: Path
) -> None:
    path, model = released
    assert is_torch_file(path) and names_perspose(path)
    old = tmp_path / "old.pt"
    torch.save(torch.load(path, weights_only=True), old, _use_new_zipfile_serialization=False)
    assert is_torch_file(old) and names_perspose(old)
    other = tmp_path / "other.pt"
    torch.save({"conv1.weight": torch.zeros(3)}, other)
    assert is_torch_file(other) and not names_perspose(other)
    for text in (b"", b"hello", b"\x80\x00\x00\x00\x00\x00\x00\x00{}"):  # the last is safetensors
        other.write_bytes(text)
        assert not is_torch_file(other)
    assert not is_torch_file(tmp_path / "nowhere.pt") and not is_torch_file(tmp_path)


def test_any_door_takes_a_released_perspose(
    released: tuple[Path, PersPose], body_file: Path, tmp_path: Path
) -> None:
    path, model = released
    # As the command line loads a body: with ten columns of those in its file.
    found = load_regressor(path, body=Body(load_body_data(str(body_file))))
    assert isinstance(found, PersPose) and found.architecture.released and not found.training
    assert found.body.num_betas == 11
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.state_dict().items())
    with pytest.raises(InputError, match=r"11 betas were given, but this body has 10 shape"):
        load_regressor(path, body=Body(load_body_data()))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(MissingFileError, match="SMPL"):
        patch.chdir(tmp_path)  # no licensed body here
        load_regressor(path)


def test_released_weights_of_regressors_come_in_by_it_too(tmp_path: Path) -> None:
    model, path = hmr_resnet50(), tmp_path / "spin.pt"
    names = {
        key.removeprefix("backbone.network.").removeprefix("head."): key
        for key in model.state_dict()
    }
    torch.save({"model": {short: model.state_dict()[key] for short, key in names.items()}}, path)
    found = load_regressor(path).state_dict()
    assert all(torch.equal(found[key], value) for key, value in model.state_dict().items())


def test_the_command_predicts_with_released_weights(
    released: tuple[Path, PersPose],
    body_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text(json.dumps([[140, 10, 180, 110]]))
    words = ["predict", f"{tmp_path / 'photo.png'}", f"--model={released[0]}", "--fov=80"]
    words += [f"--boxes={tmp_path / 'boxes.json'}", f"--out={tmp_path / 'out'}"]
    assert main([*words, f"--body={body_file}"]) == 0
    record = load_npz(tmp_path / "out" / "photo_0.npz")
    assert record.betas.shape == (11,) and np.isfinite(record.vertices_cam).all()
    assert record.body == "wide"
    capsys.readouterr()
    assert main([*words, "--body=builtin"]) == 2
    said = capsys.readouterr().err
    assert "11 betas were given" in said and said.count("\n") == 1
