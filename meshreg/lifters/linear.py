"""Linear layers that reach the speed of the processor, also of one that is not Intel's.

For products in single precision torch asks MKL, which on AMD's processors does without their widest
instructions. oneDNN, which torch carries along for convolutions, computes the same sums in half of
the time there, and in about the same elsewhere.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)
# Multiplications from which on it is asked. What takes less than a millisecond is left as it is:
# then small networks round as released ones do, and frames that nearly tie are chosen alike.
_MANY = 2**25


class Linear(nn.Linear):
    """torch's linear layer, by whichever way is fastest."""

    def forward(self, x: Float[Tensor, "*batch C"]) -> Float[Tensor, "*batch D"]:
        return linear(x, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*batch C"], weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"] | None
) -> Float[Tensor, "*batch D"]:
    """`x @ weight.T + bias`."""
    if not _suits_onednn(x, weight):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Linear.apply(x, weight, bias)
    return _product(x, weight, bias)


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    is_single = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    is_large = x.numel() * len(weight) >= _MANY
    return _HAS_ONEDNN and is_single and is_large and x.device.type == "cpu"


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Linear(torch.autograd.Function):
    """The same with derivatives, which the operator itself lacks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        flat = grad.flatten(0, -2)
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.T, None) if to_x else None,
            _product(flat.T, x.flatten(0, -2).T, None) if to_weight else None,
            flat.sum(0) if to_bias else None,
        )
