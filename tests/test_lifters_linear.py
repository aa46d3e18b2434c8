"""Linear layers by oneDNN must be linear layers, with their derivatives."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from meshreg.lifters import linear as module
from meshreg.lifters.linear import Linear, linear


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes of what oneDNN was asked to multiply, products of any size."""
    if not module._HAS_ONEDNN:
        pytest.skip("this torch has no oneDNN")
    shapes, product = [], module._product

    def recorded(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shapes.append(tuple(x.shape))
        return product(x, weight, bias)

    monkeypatch.setattr(module, "_MANY", 1)
    monkeypatch.setattr(module, "_product", recorded)
    return shapes


@pytest.mark.parametrize("leading", [(5,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("is_view", [False, True])
def test_outputs_and_derivatives_agree_with_double_precision(asked, leading, has_bias, is_view):
    torch.manual_seed(0)
    x = torch.randn(7, *leading).movedim(0, -1) if is_view else torch.randn(*leading, 7)
    parts = [x, torch.randn(4, 7), torch.randn(4)][: 3 if has_bias else 2]
    ours = [part.clone().requires_grad_() for part in parts]
    truth = [part.double().requires_grad_() for part in parts]
    output = linear(*ours) if has_bias else linear(*ours, None)
    expected = F.linear(*truth)
    assert len(asked) == 1
    weights = torch.randn_like(output)
    (output * weights).sum().backward()
    (expected * weights.double()).sum().backward()
    assert len(asked) == 3, "the derivatives went another way"
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    for got, wanted in zip(ours, truth, strict=True):
        torch.testing.assert_close(got.grad.double(), wanted.grad, rtol=1e-5, atol=1e-5)


def test_only_what_is_asked_for_is_derived(asked):
    layer = Linear(3, 2).requires_grad_(False)
    x = torch.randn(4, 3, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and layer.bias.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(4, 3))
    assert len(asked) == 2


def test_double_precision_autocast_and_small_products_are_left_to_torch(asked, monkeypatch):
    layer = Linear(3, 2)
    assert layer.double()(torch.randn(4, 3).double()).dtype == torch.float64
    layer = layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(4, 3)).dtype == torch.bfloat16
    monkeypatch.setattr(module, "_MANY", 25)
    layer(torch.randn(4, 3))
    assert not asked
