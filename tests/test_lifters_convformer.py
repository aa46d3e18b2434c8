"""ConvFormer: the published numbers of parameters, and what its convolutions may see."""

from typing import Any

import pytest
import torch
from lifter_parity import num_parameters
from torch.nn import functional as F

from meshreg.errors import InputError
from meshreg.lifters.convformer import ConvAttention, ConvFormer, DynamicConv, convformer


@pytest.fixture
def small() -> ConvFormer:
    return convformer(frames=9, width=8, kernels=(3, 5), num_heads=4)


@pytest.mark.parametrize(
    ("frames", "count"),
    [(9, 2_559_381), (27, 2_652_495), (81, 3_429_501), (143, 5_242_195), (243, 10_239_495)],
)
def test_the_size_grows_with_the_clip_as_published(frames: int, count: int) -> None:
    with torch.device("meta"):
        assert num_parameters(convformer(frames=frames)) == count


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({"kernels": (3,)}, 2.44),
        ({"kernels": (3, 3)}, 2.46),
        ({"kernels": (3, 3, 3)}, 2.48),
        ({"kernels": (5, 5)}, 2.49),
        ({"kernels": (5, 5, 5)}, 2.52),
        ({"kernels": (7,)}, 2.47),
        ({"kernels": (7, 7)}, 2.51),
        ({"kernels": (9,)}, 2.48),
        ({"kernels": (9, 9)}, 2.54),
        ({"kernels": (9, 9, 9)}, 2.60),
        ({"kernels": (3, 5, 7)}, 2.52),
        ({"kernels": (5, 7, 9)}, 2.56),
        ({"width": 16}, 0.65),
        ({"width": 16, "depths": (2, 4)}, 1.26),
        ({"width": 16, "depths": (4, 2)}, 0.69),
        ({"depths": (2, 4)}, 4.95),
        ({"depths": (4, 2)}, 2.70),
    ],
)
def test_the_size_follows_the_published_tables(options: dict[str, Any], published: float) -> None:
    with torch.device("meta"):
        millions = num_parameters(convformer(frames=9, **options)) / 1e6
    assert abs(millions - published) < 0.009


def test_a_dynamic_convolution_is_one_convolution_with_the_mean_kernel() -> None:
    conv = DynamicConv(6, kernels=(3, 7), dropout=0.0).double()
    torch.nn.init.normal_(conv.share_logits)
    shares = conv.share_logits.softmax(0)
    assert shares.sum().item() == pytest.approx(1.0)
    narrow, wide = conv.convs
    kernel = shares[0] * F.pad(narrow.weight, (2, 2)) + shares[1] * wide.weight
    bias = shares[0] * narrow.bias + shares[1] * wide.bias
    x = torch.randn(2, 6, 11, dtype=torch.float64)
    assert torch.allclose(conv(x), F.conv1d(x, kernel, bias, padding=3))


def _reach(attention: ConvAttention, tokens: int, features: int) -> torch.Tensor:
    """Which inputs (rows) change the query at token 4 and feature 10."""
    x = torch.randn(1, tokens, features, requires_grad=True)
    query = attention._turned(attention.to_query(attention._turned(x)))
    return torch.autograd.grad(query[0, 4, 10], x)[0][0] != 0


def test_in_time_a_query_sees_all_frames_and_its_neighbours_among_the_features() -> None:
    attention = ConvAttention(channels="tokens", num_channels=9, kernels=(3,), num_heads=2)
    seen = _reach(attention.eval(), 9, 32)
    wanted = torch.zeros(9, 32, dtype=torch.bool)
    wanted[:, 9:12] = True
    assert torch.equal(seen, wanted)


def test_in_space_a_query_sees_all_features_of_neighbouring_joints() -> None:
    attention = ConvAttention(channels="features", num_channels=32, kernels=(3,), num_heads=2)
    seen = _reach(attention.eval(), 17, 32)
    wanted = torch.zeros(17, 32, dtype=torch.bool)
    wanted[3:6] = True
    assert torch.equal(seen, wanted)


def test_impossible_sizes_are_refused(small: ConvFormer) -> None:
    with pytest.raises(InputError, match="odd"):
        convformer(frames=9, kernels=(7, 4))
    with pytest.raises(InputError, match="heads"):
        convformer(frames=9, width=20)
    with pytest.raises(InputError, match="9 frames, not 8"):
        small(torch.randn(1, 8, 17, 2))


def test_the_centre_is_lifted_and_everything_learns(small: ConvFormer) -> None:
    small.eval()
    x = torch.randn(2, 9, 17, 2)
    poses = small(x)
    assert poses.shape == (2, 1, 17, 3)
    assert torch.allclose(small(x[1:]), poses[1:], atol=1e-6), "clips must not see each other"
    poses.square().sum().backward()
    still = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_chance_acts_in_training_only(small: ConvFormer) -> None:
    x = torch.randn(2, 9, 17, 2)
    small.eval()
    assert torch.equal(small(x), small(x))
    small.train()
    assert not torch.equal(small(x), small(x))
