"""Released checkpoints in every layout, read completely or refused, without running anything."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.models.released import load_released
from tests.released_weights import flat_weights, key_table, load

STARTS = ("init_pose", "init_shape", "init_cam")
Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def flat(reference_fixtures: Path) -> Weights:
    return flat_weights(reference_fixtures)


@pytest.fixture(scope="module")
def table(reference_fixtures: Path) -> list[dict[str, Any]]:
    return key_table(reference_fixtures)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture
def means(reference_fixtures: Path, tmp_path: Path) -> Path:
    init = load(reference_fixtures, "net.pt")["init"]
    path = tmp_path / "smpl_mean_params.npz"
    np.savez(path, **{name[5:]: value[0].numpy() for name, value in init.items()})
    return path


def renamed(flat: Weights, table: list[dict[str, Any]], column: str) -> Weights:
    return {row[column]: flat[row["flat"]] for row in table}


def licensed_copies() -> Weights:
    """Some of what training code stored besides the network; tiny, as only names matter."""
    names = ("smpl.betas", "smpl_native.shapedirs", "model.smpl.smpl.lbs_weights", "J_regressor")
    return {name: torch.zeros(2) for name in (*names, "loss_fn.smpl.weight")}


LAYOUTS: dict[str, Callable[[Weights, list[dict[str, Any]]], Any]] = {
    "model": lambda flat, table: {"model": flat, "epoch": 3, "optimizer": {"lr": 1e-4}},
    "model, parallel": lambda flat, table: {
        "model": {f"module.{key}": value for key, value in flat.items()}
    },
    "lightning": lambda flat, table: {
        "state_dict": renamed(flat, table, "lightning") | licensed_copies(),
        "epoch": 3,
    },
    "hmr": lambda flat, table: renamed(flat, table, "hmr"),
    "raw with starts": lambda flat, table: flat,
}


def assert_loaded(path: Path, flat: Weights, body: Body, **options: Any) -> None:
    model = load_released(path, body=body, **options)
    state = model.state_dict()
    assert len(state) == 331 and not model.training
    for name, value in state.items():
        short = name.removeprefix("backbone.network.").removeprefix("head.")
        assert torch.equal(value, flat[short]), name


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_zip", [True, False])
def test_layouts(
    layout: str, is_zip: bool, flat: Weights, table: list, body: Body, tmp_path: Path
) -> None:
    path = tmp_path / "released.pt"
    content = LAYOUTS[layout](flat, table)
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    assert_loaded(path, flat, body)


def test_raw_weights_need_the_mean_body(
    flat: Weights, body: Body, means: Path, tmp_path: Path
) -> None:
    path = tmp_path / "raw.pt"
    torch.save({key: value for key, value in flat.items() if key not in STARTS}, path)
    with pytest.raises(InputError, match="pass mean_parameters"):
        load_released(path, body=body)
    assert_loaded(path, flat, body, mean_parameters=means)


def test_the_builtin_body_is_warned_about(
    flat: Weights, body: Body, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "released.pt"
    torch.save(flat, path)
    with caplog.at_level(logging.WARNING, logger="meshreg"):
        load_released(path, body=body)
    assert [r for r in caplog.records if "smpl_neutral" in r.getMessage()]


def with_change(flat: Weights, **changes: Tensor | None) -> Weights:
    changed = dict(flat)
    for name, value in changes.items():
        changed.pop(name.replace("__", "."), None)
        if value is not None:
            changed[name.replace("__", ".")] = value
    return changed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fc1__weight": None}, r"lacks fc1\.weight and has nothing besides"),
        ({"fc9__weight": torch.zeros(2)}, r"lacks nothing and has fc9\.weight besides"),
        ({"fc2__bias": torch.zeros(3)}, r"fc2\.bias in .* has the shape \(3,\), not \(1024,\)"),
        ({"fc2__bias": torch.full((1024,), torch.nan)}, r"fc2\.bias in .* is not finite"),
        ({"head__fc2__bias": torch.zeros(1024)}, r"holds fc2\.bias twice"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    changes: dict, sentence: str, flat: Weights, body: Body, tmp_path: Path
) -> None:
    path = tmp_path / "other.pt"
    torch.save(with_change(flat, **changes), path)
    with pytest.raises(InputError, match=sentence) as error:
        load_released(path, body=body)
    assert len(str(error.value)) < 400


def test_files_of_something_else_are_refused(body: Body, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    with pytest.raises(MissingFileError):
        load_released(path, body=body)
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="holds no weights"):
        load_released(path, body=body)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="damaged"):
        load_released(path, body=body)
    torch.save({"fc1.weight": torch.zeros(1000, 100)}, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="damaged"):
        load_released(path, body=body)
