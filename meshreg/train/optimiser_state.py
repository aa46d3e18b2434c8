"""An optimiser's state as named tensors and plain numbers, for files that hold no pickles."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def split_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors as "parameter.name", and what the groups say in numbers."""
    state = optimizer.state_dict()
    tensors = {
        f"{parameter}.{name}": value
        for parameter, values in state["state"].items()
        for name, value in values.items()
    }
    assert all(isinstance(value, Tensor) for value in tensors.values()), tensors.keys()
    return tensors, state["param_groups"]


def restore_state(
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    groups: list[dict[str, Any]],
) -> None:
    """Put back what `split_state` took apart."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        parameter, name = key.split(".", 1)
        state.setdefault(int(parameter), {})[name] = value
    groups = [group | {"betas": tuple(group["betas"])} for group in groups]  # JSON knows lists
    optimizer.load_state_dict({"state": state, "param_groups": groups})
