"""KTPFormer: parity with the released network, and its graphs."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, assert_trains_same, reference
from torch import nn

from meshreg.body.skeleton import skeleton
from meshreg.lifters.ktpformer import GraphConv, KTPFormer, StackedPrior, ktpformer, tree_graph
from meshreg.lifters.released import RELEASES, load_released


@pytest.fixture
def small() -> KTPFormer:
    return ktpformer(frames=5, width=16, hidden=24, depth=1)


@pytest.fixture
def numbers(reference_fixtures: Path) -> dict:
    return reference(reference_fixtures, "ktpformer_t9_c64_l2")


def test_released_weights_give_the_released_outputs_and_gradients(numbers: dict) -> None:
    model = load_released("ktpformer", numbers["state_dict"])
    assert_same(model, numbers, RELEASES["ktpformer"].names)


def test_training_gives_the_released_outputs_and_statistics(numbers: dict) -> None:
    model = load_released("ktpformer", numbers["state_dict"])
    assert_trains_same(model, numbers, RELEASES["ktpformer"].names)


def test_the_graphs_are_the_released_ones(numbers: dict) -> None:
    assert torch.equal(tree_graph(skeleton("h36m17").parents), numbers["adj_spatial"])
    assert torch.equal(tree_graph(tuple(range(-1, 8))), numbers["adj_temporal"])


def test_a_node_shares_itself_among_its_neighbours() -> None:
    graph = tree_graph((-1, 0, 0))
    assert graph.tolist() == [[1, 0.5, 0.5], [1, 1, 0], [1, 0, 1]]


def test_without_corrections_it_is_a_plain_graph_convolution() -> None:
    graph = tree_graph((-1, 0, 1, 1))
    conv = GraphConv(3, 5, graph=graph)
    nn.init.zeros_(conv.correction)
    with torch.no_grad():
        conv.weight[1] = conv.weight[0]
    x = torch.rand(2, 4, 3)
    wanted = (graph + graph.T) / 2 @ (x @ conv.weight[0]) + conv.bias
    torch.testing.assert_close(conv(x), wanted)


def test_the_gradients_of_a_graph_convolution_are_those_of_differences() -> None:
    conv = GraphConv(2, 3, graph=tree_graph((-1, 0, 1))).double()
    nn.init.uniform_(conv.correction)
    nn.init.uniform_(conv.modulation)
    conv.graph = conv.graph.double()
    names = list(dict(conv.named_parameters()))

    def apply(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, dict(zip(names, values, strict=True)), (x,))

    x = torch.rand(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply, (x, *conv.parameters()))


def test_a_joint_is_seen_by_its_neighbours_only() -> None:
    parents = skeleton("h36m17").parents
    conv = GraphConv(2, 4, graph=tree_graph(parents))
    nn.init.zeros_(conv.correction)
    x = torch.rand(1, 17, 2)
    moved = x.clone()
    moved[:, 8] += 1  # the thorax
    touched = (conv(moved) - conv(x)).abs().amax((0, 2)) > 1e-6
    assert touched.nonzero().flatten().tolist() == [7, 8, 9, 11, 14]


def test_the_prior_of_time_is_a_correction() -> None:
    prior = StackedPrior(4, graph=tree_graph((-1, 0, 1))).eval()
    nn.init.zeros_(prior.second.norm.weight)
    x = torch.rand(2, 3, 4)
    assert torch.equal(prior(x), x)


def test_everything_learns(small: KTPFormer) -> None:
    small(torch.rand(2, 5, 17, 2)).square().sum().backward()
    still = [name for name, p in small.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_files_hold_no_graphs(small: KTPFormer) -> None:
    assert not [key for key in small.state_dict() if key.endswith("graph.graph")]
    assert small.kinematic.prior.graph.graph.shape == (17, 17)


def test_other_skeletons_fit() -> None:
    model = ktpformer(
        frames=3, joint_set=skeleton("humaneva15"), width=16, hidden=16, depth=1, in_channels=3
    )
    assert model(torch.rand(2, 3, 15, 3)).shape == (2, 3, 15, 3)
