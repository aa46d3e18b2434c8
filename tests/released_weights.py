"""The reference networks: weights by a fixed rule, and the names they go by in released files."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from meshreg.models.outputs import BodyState


def fill_rule(fixtures: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill_rule", fixtures / "dsr" / "fill_rule.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(fixtures: Path, name: str) -> dict[str, Any]:
    return torch.load(fixtures / "dsr" / name, weights_only=True)


def key_table(fixtures: Path) -> list[dict[str, Any]]:
    return json.loads((fixtures / "dsr" / "keys.json").read_text())["keys"]


def start_of(init: dict[str, Tensor]) -> BodyState:
    return BodyState(pose_rot6d=init["init_pose"], betas=init["init_shape"], cam=init["init_cam"])


def flat_weights(fixtures: Path) -> dict[str, Tensor]:
    """The 331 tensors of the reference network under their plain names."""
    rule, init = fill_rule(fixtures), load(fixtures, "net.pt")["init"]
    weights = {}
    for row in key_table(fixtures):
        gain = 1.0 if row["module"] == "backbone" else 0.7
        name, shape = row["flat"], tuple(row["shape"])
        weights[name] = init[name] if name in init else rule.value(name, shape, "hash", gain)
    return weights
