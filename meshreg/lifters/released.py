"""Weights that others released for lifters: shapes tell the sizes, and every name must fit."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.errors import InputError
from meshreg.lifters import gla_gcn, hot, ktpformer, mhformer, mixste, motionbert, uao

Weights = Mapping[str, Tensor]
Names = tuple[tuple[str, str], ...]
Sizes = Callable[[Weights], dict[str, int]]

_WRAPPERS = ("model_pos", "state_dict", "model")  # where the weights are, in a file with more
_SHOWN = 3  # keys that an error message names
_SKELETON_OF_COUNT = {17: "h36m17", 15: "humaneva15"}


@dataclass(frozen=True)
class Release:
    """How the released files of one lifter name its layers, and how to build the same lifter."""

    names: Names  # regular expressions for released names, and what to put in their place
    sizes: Sizes  # arguments of `build` that the shapes tell
    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ()  # arguments of `build` that the shapes do not tell


def load_released(name: str, state_dict: Any, **what_shapes_do_not_tell: Any) -> nn.Module:
    """The lifter `name` (a key of `RELEASES`) with released weights, ready for prediction.

    `state_dict` is the content of a released file, whole or only its tensors; options such as
    `num_heads`, or `keep` and `after` of pruned lifters, default to those of the paper.

    Raises:
        InputError: if there is no such lifter or option, or the weights do not fit completely.
    """
    if name not in RELEASES:
        raise InputError(f"{name!r} is not a released lifter: choose from {', '.join(RELEASES)}.")
    release = RELEASES[name]
    for option in what_shapes_do_not_tell:
        if option not in release.options:
            known = (
                f"choose from {', '.join(release.options)}" if release.options else "leave it out"
            )
            raise InputError(f"{name} has no option {option!r}: {known}.")
    weights = renamed(_tensors(state_dict, name), release.names)
    model = release.build(**_sizes(weights, name), **what_shapes_do_not_tell)
    _check(weights, model.state_dict(), name)
    model.load_state_dict(weights)
    return model.eval()


def renamed(weights: Weights, names: Names) -> dict[str, Tensor]:
    """The same tensors under the names that the layers have here."""
    return {new_name(key, names): value for key, value in weights.items()}


def new_name(key: str, names: Names) -> str:
    """What a layer with a released name is called here."""
    for pattern, replacement in names:
        key = re.sub(pattern, replacement, key)
    return key


def _tensors(content: Any, name: str) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise InputError(
            f"weights come as a mapping of names to tensors, not as {type(content).__name__}: "
            f"give what torch.load reads from a released file of {name}."
        )
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"there are no weights: give the content of a released file of {name}.")
    return {key.removeprefix("module."): value for key, value in tensors.items()}


def _sizes(weights: Weights, name: str) -> dict[str, int]:
    try:
        return RELEASES[name].sizes(weights)
    except (KeyError, IndexError) as error:  # a layer is not there, or has fewer axes
        raise InputError(
            f"these are not weights of {name}, they begin with {_listed(list(weights))}: load "
            "them as the lifter that they belong to."
        ) from error


def _check(weights: Weights, network: Weights, name: str) -> None:
    """Refuse everything but exactly the layers of this network."""
    missing = [key for key in network if key not in weights]
    extra = [key for key in weights if key not in network]
    if missing or extra:
        raise InputError(
            f"these are not weights of {name}, they lack {_listed(missing)} and have "
            f"{_listed(extra)} besides: load them as the lifter that they belong to."
        )
    for key, value in weights.items():
        wanted = tuple(network[key].shape)
        if tuple(value.shape) != wanted:
            raise InputError(
                f"{key} of these weights has the shape {tuple(value.shape)}, where {name} as "
                f"asked for has {wanted}: check the options, or load them as another lifter."
            )
        if not value.isfinite().all():
            raise InputError(f"{key} of these weights is not finite: download the file again.")


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return (", ".join(keys[:_SHOWN]) or "nothing") + more


def num_layers(weights: Weights, prefix: str) -> int:
    """How many numbered layers there are below a name that ends in a dot."""
    found = (re.match(re.escape(prefix) + r"(\d+)\.", key) for key in weights)
    return max((int(match.group(1)) + 1 for match in found if match), default=0)


def _trunk_sizes(weights: Weights) -> dict[str, int]:
    hidden, width = weights["trunk.spatial.0.mlp.fc1.weight"].shape
    depth = num_layers(weights, "trunk.spatial.")
    return {"width": width, "hidden": hidden, "depth": depth}


def _mixste_sizes(weights: Weights) -> dict[str, int]:
    return _trunk_sizes(weights) | {
        "frames": weights["frame_places"].shape[1],
        "num_joints": weights["joint_places"].shape[1],
        "in_channels": weights["embedding.weight"].shape[1],
    }


def _ktpformer_sizes(weights: Weights) -> dict[str, int]:
    return _trunk_sizes(weights) | {
        "frames": weights["trajectory.places"].shape[1],
        "num_joints": weights["kinematic.places"].shape[1],
        "in_channels": weights["kinematic.prior.graph.weight"].shape[1],
    }


def inside(sizes: Sizes) -> Sizes:
    """The sizes of a lifter that another one wraps."""

    def of_wrapped(weights: Weights) -> dict[str, int]:
        prefix = "lifter."
        return sizes({k.removeprefix(prefix): v for k, v in weights.items()})

    return of_wrapped


def inside_hourglass(sizes: Sizes) -> Sizes:
    """The sizes of a lifter in an Hourglass Tokenizer, and how many frames that one keeps."""
    return lambda weights: inside(sizes)(weights) | {"keep": weights["kept_places"].shape[1]}


def _gla_gcn_sizes(weights: Weights) -> dict[str, int]:
    num_joints = weights["expand.graph.learned"].shape[-1]
    return {
        "num_joints": num_joints,
        "frames": 3 ** (num_layers(weights, "blocks.") // 2),
        "width": weights["head.weight"].shape[1],
        "in_channels": len(weights["norm_in.weight"]) // num_joints,
    }


def _mhformer_sizes(weights: Weights) -> dict[str, int]:
    _, num_coordinates, frames = weights["guesses.0.places"].shape
    return {
        "frames": frames,
        "num_joints": num_coordinates // 2,
        "width": weights["places.0"].shape[-1],
        "hidden": len(weights["layers.0.together.mlp.fc1.weight"]),
    }


def _motionbert_sizes(weights: Weights) -> dict[str, int]:
    representation, width = weights["represent.weight"].shape
    return {
        "frames": weights["frame_places"].shape[1],
        "num_joints": weights["joint_places"].shape[1],
        "in_channels": weights["embedding.weight"].shape[1],
        "width": width,
        "hidden": len(weights["layers.0.space_first.space.mlp.fc1.weight"]),
        "depth": num_layers(weights, "layers."),
        "representation": representation,
    }


def _uao_sizes(weights: Weights) -> dict[str, int]:
    grown, num_joints = weights["blocks.0.joints.into.0.weight"].shape
    hidden, width = weights["blocks.0.channels.into.0.weight"].shape
    return {
        "num_joints": num_joints,
        "width": width,
        "hidden": hidden,
        "depth": num_layers(weights, "blocks."),
        "joint_growth": grown // num_joints,
    }


def with_bones(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A builder that takes a number of joints: no file holds the bones, its data set has them."""

    def built(*, num_joints: int, joint_set: Skeleton | None = None, **sizes: Any) -> nn.Module:
        if joint_set is None:
            if num_joints not in _SKELETON_OF_COUNT:
                raise InputError(f"the weights are for {num_joints} joints: pass their joint_set.")
            joint_set = skeleton(_SKELETON_OF_COUNT[num_joints])
        if len(joint_set) != num_joints:
            raise InputError(
                f"joint_set {joint_set.name} has {len(joint_set)} joints and the weights are for "
                f"{num_joints}: pass the joint set that they were trained on."
            )
        return build(joint_set=joint_set, **sizes)

    return built


_TUNING = ("num_heads", "drop_path")
_CHANCE = ("drop", "drop_path")

RELEASES: dict[str, Release] = {
    "ktpformer": Release(
        names=ktpformer.RELEASED_NAMES,
        sizes=_ktpformer_sizes,
        build=with_bones(ktpformer.ktpformer),
        options=("joint_set", *_TUNING),
    ),
    "mixste": Release(
        names=mixste.RELEASED_NAMES, sizes=_mixste_sizes, build=mixste.mixste, options=_TUNING
    ),
    "hot_mixste": Release(
        names=hot.wrapped_names(mixste.RELEASED_NAMES),
        sizes=inside_hourglass(_mixste_sizes),
        build=hot.hot_mixste,
        options=("after", *_TUNING),
    ),
    "tpc_mixste": Release(
        names=hot.wrapped_names(mixste.RELEASED_NAMES),
        sizes=inside(_mixste_sizes),
        build=hot.tpc_mixste,
        options=("keep", "after", *_TUNING),
    ),
    "gla_gcn": Release(
        names=gla_gcn.RELEASED_NAMES,
        sizes=_gla_gcn_sizes,
        build=with_bones(gla_gcn.gla_gcn),
        options=("joint_set", "dropout"),
    ),
    "mhformer": Release(
        names=mhformer.RELEASED_NAMES,
        sizes=_mhformer_sizes,
        build=mhformer.mhformer,
        options=_CHANCE,
    ),
    "tpc_mhformer": Release(
        names=hot.wrapped_names(mhformer.RELEASED_NAMES),
        sizes=inside(_mhformer_sizes),
        build=mhformer.tpc_mhformer,
        options=("keep", "after", *_CHANCE),
    ),
    "motionbert": Release(
        names=motionbert.RELEASED_NAMES, sizes=_motionbert_sizes, build=motionbert.motionbert
    ),
    "hot_motionbert": Release(
        names=hot.wrapped_names(motionbert.RELEASED_NAMES),
        sizes=inside_hourglass(_motionbert_sizes),
        build=motionbert.hot_motionbert,
        options=("after",),
    ),
    "uao": Release(
        names=uao.RELEASED_NAMES,
        sizes=_uao_sizes,
        build=with_bones(uao.uao),
        options=("joint_set", "dropout", "drop_path"),
    ),
}
