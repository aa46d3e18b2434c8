"""MixSTE, the parts that lifters share, and the count of their arithmetic."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, num_parameters, reference
from torch import nn
from torch.nn import functional as F

from meshreg.errors import InputError
from meshreg.lifters.blocks import Attention, Block, CrossAttention, DropPath, among_frames, rising
from meshreg.lifters.flops import linear_flops, matmul_flops
from meshreg.lifters.hot import hot_mixste, tpc_mixste
from meshreg.lifters.ktpformer import ktpformer
from meshreg.lifters.mixste import MixSTE, mixste
from meshreg.lifters.released import RELEASES, load_released


@pytest.fixture
def small() -> MixSTE:
    return mixste(frames=5, num_joints=4, width=16, hidden=24, depth=2)


def test_released_weights_give_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "mixste_t27_c64")
    model = load_released("mixste", numbers["state_dict"])
    assert_same(model, numbers, RELEASES["mixste"].names)


@pytest.mark.parametrize(
    ("build", "frames", "count", "giga_linear", "giga_all"),
    [
        (ktpformer, 243, 35_213_430, 277.24, 307.77),
        (ktpformer, 81, 34_859_622, 92.41, 98.02),
        (ktpformer, 27, 34_765_014, 30.80, 32.17),
        (mixste, 243, 33_783_811, 277.25, 294.85),
        (hot_mixste, 243, 35_000_323, 167.51, 176.18),
        (tpc_mixste, 243, 33_783_811, 251.28, 266.85),
    ],
)
def test_size_and_cost_are_the_published_ones(
    build: Callable[..., nn.Module], frames: int, count: int, giga_linear: float, giga_all: float
) -> None:
    with torch.device("meta"):  # shapes without numbers
        model, clip = build(frames=frames), torch.zeros(1, frames, 17, 2)
    assert num_parameters(model) == count
    assert linear_flops(model, clip) / 1e9 == pytest.approx(giga_linear, abs=0.01)
    # For KTPFormer's own links the published code multiplies two whole matrices, of which we need
    # the diagonal of one.
    assert matmul_flops(model, clip) / 1e9 == pytest.approx(giga_all, rel=1e-2)


def test_linear_layers_and_convolutions_are_counted_by_hand() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(6, 8, 5, padding=2, groups=2))
    linear, convolution = 7 * 6 * 4 * 3, 7 * 8 * 4 * (3 * 5)
    x = torch.rand(7, 6, 3)
    assert linear_flops(model, x) == 2 * (linear + convolution)
    assert model(x).shape == (7, 8, 4)  # and the network still has its numbers


def test_everything_learns(small: MixSTE) -> None:
    small(torch.rand(2, 5, 4, 2)).square().sum().backward()
    still = [
        name
        for name, p in small.named_parameters()
        if p.grad is None or not p.grad.any() and not name.endswith("attn.qkv.bias")
    ]
    assert not still


def test_frames_influence_each_other_through_time_only(small: MixSTE) -> None:
    """Without attention among frames, a frame's pose depends on that frame alone."""
    small.eval()
    clip = torch.rand(1, 5, 4, 2)
    changed = clip.clone()
    changed[:, 3] += 1
    assert ((small(clip) - small(changed)).abs().amax((0, 2, 3)) > 1e-6).all()
    for block in small.trunk.temporal:
        nn.init.zeros_(block.attn.proj.weight)
    difference = (small(clip) - small(changed)).abs().amax((0, 2, 3))
    assert difference[3] > 1e-4
    assert difference[[0, 1, 2, 4]].max() < 1e-6


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 5, 3, 2), "takes 4 joints, not 3: bring"),
        ((2, 9, 4, 2), "clips of 5 frames, not 9: cut"),
        ((2, 5, 4, 3), r"2 numbers for each joint \(x and y\), not 3: "),
    ],
)
def test_clips_of_another_shape_are_refused(
    small: MixSTE, shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        small(torch.zeros(shape))


def test_a_clip_without_a_batch_is_refused(small: MixSTE) -> None:
    with pytest.raises(InputError, match=r"not \(5, 4, 2\): add the missing axes"):
        small.check(torch.zeros(5, 4, 2))


def test_attention_is_the_textbooks() -> None:
    attention, x = Attention(12, 3), torch.rand(2, 5, 12)
    query, key, value = F.linear(x, attention.qkv.weight, attention.qkv.bias).split(12, -1)
    wanted = torch.zeros(2, 5, 12)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        weights = torch.einsum("bqd,bkd->bqk", query[..., part], key[..., part]) / 4**0.5
        wanted[..., part] = weights.softmax(-1) @ value[..., part]
    torch.testing.assert_close(attention(x), attention.proj(wanted))


def test_attention_across_to_itself_is_attention() -> None:
    one, other, x = Attention(12, 3), CrossAttention(12, 3), torch.rand(2, 5, 12)
    parts = one.qkv.weight.chunk(3), one.qkv.bias.chunk(3)
    for layer, weight, bias in zip(
        (other.linear_q, other.linear_k, other.linear_v), *parts, strict=True
    ):
        layer.load_state_dict({"weight": weight, "bias": bias})
    other.proj.load_state_dict(one.proj.state_dict())
    torch.testing.assert_close(other(x, x, x), one(x))


def test_a_block_among_frames_sees_one_joint_at_a_time() -> None:
    block, x = Block(8, 16, 2), torch.rand(2, 5, 3, 8)
    got = among_frames(block, x)
    for joint in range(3):
        torch.testing.assert_close(got[:, :, joint], block(x[:, :, joint]))


def test_dropped_paths_keep_the_mean() -> None:
    path = DropPath(0.25)
    x = torch.ones(4000, 3)
    kept = path(x)
    assert (kept == kept[:, :1]).all(), "a sample is dropped whole"
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)
    assert path.eval()(x) is x


def test_rates_rise_to_the_highest() -> None:
    assert rising(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert rising(0.3, 1) == [0]


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="5 heads cannot share 16 channels"):
        mixste(frames=5, width=16, num_heads=5)
    with pytest.raises(InputError, match=r"drop_path cannot be 1\.0"):
        mixste(frames=5, width=16, drop_path=1.0)
