"""MotionBERT's network against released numbers, its published size, and its two orders."""

from pathlib import Path

import pytest
import torch
from lifter_parity import CLOSE, assert_same, loaded, num_parameters, reference, relative_error

from meshreg.errors import InputError
from meshreg.lifters.hot import HourglassTokenizer, wrapped_names
from meshreg.lifters.motionbert import RELEASED_NAMES, MotionBERT, hot_motionbert, motionbert

HOT_NAMES = wrapped_names(RELEASED_NAMES)
# The sizes of the reference networks.
SMALL_RELEASE = {"frames": 27, "width": 64, "hidden": 256, "depth": 3, "representation": 96}


@pytest.fixture
def small() -> MotionBERT:
    return motionbert(frames=9, width=16, hidden=24, depth=2, representation=12).eval()


def test_released_weights_give_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "motionbert_t27_c64")
    model = motionbert(**SMALL_RELEASE)
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


def test_other_clips_than_it_was_built_for_are_refused(small: MotionBERT) -> None:
    with pytest.raises(InputError, match="9 frames, not 5"):
        small(torch.randn(1, 5, 17, 3))
    with pytest.raises(InputError, match="confidence"):
        small(torch.randn(1, 9, 17, 2))


def test_the_hourglass_gives_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "hot_motionbert_t27_c64")
    model = hot_motionbert(keep=9, **SMALL_RELEASE)
    loaded(model, numbers["state_dict"], HOT_NAMES)
    noise = numbers["tpc"]["noise"]
    tokens = model.lifter.run(model.lifter.embed(numbers["input"]), 0, 1)
    assert relative_error(model.lifter.describe(tokens), numbers["tpc"]["cluster_input"]) < CLOSE
    chosen = model.choose(tokens, noise=noise)
    assert torch.equal(chosen, numbers["tpc"]["index_down"].sort(1).values)
    assert_same(model, numbers, HOT_NAMES, noise=noise)


def test_the_hourglass_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert num_parameters(hot_motionbert()) == 16_347_661


def test_the_hourglass_norms_the_kept_frames_before_it_recovers_the_others(
    small: MotionBERT,
) -> None:
    pruned = HourglassTokenizer(lifter=small, keep=3, after=1, num_heads=4).eval()
    order = []
    for name, part in (("norm", small.norm), ("recovery", pruned.recovery), ("head", small.head)):
        part.register_forward_hook(
            lambda _m, args, _y, name=name: order.append((name, tuple(args[0].shape)))
        )
    assert pruned(torch.randn(2, 9, 17, 3)).shape == (2, 9, 17, 3)
    assert order == [
        ("norm", (2, 3, 17, 16)),
        ("recovery", (2 * 17, 3, 16)),
        ("head", (2, 9, 17, 12)),
    ]
