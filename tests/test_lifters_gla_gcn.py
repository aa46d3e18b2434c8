"""GLA-GCN against released numbers, its graphs against the bones, its branches and gradients."""

from pathlib import Path

import pytest
import torch
from lifter_parity import assert_same, assert_trains_same, loaded, num_parameters, reference

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.lifters.gla_gcn import (
    GLAGCN,
    RELEASED_NAMES,
    GraphConv,
    gla_gcn,
    skeleton_graph,
)


@pytest.fixture
def small() -> GLAGCN:
    return GLAGCN(joint_set=skeleton("h36m17"), frames=9, width=8, global_head=True)


def test_released_weights_give_the_released_outputs_and_gradients(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "glagcn_t27_c96")
    model = loaded(gla_gcn(frames=27), numbers["state_dict"], RELEASED_NAMES)
    assert_same(model, numbers, RELEASED_NAMES)


def test_training_gives_the_released_outputs_and_statistics(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "glagcn_t27_c96")
    model = loaded(gla_gcn(frames=27), numbers["state_dict"], RELEASED_NAMES)
    assert_trains_same(model, numbers, RELEASED_NAMES)


def test_the_graph_is_the_released_one(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, "glagcn_t27_c96")
    assert torch.equal(skeleton_graph(skeleton("h36m17")), numbers["A"])


@pytest.mark.parametrize(
    ("frames", "width", "count"),
    [(243, 96, 1_348_856), (81, 96, 1_096_466), (27, 96, 844_076), (81, 256, 7_703_106)],
)
def test_the_number_of_parameters_is_the_published_one(frames: int, width: int, count: int) -> None:
    with torch.device("meta"):
        assert num_parameters(gla_gcn(frames=frames, width=width)) == count


def test_humaneva_has_the_published_size_and_its_literal_links() -> None:
    model = gla_gcn(joint_set=skeleton("humaneva15"), frames=27)
    assert num_parameters(model) == 842_724
    pairs = [(14, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 0)]
    pairs += [(0, 11), (11, 12), (12, 13), (0, 8), (8, 9), (9, 10)]
    links = torch.zeros(15, 15)
    for a, b in pairs:
        links[b, a] = 1
    links = links / links.sum(0).clamp_min(1)
    assert torch.equal(skeleton_graph(skeleton("humaneva15"))[1], links)


def test_clips_shrink_by_thirds_to_their_centre(small: GLAGCN) -> None:
    lengths = []
    for block in small.blocks[1::2]:
        block.register_forward_hook(
            lambda _m, args, y: lengths.append((args[0].shape[1], y.shape[1]))
        )
    assert small.eval()(torch.randn(2, 9, 17, 2)).shape == (2, 1, 17, 3)
    assert lengths == [(9, 3), (3, 1)]


def test_other_clips_than_it_was_built_for_are_refused(small: GLAGCN) -> None:
    with pytest.raises(InputError, match="9 frames, not 27"):
        small(torch.randn(2, 27, 17, 2))
    for frames in (0, 100):
        with pytest.raises(InputError, match="81 or 243"):
            gla_gcn(frames=frames)


def test_a_missing_global_branch_is_refused() -> None:
    with pytest.raises(InputError, match="global_head=True"):
        gla_gcn(frames=3, width=8).both(torch.randn(1, 3, 17, 2))


def test_without_attention_a_graph_convolution_follows_the_skeleton() -> None:
    graph = skeleton_graph(skeleton("h36m17"))
    layer = GraphConv(4, 4, graph=graph, dropout=0.0).double().eval()
    with torch.no_grad():
        for parameter in (*layer.source.parameters(), *layer.target.parameters()):
            parameter.zero_()
        layer.norm.weight.fill_((1 + layer.norm.eps) ** 0.5)
    x = torch.randn(2, 5, 17, 4, dtype=torch.float64)
    wanted = x.clone()
    for k, mix in enumerate(layer.mix):
        weight, still = mix.weight[:, :, 0, 0], graph[k].double() + 1e-6 + 1 / 17
        for joint in range(17):
            taken = sum(still[other, joint] * x[:, :, other] for other in range(17))
            wanted[:, :, joint] += torch.einsum("dc,btc->btd", weight, taken)
    assert torch.allclose(layer(x), wanted.relu(), atol=1e-10)


def test_both_branches_train(small: GLAGCN) -> None:
    poses = small.both(torch.randn(4, 9, 17, 2))
    centre, sequence = poses.centre, poses.sequence
    assert centre.shape == (4, 1, 17, 3)
    assert sequence.shape == (4, 9, 17, 3)
    assert (sequence < 0).any(), "the global branch has to reach negative coordinates"
    (centre.square().sum() + sequence.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in small.parameters())


def test_the_local_branch_is_the_same_with_and_without_the_global_one(small: GLAGCN) -> None:
    alone = GLAGCN(joint_set=skeleton("h36m17"), frames=9, width=8).eval()
    state = {key: v for key, v in small.state_dict().items() if not key.startswith("global_head")}
    alone.load_state_dict(state)
    x = torch.randn(2, 9, 17, 2)
    assert torch.equal(alone(x), small.eval().both(x).centre)
