"""Files of augmentors: our own, and the names that PoseAug's weights have."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from meshreg.adapt.discriminators import PoseJudge, ScreenJudge
from meshreg.adapt.generator import Augmentor
from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.weight_files import fill, read_weights, write_weights

_KEY = "meshreg_augmentor"
_REMEDY = "give augmentor.safetensors of an earlier meshreg adapt."


def save_augmentor(path: Path, augmentor: Augmentor) -> None:
    """Write an augmentor, so that other lifters can learn from it.

    Raises:
        InputError: if the file cannot be written.
    """
    header = {
        "joint_set": augmentor.joints.name,
        "width": augmentor.width,
        "noise": augmentor.noise,
    }
    write_weights(path, augmentor, key=_KEY, header=header, dtype="float32")


def load_augmentor(path: Path) -> Augmentor:
    """The augmentor of a file, ready for use.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or holds something else.
    """
    texts, tensors = read_weights(path, instead=_REMEDY)
    if _KEY not in texts:
        raise InputError(f"{path} holds no augmentor: {_REMEDY}")
    header = json.loads(texts[_KEY])
    augmentor = Augmentor(
        skeleton(header["joint_set"]), width=header["width"], noise=header["noise"]
    )
    fill(augmentor, tensors, path, remedy=_REMEDY)
    return augmentor.eval()


# --- PoseAug's names ------------------------------------------------------------------------------
_LAYERS = {0: "w1{}", 3: "linear_stages{}.0.w1", 6: "linear_stages{}.0.w2"}
_LAYERS |= {9: "linear_stages{}.1.w1", 12: "linear_stages{}.1.w2"}
_NORMS = {4: "linear_stages{}.0.batch_norm1", 7: "linear_stages{}.0.batch_norm2"}
_NORMS |= {10: "linear_stages{}.1.batch_norm1", 13: "linear_stages{}.1.batch_norm2"}
_TRUNKS = {
    "angles": ("BAprocess", "", "batch_norm1"),
    "lengths": ("BLprocess", "_BL", "batch_norm_BL"),
    "rotation": ("RTprocess", "_R", "batch_norm_R"),
}
_LEFT_OUT = "_T"  # ending of the layers that place people in space: alignment does that
_ON_SCREEN = {
    "first": "pose_layer_1",
    "second": "pose_layer_2",
    "third": "pose_layer_3",
    "fourth": "pose_layer_4",
    "last": "layer_last",
    "head": "layer_pred",
}
_OF_PART = {
    "first": "kcs_layer_1",
    "second": "kcs_layer_2",
    "third": "kcs_layer_3",
    "last": "layer_last",
    "head": "layer_pred",
}


def load_poseaug(
    network: Augmentor | PoseJudge | ScreenJudge, weights: Mapping[str, Tensor]
) -> None:
    """Put PoseAug's weights into the network of ours that has the same layers.

    The part of its generator that draws places in space has no counterpart here and is left out.

    Raises:
        InputError: if names or shapes are others.
    """
    names = _names(network)
    ours = {
        name: f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}"
        for name in network.state_dict()
    }
    expected = set(ours.values())
    extra = {n for n in weights if n not in expected and _LEFT_OUT not in n}
    if missing := sorted(expected - set(weights)) or sorted(extra):
        raise InputError(
            f"these are no weights of PoseAug's {type(network).__name__} ({missing[0]}): give "
            "those of its generator or discriminators for 16 joints."
        )
    try:
        network.load_state_dict({name: weights[theirs] for name, theirs in ours.items()})
    except RuntimeError as error:
        raise InputError(
            f"PoseAug's weights do not fit ({' '.join(str(error).split())[:200]}): build the "
            "network for h36m16."
        ) from error


def _names(network: nn.Module) -> dict[str, str]:
    """For each of our layers its name there."""
    if isinstance(network, ScreenJudge):
        return _ON_SCREEN
    if isinstance(network, PoseJudge):
        return {
            f"parts.{part}.{ours}": f"kcs_path_{part + 1}.{theirs}"
            for part in range(len(network.parts))
            for ours, theirs in _OF_PART.items()
        }
    names = {}
    for trunk, (prefix, ending, first_norm) in _TRUNKS.items():
        for place, name in {**_LAYERS, **_NORMS, 1: first_norm}.items():
            names[f"{trunk}.layers.{place}"] = f"{prefix}.{name.format(ending)}"
        names[f"{trunk}.head"] = f"{prefix}.w2{ending}"
    return names
