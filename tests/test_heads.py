"""Heads: the published arithmetic, any size of features, small first corrections."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from meshreg.geometry.rotations import rot6d_to_rotmat
from meshreg.models.decoder_head import DecoderBlock, DecoderHead, grid_positions
from meshreg.models.heads import IterativeHead
from meshreg.models.outputs import BodyState
from meshreg.models.start import upright_start
from tests.released_weights import fill_rule, load, start_of


@pytest.fixture(scope="module")
def reference(reference_fixtures: Path) -> dict:
    return load(reference_fixtures, "head.pt")


@pytest.fixture(scope="module")
def reference_head(reference_fixtures: Path, reference: dict) -> IterativeHead:
    head = IterativeHead(in_channels=2048, start=start_of(reference["init"])).eval()
    fill_rule(reference_fixtures).fill(head, "hash", 0.7, skip=("init_",))
    return head


def assert_state(state: BodyState, expected: dict[str, Tensor], atol: float) -> None:
    R = rot6d_to_rotmat(state.pose_rot6d.unflatten(1, (24, 6)))
    torch.testing.assert_close(state.pose_rot6d, expected["pose6d"], atol=atol, rtol=0)
    torch.testing.assert_close(state.cam, expected["pred_cam"], atol=atol, rtol=0)
    torch.testing.assert_close(state.betas, expected["pred_shape"], atol=atol, rtol=0)
    torch.testing.assert_close(R, expected["pred_pose"], atol=100 * atol, rtol=0)


def test_every_iteration_is_the_published_one(
    reference: dict, reference_head: IterativeHead
) -> None:
    for name, values in reference["fill_spot_checks"].items():
        weight = reference_head.state_dict()[name]
        assert torch.equal(weight.flatten()[: len(values["first6"])], values["first6"]), name
    states = reference_head(reference["features"])
    for number, state in enumerate(states, start=1):
        assert_state(state, reference["out"][f"iter{number}"], 2e-6)


def test_double_precision_and_another_start(reference: dict, reference_head: IterativeHead) -> None:
    start = start_of(reference["out"]["custom_init"])
    state = reference_head(reference["features"], start=start)[-1]
    assert_state(state, reference["out"]["custom_init"], 2e-6)
    double = reference_head.double()
    try:
        state = double(reference["features"].double())[-1]
        assert_state(state, reference["out"]["iter3_f64"], 1e-12)
    finally:
        reference_head.float()


def heads(in_channels: int = 32, num_condition: int = 0) -> list[IterativeHead | DecoderHead]:
    start = upright_start()
    return [
        IterativeHead(in_channels=in_channels, start=start, hidden=64, num_condition=num_condition),
        DecoderHead(in_channels=in_channels, start=start, width=64, num_condition=num_condition),
    ]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("size", [(7, 7), (4, 3), (1, 1)])
def test_any_feature_size_and_gradients_everywhere(which: int, size: tuple[int, int]) -> None:
    head = heads()[which]
    features = torch.randn(2, 32, *size, requires_grad=True)
    state = head(features)[-1]
    weight = [torch.randn_like(x) for x in (state.pose_rot6d, state.betas, state.cam)]
    values = (state.pose_rot6d, state.betas, state.cam)
    sum((w * x).sum() for w, x in zip(weight, values, strict=True)).backward()
    assert features.grad is not None and (features.grad != 0).any()
    without = {name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()}
    # What lies before a softmax over one token has no influence.
    assert size == (1, 1) or not without, without


@pytest.mark.parametrize("which", [0, 1])
def test_an_untrained_head_says_the_start(which: int) -> None:
    head, start = heads()[which].eval(), upright_start()
    for layer in (head.decpose, head.decshape, head.deccam):
        last = layer if isinstance(layer, torch.nn.Linear) else layer[-1]
        assert last.weight.std() < 0.002  # Xavier with a gain of 0.01
        torch.nn.init.zeros_(last.bias)
    state = head(torch.randn(3, 32, 4, 4))[-1]
    assert torch.allclose(state.pose_rot6d, start.pose_rot6d.expand(3, -1), atol=0.1)


@pytest.mark.parametrize("which", [0, 1])
def test_the_condition_matters_and_must_be_given(which: int) -> None:
    head = heads(num_condition=3)[which].eval()
    features = torch.randn(2, 32, 4, 4)
    near = head(features, torch.tensor([[0.0, 0.0, 0.3]]).expand(2, -1))[-1]
    far = head(features, torch.tensor([[1.0, 0.0, 0.1]]).expand(2, -1))[-1]
    assert not torch.allclose(near.cam, far.cam, atol=1e-6)
    with pytest.raises(AssertionError):
        head(features)


def test_attention_is_a_softmax_over_tokens() -> None:
    block = DecoderBlock(width=16, num_heads=2).double().eval()
    query, tokens = torch.randn(1, 1, 16).double(), torch.randn(1, 5, 16).double()
    key, value = (tokens @ part.T for part in block.to_key_value.weight.chunk(2))
    q = query @ block.to_query.weight.T
    mixed = []
    for head in (slice(0, 8), slice(8, 16)):
        weight = F.softmax(q[..., head] @ key[..., head].mT / 8**0.5, -1)
        mixed.append(weight @ value[..., head])
    expected = torch.cat(mixed, -1) @ block.out.weight.T + block.out.bias
    assert torch.allclose(block.attend(query, tokens), expected, atol=1e-12)


def test_the_decoder_sees_where_features_are() -> None:
    head = heads()[1].eval()
    features = torch.randn(1, 32, 4, 4)
    moved = features.flip(-1)  # the same set of tokens in other places
    assert not torch.allclose(head(features)[0].cam, head(moved)[0].cam, atol=1e-6)


def test_grid_positions_differ_and_do_not_depend_on_the_grid_size() -> None:
    positions = grid_positions(7, 5, 32)
    assert positions.shape == (35, 32)
    assert torch.cdist(positions, positions).fill_diagonal_(9).min() > 0.1
    # The middle cell of grids with odd sides is the same place.
    assert torch.allclose(positions[17], grid_positions(3, 3, 32)[4], atol=1e-6)
