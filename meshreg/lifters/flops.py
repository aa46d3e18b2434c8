"""How much arithmetic a network takes, counted on shapes alone."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from meshreg.lifters.gla_gcn import GraphConv


def linear_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Additions and multiplications in linear layers and convolutions, as tables of papers count.

    What attention does between queries, keys and values is not in this number.
    """
    total = 0

    def add(layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * _inputs_of_one_output(layer)

    def add_graphs(layer: GraphConv, args: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        convs = (*layer.mix, *layer.source, *layer.target)  # stacked, none is called by itself
        places = output.numel() // output.shape[-1]
        total += 2 * places * sum(conv.weight.numel() for conv in convs)

    shadow = _without_numbers(model)
    for layer in shadow.modules():
        if isinstance(layer, nn.Linear | _ConvNd):
            layer.register_forward_hook(add)
        if isinstance(layer, GraphConv):
            layer.register_forward_hook(add_graphs)
    _run(shadow, inputs)
    return total


def matmul_flops(model: nn.Module, *inputs: Tensor) -> int:
    """Additions and multiplications in all matrix products, those of attention too."""
    with FlopCounterMode(display=False) as counter:
        _run(_without_numbers(model), inputs)
    return counter.get_total_flops()


def _inputs_of_one_output(layer: nn.Module) -> int:
    if isinstance(layer, nn.Linear):
        return layer.in_features
    assert isinstance(layer, _ConvNd) and not layer.transposed
    return layer.in_channels // layer.groups * math.prod(layer.kernel_size)


def _without_numbers(model: nn.Module) -> nn.Module:
    """A copy for prediction that has shapes but no values, so that running it costs nothing."""
    return copy.deepcopy(model).to("meta").requires_grad_(False).eval()


def _run(shadow: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        shadow(*[x.to("meta") for x in inputs])
