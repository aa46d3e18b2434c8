"""What networks of different kinds take over from each other."""

from pathlib import Path

import pytest
import torch

from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from meshreg.models.builders import hmr_resnet18, hmr_small
from meshreg.models.checkpoint import save_model
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, build_perspose
from meshreg.models.taken_over import take_over


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_model(path, hmr_small(conditioned=True))
    return path


def test_a_network_that_is_told_less_takes_over_all_but_what_it_is_told(file: Path) -> None:
    torch.manual_seed(1)
    earlier, later = hmr_small(conditioned=True), hmr_small(encoding=True)
    kept = later.head.embed_whole.weight.detach().clone()
    share = take_over(later, file)
    take_over(earlier, file)
    assert 0.9 < share < 1
    assert later.head.embed_whole.weight.equal(kept)
    ours, theirs = later.state_dict(), earlier.state_dict()
    same = {name for name in ours if name in theirs and ours[name].equal(theirs[name])}
    assert {*theirs} - same == {"head.embed_whole.weight"}


def test_perspose_sees_with_the_eyes_of_a_regressor(file: Path) -> None:
    torch.manual_seed(1)
    regressor = hmr_small(conditioned=True)
    take_over(regressor, file)
    network = build_perspose(PERSPOSE_ARCHITECTURES["perspose_small"], body=load_body())
    assert 0.3 < take_over(network, file) < 1
    picture = torch.rand(2, 3, 128, 128)
    regressor.eval(), network.eval()
    expected = regressor.backbone.maps(picture)[-1].mean((2, 3))
    trunk = network.trunk
    found = trunk(trunk.normalised(picture), torch.zeros(2, trunk.encoded, 32, 32)).whole
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_networks_without_anything_in_common_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="no weights in common"):
        take_over(torch.nn.Linear(2, 3), file)


def test_another_backbone_is_refused(file: Path) -> None:
    model = hmr_resnet18()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match="no weights in common"):
        take_over(model, file)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
