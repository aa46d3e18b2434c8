"""MotionBERT's network against released numbers, its published size, and its two orders."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, loaded, num_parameters, reference

from meshreg.lifters.motionbert import RELEASED_NAMES, MotionBERT, motionbert


@pytest.fixture
def small() -> MotionBERT:
    return motionbert(frames=9, width=16, hidden=24, depth=2, representation=12).eval()


def test_released_weights_give_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "motionbert_t27_c64")
    model = motionbert(frames=27, width=64, hidden=256, depth=3, representation=96)
    assert_same(loaded(model, numbers["state_dict"], RELEASED_NAMES), numbers, RELEASED_NAMES)


def test_the_number_of_parameters_is_the_published_one() -> None:
    with torch.device("meta"):
        assert num_parameters(motionbert()) == 16_001_549


def test_everything_learns(small: MotionBERT) -> None:
    poses = small(torch.randn(2, 9, 17, 3))
    assert poses.shape == (2, 9, 17, 3)
    poses.square().sum().backward()
    with_gradient = [name for name, p in small.named_parameters() if p.grad is not None]
    assert len(with_gradient) == len(list(small.parameters()))


def test_the_branches_run_in_opposite_order(small: MotionBERT) -> None:
    """Given one another's parts, the two branches still differ, by their order alone."""
    layer = small.layers[0]
    layer.time_first.load_state_dict(layer.space_first.state_dict())
    x = torch.randn(1, 9, 17, 16)
    assert not torch.allclose(layer.space_first(x), layer.time_first(x))
    with (
        torch.no_grad()
    ):  # with attention silenced in space, the order of the parts is all there is
        for part in (layer.space_first.space, layer.time_first.space):
            for linear in (part.attn.proj, part.mlp.fc2):
                linear.weight.zero_()
                linear.bias.zero_()
    assert torch.allclose(layer.space_first(x), layer.time_first(x))


def test_at_first_both_branches_count_the_same(small: MotionBERT) -> None:
    layer, x = small.layers[0], torch.randn(1, 9, 17, 16)
    assert torch.allclose(layer(x), (layer.space_first(x) + layer.time_first(x)) / 2, atol=1e-6)


def test_shorter_clips_fit_and_longer_ones_are_refused(small: MotionBERT) -> None:
    assert small(torch.randn(1, 5, 17, 3)).shape == (1, 5, 17, 3)
    with pytest.raises(AssertionError):
        small(torch.randn(1, 10, 17, 3))
