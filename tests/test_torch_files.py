"""Files of torch.save that hold more than tensors: harmless objects are ignored, others refused."""

import argparse
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from meshreg.errors import InputError
from meshreg.models.torch_files import Inert, read_torch_file


@pytest.fixture
def config_class(monkeypatch: pytest.MonkeyPatch) -> type:
    """A stand-in for a configuration library, importable only while a test writes a file."""
    module = types.ModuleType("yacs.config")
    config = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    return config


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_pickled_configuration_is_no_obstacle(
    is_zip: bool, config_class: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_class(LR=0.1, MODEL=config_class(NAME="hmr"))
    config.__dict__["frozen"] = True
    content = {
        "hyper_parameters": config,
        "args": argparse.Namespace(gpu=0),
        "state_dict": {"weight": torch.arange(3.0)},
    }
    path = tmp_path / "lightning.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    monkeypatch.delitem(sys.modules, "yacs.config")  # nobody has the library any more
    found = read_torch_file(path)
    assert torch.equal(found["state_dict"]["weight"], torch.arange(3.0))
    assert found["hyper_parameters"]["MODEL"] == {"NAME": "hmr"}
    assert isinstance(found["args"], Inert)


class Runs:
    """Pickles to a call that leaves a trace."""

    def __init__(self, function: Any, trace: Path) -> None:
        self.function, self.trace = function, trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.function, (f"touch {self.trace}",)


@pytest.mark.parametrize("function", [os.system, eval, exec])
@pytest.mark.parametrize("is_zip", [True, False])
def test_code_is_refused_and_not_run(function: Any, is_zip: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    content = {"weight": torch.zeros(1), "config": Runs(function, trace)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(InputError):
        read_torch_file(path)
    assert not trace.exists()


def test_a_name_outside_the_list_is_said(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"x": Inert()}, path)
    with pytest.raises(InputError, match="asks for 'meshreg.models.torch_files.Inert'"):
        read_torch_file(path)


def test_numbers_of_numpy_are_ignored(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "numpy.pt"
    torch.save({"best": np.float64(3.5), "w": torch.ones(2)}, path)
    assert torch.equal(read_torch_file(path)["w"], torch.ones(2))
