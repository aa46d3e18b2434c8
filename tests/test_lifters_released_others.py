"""Released weights of GLA-GCN, MHFormer and MotionBERT, from the file's content to the answer."""

from pathlib import Path

import pytest
import torch
from lifter_parity import CLOSE, assert_same, reference, relative_error
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.lifters.gla_gcn import GLAGCN, gla_gcn, skeleton_graph
from meshreg.lifters.hot import HourglassTokenizer, TokenPruning
from meshreg.lifters.mhformer import mhformer
from meshreg.lifters.motionbert import motionbert
from meshreg.lifters.released import RELEASES, load_released, new_name

FILES = {
    "gla_gcn": "glagcn_t27_c96",
    "mhformer": "mhformer_t27_c64",
    "motionbert": "motionbert_t27_c64",
    "hot_motionbert": "hot_motionbert_t27_c64",
}


def weights_of(folder: Path, name: str) -> dict[str, Tensor]:
    return reference(folder, FILES[name])["state_dict"]


@pytest.mark.parametrize("name", FILES)
def test_a_released_file_gives_the_released_answers(name: str, reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, FILES[name])
    # As saved by a parallel training run, next to the epoch and the optimiser.
    wrapped = {f"module.{key}": value for key, value in numbers["state_dict"].items()}
    model = load_released(name, {"epoch": 3, "lr": 0.01, "model_pos": wrapped})
    assert not model.training
    noise = {"noise": numbers["tpc"]["noise"]} if "tpc" in numbers else {}
    assert_same(model, numbers, RELEASES[name].names, **noise)


@pytest.mark.parametrize("name", FILES)
def test_no_layer_may_be_missing_or_too_much(name: str, reference_fixtures: Path) -> None:
    weights = dict(weights_of(reference_fixtures, name))
    with pytest.raises(InputError, match="besides"):
        load_released(name, weights | {"another.weight": torch.zeros(1)})
    del weights[list(weights)[-1]]
    with pytest.raises(InputError, match="lack"):
        load_released(name, weights)


@pytest.mark.parametrize("name", FILES)
def test_another_lifter_is_refused(name: str, reference_fixtures: Path) -> None:
    other = {"mhformer": "gla_gcn"}.get(name, "mhformer")
    with pytest.raises(InputError, match=f"not weights of {other}"):
        load_released(other, weights_of(reference_fixtures, name))


def test_pruned_mhformer_has_mhformers_weights(reference_fixtures: Path) -> None:
    numbers = reference(reference_fixtures, FILES["mhformer"])
    model = load_released("tpc_mhformer", numbers["state_dict"], keep=9)
    assert isinstance(model, TokenPruning)
    assert model.after == 1
    answer = model(numbers["input"])
    assert answer.poses.shape == (2, 9, 17, 3)
    assert (answer.frames == 13).any(1).all(), "the centre has to be kept"
    everything = load_released("tpc_mhformer", numbers["state_dict"], keep=27)
    assert relative_error(everything(numbers["input"]).poses, numbers["output"]) < CLOSE


def test_the_hourglass_may_prune_later_than_in_the_paper(reference_fixtures: Path) -> None:
    weights = weights_of(reference_fixtures, "hot_motionbert")
    model = load_released("hot_motionbert", weights, after=2)
    assert isinstance(model, HourglassTokenizer)
    assert (model.keep, model.after) == (9, 2)


def test_mhformer_of_longer_clips_embeds_with_one_bare_layer() -> None:
    names = RELEASES["mhformer"].names
    assert new_name("embedding_2.0.weight", names) == "embeddings.1.0.weight"
    assert new_name("embedding_2.1.running_var", names) == "embeddings.1.1.running_var"
    assert new_name("embedding_2.weight", names) == "embeddings.1.0.weight"


# Layers under the names that they have here load too, and their shapes must tell the same sizes.
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gla_gcn", gla_gcn(frames=3, width=8, in_channels=3)),
        ("gla_gcn", gla_gcn(joint_set=skeleton("humaneva15"), frames=9, width=12)),
        ("mhformer", mhformer(frames=36, num_joints=15, width=16, hidden=24)),
        ("motionbert", motionbert(frames=5, num_joints=15, width=16, hidden=24, depth=2)),
        ("motionbert", motionbert(frames=5, width=8, hidden=8, depth=1, in_channels=2)),
    ],
)
def test_shapes_tell_the_sizes(name: str, model: nn.Module) -> None:
    again = load_released(name, model.state_dict())
    x = torch.randn(2, model.frames, model.num_joints, model.in_channels)
    assert torch.equal(again(x), model.eval()(x))


def test_other_bones_than_the_data_sets_can_be_given() -> None:
    weights = gla_gcn(joint_set=skeleton("mpi_inf_3dhp17"), frames=3, width=8).state_dict()
    mpi = load_released("gla_gcn", weights, joint_set=skeleton("mpi_inf_3dhp17"))
    assert isinstance(mpi, GLAGCN)
    h36m = load_released("gla_gcn", weights)
    assert isinstance(h36m, GLAGCN)
    assert torch.equal(mpi.expand.graph.graph, skeleton_graph(skeleton("mpi_inf_3dhp17")))
    assert torch.equal(h36m.expand.graph.graph, skeleton_graph(skeleton("h36m17")))
    with pytest.raises(InputError, match="15 joints and the weights are for 17"):
        load_released("gla_gcn", weights, joint_set=skeleton("humaneva15"))


def test_options_are_refused_where_there_are_none() -> None:
    with pytest.raises(InputError, match="'keep': leave it out"):
        load_released("motionbert", {}, keep=9)
