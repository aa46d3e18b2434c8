"""MHFormer against released numbers, its published sizes, and what its parts may change."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, assert_trains_same, loaded, num_parameters, reference

from meshreg.lifters.mhformer import RELEASED_NAMES, MHFormer, mhformer


@pytest.fixture
def small() -> MHFormer:
    return mhformer(frames=9, width=16, hidden=24, depths=(1, 2, 1))


def test_released_weights_give_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "mhformer_t27_c64")
    model = mhformer(frames=27, width=64, hidden=128)
    assert_same(loaded(model, numbers["state_dict"], RELEASED_NAMES), numbers, RELEASED_NAMES)


def test_training_gives_the_released_outputs_and_statistics(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "mhformer_t27_c64")
    model = mhformer(frames=27, width=64, hidden=128)
    loaded(model, numbers["state_dict"], RELEASED_NAMES)
    assert_trains_same(model, numbers, RELEASED_NAMES)


@pytest.mark.parametrize(
    ("frames", "count"),
    [(27, 19_184_517), (81, 19_837_545), (243, 25_165_077), (351, 31_516_125)],
)
def test_the_number_of_parameters_is_the_published_one(frames: int, count: int) -> None:
    with torch.device("meta"):
        assert num_parameters(mhformer(frames=frames)) == count


def test_everything_learns(small: MHFormer) -> None:
    poses = small.eval()(torch.randn(2, 9, 17, 2))
    assert poses.shape == (2, 9, 17, 3)
    poses[:, 4].square().sum().backward()
    still = [name for name, p in small.named_parameters() if p.grad is None]
    assert not still


def test_a_later_hypothesis_sees_the_corrected_earlier_ones(small: MHFormer) -> None:
    block = small.interact[0].eval()
    streams = [torch.randn(1, 5, 16) for _ in range(3)]
    one, two, three = streams
    first, second, third = block.streams
    one = first(two, three, one)
    two = second(one, three, two)
    three = third(one, two, three)
    for got, wanted in zip(block(streams), block.together([one, two, three]), strict=True):
        assert torch.equal(got, wanted)


def test_refining_in_space_keeps_frames_apart_only_without_attention(small: MHFormer) -> None:
    """Frames meet in the streams' attention alone: with it silenced, one frame stays one frame."""
    small.eval()
    with torch.no_grad():
        for block in (*small.refine, *small.interact):
            for stream in block.streams:
                stream.attn.proj.weight.zero_()
    streams = [torch.randn(1, 9, 16, requires_grad=True) for _ in range(3)]
    refined = list(streams)
    for block in (*small.refine, *small.interact):
        refined = block(refined)
    small.decode(refined)[0, 4].sum().backward()
    for stream in streams:
        assert stream.grad is not None
        assert stream.grad[0].any(-1).nonzero().flatten().tolist() == [4]


def test_a_wrong_number_of_frames_is_refused(small: MHFormer) -> None:
    with pytest.raises(AssertionError):
        small(torch.randn(2, 27, 17, 2))
