"""Attention by whichever way is fastest must be attention, in both precisions."""

import pytest
import torch
from torch import Tensor, nn

from meshreg.lifters.attention import attend
from meshreg.lifters.mixste import mixste
from meshreg.train.device import Forward, predictor

# Keys few and many, heads narrow and wide: each combination takes another way on a processor.
SIZES = [(2, 3, 17, 16), (2, 3, 17, 32), (2, 3, 40, 16), (2, 3, 40, 32)]


def by_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Each query of each head on its own, in double precision."""
    samples = []
    for queries, keys, values in zip(query.double(), key.double(), value.double(), strict=True):
        heads = [
            torch.stack([((k @ one) / one.numel() ** 0.5).softmax(0) @ v for one in q])
            for q, k, v in zip(queries, keys, values, strict=True)
        ]
        samples.append(torch.cat(heads, -1))
    return torch.stack(samples)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("inside_autocast", [False, True])
def test_attend_is_attention(size, dtype, tolerance, inside_autocast):
    torch.manual_seed(0)
    batch, heads, count, width = size
    parts = [torch.randn(batch, count, heads, width).transpose(1, 2) for _ in range(3)]
    parts = [part.to(dtype).requires_grad_() for part in parts]
    truth = [part.detach().double().requires_grad_() for part in parts]
    with torch.autocast("cpu", torch.bfloat16, enabled=inside_autocast):
        mixed = attend(*parts)
    assert mixed.dtype == dtype
    expected = by_definition(*truth)
    weights = torch.randn_like(expected)
    (mixed.double() * weights).sum().backward()
    (expected * weights).sum().backward()
    assert _distance(mixed, expected) < tolerance
    for part, true in zip(parts, truth, strict=True):
        assert _distance(part.grad, true.grad) < tolerance


def test_training_in_bf16_follows_fp32():
    losses = {precision: _losses(precision) for precision in ("fp32", "bf16")}
    start, end = losses["fp32"][0], losses["fp32"][-1]
    assert end < start / 3, "nothing was learned, so nothing is compared"
    assert losses["bf16"][-1] == pytest.approx(end, rel=0.1, abs=0.01 * start)


def _losses(precision: str) -> list[float]:
    """Mean distances in metres while a small network learns four clips by heart."""
    torch.manual_seed(0)
    network = mixste(frames=9, width=32, hidden=64, depth=2, num_heads=2, drop_path=0.0)
    phases = torch.linspace(0, 3, 4 * 9).reshape(4, 9, 1, 1) + torch.rand(17, 3)
    poses = phases.sin()
    predict = predictor(Forward(network, precision))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = (predict(poses[..., :2]) - poses).norm(dim=-1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _distance(found: Tensor, expected: Tensor) -> float:
    return float(((found.double() - expected).abs().max() / expected.abs().max()).detach())
