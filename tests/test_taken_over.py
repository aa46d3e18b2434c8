"""What networks of different kinds take over from each other."""

from pathlib import Path

import pytest
import torch

from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from meshreg.lifters import taken_over as lifters
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.checkpoint import LifterHeader, load_lifter, save_lifter
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


def small(builder: str, frames: int, **options: int) -> LifterSpec:
    sizes = {"width": 16, "hidden": 32, "num_heads": 2, "depth": 3}
    return LifterSpec(builder, frames=frames, joint_set="h36m17", options=sizes | options)


@pytest.fixture
def frame_lifter(tmp_path: Path) -> Path:
    """A network of single frames; its joints are told apart by weights that are not zero."""
    torch.manual_seed(0)
    spec = small("mixste", 1)
    network = build_lifter(spec)
    torch.nn.init.normal_(network.joint_places)
    save_lifter(tmp_path / "frame.safetensors", network, LifterHeader(spec, fps=30.0))
    return tmp_path / "frame.safetensors"


def test_a_lifter_of_clips_begins_with_what_one_of_frames_has_learnt(frame_lifter: Path) -> None:
    torch.manual_seed(1)
    clips, frames = build_lifter(small("mixste", 9)).eval(), load_lifter(frame_lifter)[0]
    share = lifters.take_over(clips, frame_lifter)
    assert 0.95 < share < 1
    still = torch.randn(2, 1, 17, 2)
    lifted = clips(still.expand(-1, 9, -1, -1))
    torch.testing.assert_close(lifted, frames(still).expand_as(lifted), rtol=1e-4, atol=1e-5)


def test_hot_begins_with_the_network_that_it_prunes(frame_lifter: Path) -> None:
    torch.manual_seed(1)
    pruned = build_lifter(small("hot_mixste", 9, keep=3, after=1))
    assert 0.7 < lifters.take_over(pruned, frame_lifter) < 1
    places = load_lifter(frame_lifter)[0].joint_places
    assert pruned.lifter.joint_places.equal(places)


def test_lifters_without_anything_in_common_are_refused(frame_lifter: Path) -> None:
    other = build_lifter(LifterSpec("mlp_baseline", frames=1, joint_set="h36m17", options={}))
    with pytest.raises(InputError, match="no weights in common"):
        lifters.take_over(other, frame_lifter)
