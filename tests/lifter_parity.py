"""Compares a lifter with numbers that the released network of the same weights gave."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from meshreg.lifters.blocks import DropPath

# The bound on relative differences; summation order alone moves single precision by some 1e-7.
CLOSE = 1e-5

Names = Iterable[tuple[str, str]]


def reference(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / "lifters" / f"{name}.pt", weights_only=False)


def renamed(key: str, names: Names) -> str:
    for pattern, ours in names:
        key = re.sub(pattern, ours, key)
    return key


def loaded(model: nn.Module, state: dict[str, Tensor], names: Names) -> nn.Module:
    """The model with all weights of a released state, in evaluation mode."""
    model.load_state_dict({renamed(key, names): value for key, value in state.items()})
    return model.eval()


def relative_error(got: Tensor, wanted: Tensor) -> float:
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    return float((got - wanted).detach().abs().max() / wanted.abs().max().clamp_min(1e-30))


def assert_same(model: nn.Module, numbers: dict[str, Any], names: Names, **inputs: Any) -> None:
    """Outputs, input gradients and the gradient norm of every parameter agree."""
    x = numbers["input"].clone().requires_grad_()
    output = model(x, **inputs)
    assert relative_error(output, numbers["output"]) < CLOSE
    wanted = numbers["grad"]
    (output * wanted["probe_w"]).sum().backward()
    assert x.grad is not None
    assert relative_error(x.grad, wanted["input_grad"]) < CLOSE
    norms = {name: p.grad.norm() for name, p in model.named_parameters() if p.grad is not None}
    released = {renamed(key, names): norm for key, norm in wanted["param_grad_norms"].items()}
    assert norms.keys() == released.keys()
    # Where the exact gradient is zero (a bias that softmax ignores) only rounding is compared.
    rounding = 1e-6 * max(float(norm) for norm in released.values())
    for name, norm in released.items():
        assert abs(float(norms[name] - norm)) < CLOSE * float(norm) + rounding, name


def assert_trains_same(model: nn.Module, numbers: dict[str, Any], names: Names) -> None:
    """In training without dropout, outputs and running statistics agree."""
    model.train()
    without_chance(model)
    output = model(numbers["input"])
    assert relative_error(output, numbers["train_output_dropout0"]) < CLOSE
    state = model.state_dict()
    for key, value in numbers["bn_after"].items():
        assert relative_error(state[renamed(key, names)], value) < CLOSE, key


def without_chance(model: nn.Module) -> None:
    """Switch off dropout and drop-path."""
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, DropPath):
            part.rate = 0.0


def num_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
