"""UAO's lifter against released numbers, its graph against the bones, its loss, its fast twin."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lifter_parity import CLOSE, num_parameters, relative_error
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.lifters.flops import matmul_flops
from meshreg.lifters.lifting import lift
from meshreg.lifters.recognise import released_lifter
from meshreg.lifters.released import load_released
from meshreg.lifters.uao import KnowsUncertainty, SkeletonMix, graph_planes, uao
from meshreg.lifters.uao_fused import FusedGraphMLP, fused
from meshreg.losses.lifting import uncertainty_loss


def numbers_of(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "adapt" / "uao_gumlp_L3.pt", weights_only=False)


class Whole(nn.Module):
    """Everything that a network says, for counting what it costs."""

    def __init__(self, network: KnowsUncertainty) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        said = self.network.uncertain(x)
        return torch.cat([said.poses, said.log_scale[..., None]], -1)


def test_released_weights_give_the_released_outputs(reference_fixtures: Path) -> None:
    numbers = numbers_of(reference_fixtures)
    model = load_released("uao", numbers["state_dict"])
    said = model(numbers["input"], whole=True)
    assert relative_error(said.poses, numbers["mu"]) < CLOSE
    assert relative_error(said.log_scale[..., None], numbers["s"]) < CLOSE
    assert torch.equal(model(numbers["input"]), said.poses)
    assert num_parameters(model) == numbers["params"]
    assert matmul_flops(Whole(model), numbers["input"][:1]) == numbers["flops_b1"]
    assert type(released_lifter(numbers["state_dict"])) is type(model)


def test_the_graph_is_the_released_one(reference_fixtures: Path) -> None:
    planes = graph_planes(skeleton("h36m17"))
    assert torch.equal(planes, numbers_of(reference_fixtures)["A"])


def test_the_graph_follows_the_bones() -> None:
    planes = graph_planes(skeleton("h36m17"))
    sums = [round(float(total), 4) for total in planes.sum((1, 2))]
    assert sums == [4.95, 4.1, 4.6167, 3.3333]
    assert [int((plane > 0).sum()) for plane in planes] == [17, 16, 16, 12]
    torch.testing.assert_close(planes.sum((0, 1)), torch.ones(17))


@pytest.mark.parametrize(("depth", "count"), [(3, 4_509_059), (5, 7_315_629)])
def test_the_number_of_parameters_is_the_published_one(depth: int, count: int) -> None:
    with torch.device("meta"):
        assert num_parameters(uao(depth=depth)) == count


def test_joints_mix_as_four_convolutions_would() -> None:
    planes = graph_planes(skeleton("h36m17")).double()
    layer = SkeletonMix(6, planes=planes).double()
    x = torch.randn(3, 17, 6, dtype=torch.float64)
    wanted = torch.zeros_like(x)
    parts = layer.mix(x.mT)
    for relation in range(4):
        one = parts[:, 6 * relation : 6 * relation + 6]
        for taker in range(17):
            for giver in range(17):
                wanted[:, taker] += one[:, :, giver] * planes[relation, giver, taker]
    torch.testing.assert_close(layer(x), wanted)


@pytest.mark.parametrize("joint_set", ["h36m17", "humaneva15", "h36m16"])
def test_the_fast_twin_says_the_same(joint_set: str) -> None:
    model = uao(joint_set=skeleton(joint_set), width=24, hidden=12, depth=2, joint_growth=2)
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    model = model.double().eval()
    twin = FusedGraphMLP(model)
    z = torch.randn(5, 1, model.num_joints, 2, dtype=torch.float64, requires_grad=True)
    one, other = Whole(model)(z), Whole(twin)(z)
    torch.testing.assert_close(other, one)
    torch.testing.assert_close(twin(z), model(z))
    probe = torch.randn_like(one)
    grads = [torch.autograd.grad((said * probe).sum(), z)[0] for said in (one, other)]
    torch.testing.assert_close(grads[1], grads[0])


def test_the_fast_twin_needs_three_quarters_of_the_arithmetic() -> None:
    model = uao().eval()
    x = torch.zeros(1, 1, 17, 2)
    share = matmul_flops(Whole(fused(model)), x) / matmul_flops(Whole(model), x)
    assert 0.7 < share < 0.8
    other = nn.Linear(2, 2)
    assert fused(other) is other


def test_only_the_middle_frame_counts() -> None:
    model = uao(width=8, hidden=8, depth=1, joint_growth=1, frames=3).eval()
    x = torch.randn(2, 3, 17, 2)
    changed = x.clone()
    changed[:, [0, 2]] = 0
    assert torch.equal(model(x), model(changed))
    assert lift(model, 100 * torch.rand(4, 17, 2), (100, 100)).shape == (4, 17, 3)
    with pytest.raises(InputError, match="3 frames, not 1"):
        model(x[:, :1])


def test_the_loss_is_least_where_the_scale_is_the_mean_error() -> None:
    errors = torch.tensor([0.03, 0.09])
    target = torch.zeros(2, 1, 1, 3)
    pred = target + errors[:, None, None, None] * torch.tensor([0.0, 1.0, 0.0])
    known = torch.ones(2, 1)

    def loss(scale: float) -> float:
        told = torch.full((2, 1, 1), scale).log()
        return float(uncertainty_loss(pred, told, target, known))

    scales = torch.linspace(0.02, 0.12, 101).tolist()
    assert min(scales, key=loss) == pytest.approx(0.06, abs=1e-3)
    assert loss(0.06) == pytest.approx(1 + torch.tensor(0.06).log().item())
    # A frame that is not known does not count, whatever stands in it.
    pred[1] = torch.nan
    told = torch.full((2, 1, 1), 0.03).log()
    only_first = float(uncertainty_loss(pred, told, target, torch.tensor([[1.0], [0.0]])))
    assert only_first == pytest.approx(1 + torch.tensor(0.03).log().item())
