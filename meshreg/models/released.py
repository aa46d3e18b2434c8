"""Weights that others released for the ResNet-50 regressor: SPIN, EFT, DSR and the like.

Their files name the same layers in several ways, and some carry copies of the licensed body, which
are left out. A file either fits completely or is refused.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from meshreg.body.smpl import Body
from meshreg.errors import InputError
from meshreg.models.builders import hmr_resnet50
from meshreg.models.hmr import HMR
from meshreg.models.start import published_start
from meshreg.models.torch_files import read_torch_file

_LOG = logging.getLogger(__name__)
_WRAPPERS = ("model", "state_dict")  # where the weights are, in a file that holds more
_PREFIXES = ("module.", "model.", "backbone.", "head.")
# Bodies and joint regressors that training code happened to store with the network.
_NOT_NETWORK = ("smpl", "loss_fn", "J_regressor")
_STARTS = ("init_pose", "init_shape", "init_cam")
_SHOWN = 3  # keys that an error message names
_GIVE = "give a checkpoint of SPIN, EFT or DSR."


def load_released(
    path: Path, *, body: Body | None = None, mean_parameters: Path | None = None
) -> HMR:
    """The ResNet-50 regressor with released weights, ready for prediction.

    `mean_parameters` is the `smpl_mean_params.npz` of the release, for files that lack the mean
    body. Shapes mean what was released only on the official body (`load_body("smpl_neutral")`).

    Raises:
        MissingFileError: if a file is not there.
        InputError: if the file is damaged, asks for code to be run, or does not fit completely.
    """
    weights = released_weights(path)
    if mean_parameters is not None:
        weights |= _start_weights(mean_parameters)
    model = hmr_resnet50(body=body)
    names = _flat_names(model)
    state = model.state_dict()
    _check(weights, {short: state[name] for short, name in names.items()}, path)
    model.load_state_dict({names[key]: value for key, value in weights.items()})
    if model.body.data.name == "builtin":
        _LOG.warning(
            "%s predicts shapes of the official SMPL, which the built-in body shows only roughly: "
            'pass body=load_body("smpl_neutral") if you have it.',
            path.name,
        )
    return model.eval()


def released_weights(path: Path) -> dict[str, Tensor]:
    """The network's tensors of a released file, under the names of the plain layers.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, holds no tensors, or holds one layer twice.
    """
    content = read_torch_file(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = _tensors(content)
    if not tensors:
        raise InputError(f"{path} holds no weights: give the checkpoint of a released regressor.")
    return _flattened(tensors, path)


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _flattened(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for name, value in tensors.items():
        short = _without_prefixes(name)
        if short.startswith(_NOT_NETWORK):
            continue
        if short in flat:
            raise InputError(f"{path} holds {short} twice: give a file with one network only.")
        flat[short] = value
    return flat


def _without_prefixes(name: str) -> str:
    for prefix in _PREFIXES * 2:  # as in module.model.backbone.conv1.weight, in any order
        name = name.removeprefix(prefix)
    return name


def _start_weights(path: Path) -> dict[str, Tensor]:
    start = published_start(path)
    return dict(zip(_STARTS, (start.pose_rot6d, start.betas, start.cam), strict=True))


def _flat_names(model: HMR) -> dict[str, str]:
    """Plain layer names, each with its name in our network."""
    names = {}
    for name in model.state_dict():
        names[name.removeprefix("backbone.network.").removeprefix("head.")] = name
    assert len(names) == len(model.state_dict()), "two layers share a plain name"
    return names


def _check(weights: dict[str, Tensor], network: dict[str, Tensor], path: Path) -> None:
    """Refuse everything but exactly the layers of this network."""
    missing = [key for key in network if key not in weights]
    extra = [key for key in weights if key not in network]
    if missing and set(missing) <= set(_STARTS):
        raise InputError(
            f"{path} lacks {_listed(missing)}: pass mean_parameters, the smpl_mean_params.npz of "
            "the release."
        )
    if missing or extra:
        raise InputError(
            f"{path} does not fit the ResNet-50 regressor, it lacks {_listed(missing)} and has "
            f"{_listed(extra)} besides: {_GIVE}"
        )
    for key, value in weights.items():
        wanted = tuple(network[key].shape)
        if tuple(value.shape) != wanted:
            raise InputError(
                f"{key} in {path} has the shape {tuple(value.shape)}, not {wanted}: {_GIVE}"
            )
        if not value.isfinite().all():
            raise InputError(f"{key} in {path} is not finite: download the file again.")


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return (", ".join(keys[:_SHOWN]) or "nothing") + more
