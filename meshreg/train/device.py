"""Where a run takes place: processes, devices and precision, through Lightning Fabric."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from meshreg.data.chance import seed_of
from meshreg.errors import InputError
from meshreg.train.settings import RunSettings


def launch(run: RunSettings) -> Fabric:
    """Start the processes of a run; each gets its own Fabric and goes on from here.

    Raises:
        InputError: if the device is not there.
    """
    if run.device == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here: use run.device=auto or cpu.")
    fabric = Fabric(
        accelerator={"cuda": "cuda", "cpu": "cpu"}.get(run.device, "auto"),
        devices=run.devices,
        num_nodes=run.nodes,
        strategy="ddp" if run.devices * run.nodes > 1 else "auto",
        precision="32-true",  # `Forward` lowers it for the network alone
    )
    fabric.launch()
    return fabric


def seed_step(seed: int, number: int, rank: int) -> None:
    """Let all chance from here on depend on nothing but these numbers.

    A run that is continued therefore draws what it would have drawn, without any saved state.
    """
    mixed = seed_of(seed, number, rank)
    torch.manual_seed(mixed)
    random.seed(mixed)


class _Parcel:
    """Hides an output from wrappers that would take frozen dataclasses apart."""

    def __init__(self, content: Any) -> None:
        self.content = content


class Forward(nn.Module):
    """The network inside autocast: its layers in bfloat16, everything given and returned in fp32.

    Inputs are not rounded, because cameras and boxes need more than the 8 bits of bfloat16.
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.model, self.is_mixed = model, precision == "bf16"

    def forward(self, *args: Any, **kwargs: Any) -> _Parcel:
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.is_mixed):
            return _Parcel(_in_fp32(self.model(*args, **kwargs)))


def predictor(wrapped: nn.Module) -> Callable[..., Any]:
    """Call a wrapped `Forward` as if it were the model itself."""

    def predict(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs).content

    return predict


def _in_fp32(output: Any) -> Any:
    """The output with all its bfloat16 tensors in single precision."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, tuple | list):
        return type(output)(_in_fp32(part) for part in output)
    if isinstance(output, dict):
        return {name: _in_fp32(part) for name, part in output.items()}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        parts = {
            f.name: _in_fp32(getattr(output, f.name)) for f in dataclasses.fields(output) if f.init
        }
        return dataclasses.replace(output, **parts)
    return output
