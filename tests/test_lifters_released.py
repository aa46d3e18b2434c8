"""Released weights of lifters: what fits is loaded, the rest is refused in one sentence."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.lifters.hot import hot_mixste, tpc_mixste
from meshreg.lifters.ktpformer import ktpformer
from meshreg.lifters.mixste import mixste
from meshreg.lifters.released import RELEASES, load_released, new_name

SIZES = {"frames": 5, "width": 16, "hidden": 24, "depth": 2}
BUILDERS: dict[str, tuple[Callable[..., nn.Module], dict[str, int]]] = {
    "ktpformer": (ktpformer, {}),
    "mixste": (mixste, {}),
    "hot_mixste": (hot_mixste, {"keep": 3, "after": 1}),
    "tpc_mixste": (tpc_mixste, {"keep": 2, "after": 1}),
}
INVERSE = [  # our names back to released ones, written without looking at the table
    ("lifter.", ""),
    ("trunk.spatial_norm", "Spatial_norm"),
    ("trunk.temporal_norm", "Temporal_norm"),
    ("trunk.spatial", "STEblocks"),
    ("trunk.temporal", "TTEblocks"),
    ("joint_places", "Spatial_pos_embed"),
    ("frame_places", "Temporal_pos_embed"),
    ("kept_places", "pos_embed_token"),
    ("recovery.queries", "x_token"),
    ("recovery.attn", "cross_attention"),
    ("embedding.", "Spatial_patch_to_embedding."),
    ("kinematic.places", "kpattention.attn.Spatial_pos_embed"),
    ("trajectory.places", "tpattention.attn.Temporal_pos_embed"),
    ("kinematic.block.norm2", "kpattention.norm2"),
    ("trajectory.block.norm2", "tpattention.norm2"),
    ("kinematic.block.mlp", "kpattention.mlp"),
    ("trajectory.block.mlp", "tpattention.mlp"),
    ("kinematic.block.attn.", "kpattention.attn."),
    ("trajectory.block.attn.", "tpattention.attn."),
    ("kinematic.block.", "kpattention.attn."),
    ("trajectory.block.", "tpattention.attn."),
    ("kinematic.prior.norm", "kpattention.attn.kpa.bn"),
    ("kinematic.prior.graph", "kpattention.attn.kpa.gconv"),
    ("trajectory.prior.first", "tpattention.attn.tpa.gconv1"),
    ("trajectory.prior.second", "tpattention.attn.tpa.gconv2"),
    ("gconv1.graph", "gconv1.gconv"),
    ("gconv2.graph", "gconv2.gconv"),
    ("gconv1.norm", "gconv1.bn"),
    ("gconv2.norm", "gconv2.bn"),
    ("gconv.weight", "gconv.W"),
    ("gconv.modulation", "gconv.M"),
    ("gconv.correction", "gconv.adj2"),
]


def released(name: str, **changes: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """A small random network, and its weights as a release would name them."""
    build, options = BUILDERS[name]
    model = build(**SIZES | options | changes)
    weights = {}
    for key, value in model.state_dict().items():
        released_key = key
        for ours, theirs in INVERSE:
            released_key = released_key.replace(ours, theirs)
        weights[released_key] = value
    return model, weights


def reload(name: str, weights: Any, **options: Any) -> nn.Module:
    shapes_do_not_tell = {
        key: value for key, value in BUILDERS[name][1].items() if key in RELEASES[name].options
    }
    return load_released(name, weights, **shapes_do_not_tell | options)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_network_comes_back_from_released_names(name: str) -> None:
    model, weights = released(name)
    again = reload(name, weights)
    assert not again.training
    assert again.state_dict().keys() == model.state_dict().keys()
    clip, noise = torch.rand(2, 5, 17, 2), {}
    if "token" in "".join(weights) or name == "tpc_mixste":
        noise["noise"] = torch.rand(2, 5)
    one, other = (m.eval()(clip, **noise) for m in (model, again))
    assert torch.equal(getattr(one, "poses", one), getattr(other, "poses", other))


@pytest.mark.parametrize("wrapper", ["model_pos", "state_dict"])
def test_parallel_prefixes_and_training_state_are_stripped(wrapper: str) -> None:
    model, weights = released("ktpformer")
    file = {"epoch": 3, wrapper: {f"module.{key}": value for key, value in weights.items()}}
    again = load_released("ktpformer", file)
    assert torch.equal(again.state_dict()["head.1.weight"], model.state_dict()["head.1.weight"])


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("other", BUILDERS)
def test_weights_of_another_lifter_are_refused(name: str, other: str) -> None:
    if other == name or {name, other} == {"mixste", "tpc_mixste"}:  # the same layers
        return
    with pytest.raises(InputError, match=f"not weights of {name}, they .*: load them as") as error:
        reload(name, released(other)[1])
    assert str(error.value).count(". ") == 0, "one sentence"


def test_missing_and_surplus_layers_are_named() -> None:
    weights = released("mixste")[1]
    del weights["head.1.bias"]
    weights["head.2.bias"] = torch.zeros(3)
    with pytest.raises(InputError, match=r"lack head\.1\.bias and have head\.2\.bias besides"):
        load_released("mixste", weights)


def test_shapes_that_do_not_fit_are_refused() -> None:
    weights = released("mixste")[1]
    weights["STEblocks.1.mlp.fc2.weight"] = torch.zeros(16, 25)
    with pytest.raises(InputError, match=r"has the shape \(16, 25\), where mixste .* \(16, 24\)"):
        load_released("mixste", weights)


def test_damaged_numbers_are_refused() -> None:
    weights = released("mixste")[1]
    weights["head.1.bias"] = torch.tensor([0.0, torch.nan, 0])
    with pytest.raises(InputError, match=r"head\.1\.bias of these weights is not finite"):
        load_released("mixste", weights)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, "best.pth", None])
def test_what_holds_no_weights_is_refused(content: Any) -> None:
    with pytest.raises(InputError, match="give .* a released file of mixste"):
        load_released("mixste", content)


def test_unknown_lifters_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="'mixst' is not a released lifter: choose from ktpformer"):
        load_released("mixst", {})
    with pytest.raises(InputError, match="mixste has no option 'keep': choose from num_heads"):
        load_released("mixste", released("mixste")[1], keep=3)
    with pytest.raises(InputError, match="7 heads cannot share 16 channels"):
        load_released("mixste", released("mixste")[1], num_heads=7)


def test_the_skeleton_follows_the_number_of_joints_or_the_user() -> None:
    model = ktpformer(**SIZES, joint_set=skeleton("humaneva15"))
    names = RELEASES["ktpformer"].names
    weights = model.state_dict()
    assert new_name("head.0.bias", names) == "head.0.bias"
    again = RELEASES["ktpformer"].build(**RELEASES["ktpformer"].sizes(weights))
    clip = torch.rand(1, 5, 15, 2)
    again.load_state_dict(weights)
    assert torch.equal(again.eval()(clip), model.eval()(clip))
    with pytest.raises(InputError, match="h36m17 has 17 joints and the weights are for 15"):
        RELEASES["ktpformer"].build(
            joint_set=skeleton("h36m17"), **RELEASES["ktpformer"].sizes(weights)
        )
    with pytest.raises(InputError, match="for 11 joints: pass their joint_set"):
        RELEASES["ktpformer"].build(num_joints=11)
