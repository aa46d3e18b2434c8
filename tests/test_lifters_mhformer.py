"""MHFormer against released numbers, its published sizes, and what its parts may change."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, assert_trains_same, loaded, num_parameters, reference

from meshreg.errors import InputError
from meshreg.lifters.hot import TokenPruning
from meshreg.lifters.mhformer import RELEASED_NAMES, MHFormer, mhformer, tpc_mhformer


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


def test_leaving_out_frames_takes_no_parameters() -> None:
    with torch.device("meta"):
        assert num_parameters(tpc_mhformer()) == 31_516_125


def test_everything_learns(small: MHFormer) -> None:
    poses = small.eval()(torch.randn(2, 9, 17, 2))
    assert poses.shape == (2, 9, 17, 3)
    poses[:, 4].square().sum().backward()
    still = [name for name, p in small.named_parameters() if p.grad is None]
    assert not still


def test_a_later_hypothesis_sees_the_corrected_earlier_ones(small: MHFormer) -> None:
    block = small.layers[-1].eval()
    tokens = torch.randn(1, 5, 3, 16)
    one, two, three = tokens.unbind(2)
    first, second, third = block.streams
    one = first(two, three, one)
    two = second(one, three, two)
    three = third(one, two, three)
    assert torch.equal(block(tokens), block.together(torch.stack([one, two, three], 2)))


def test_frames_meet_in_attention_only(small: MHFormer) -> None:
    small.eval()
    with torch.no_grad():
        for block in small.layers:
            for stream in block.streams:
                stream.attn.proj.weight.zero_()
    tokens = torch.randn(1, 9, 3, 16, requires_grad=True)
    small.regress(small.run(tokens, 0, small.num_layers))[0, 4].sum().backward()
    assert tokens.grad is not None
    seen = tokens.grad[0].any(-1)
    assert seen[4].all()
    assert not seen[[0, 1, 2, 3, 5, 6, 7, 8]].any()


def test_a_wrong_number_of_frames_is_refused(small: MHFormer) -> None:
    with pytest.raises(InputError, match="frames"):
        small(torch.randn(2, 27, 17, 2))
    with pytest.raises(InputError, match="multiple of 9"):
        mhformer(frames=100)


def test_leaving_out_no_frame_changes_nothing(small: MHFormer) -> None:
    pruned = TokenPruning(lifter=small, keep=9, after=1).eval()
    x = torch.randn(2, 9, 17, 2)
    answer = pruned(x)
    assert torch.equal(answer.poses, small(x))
    assert torch.equal(answer.frames, torch.arange(9).expand(2, -1))


def test_frames_are_left_out_after_the_first_layer_but_never_the_centre(small: MHFormer) -> None:
    pruned = TokenPruning(lifter=small, keep=3, after=1).eval()
    lengths = []
    for layer in small.layers:
        layer.register_forward_hook(lambda _m, args, _y: lengths.append(args[0].shape[1]))
    answer = pruned(torch.randn(2, 9, 17, 2))
    assert lengths == [9, 3, 3]
    assert answer.poses.shape == (2, 3, 17, 3)
    assert answer.at(4).shape == (2, 17, 3)


def test_frames_are_chosen_by_all_three_hypotheses(small: MHFormer) -> None:
    """The released network compares frames by its streams side by side, not by their mean."""
    tokens = torch.randn(2, 9, 3, 16)
    assert torch.equal(small.describe(tokens), torch.cat(tokens.unbind(2), -1))
