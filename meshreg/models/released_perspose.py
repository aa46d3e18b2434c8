"""Weights released with PersPose: read completely or refused, without the licensed body in them."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.smpl import Body
from meshreg.errors import InputError
from meshreg.models.perspose import PERSPOSE_ARCHITECTURES, PersPose, build_perspose
from meshreg.models.torch_files import read_torch_file

# Our names of the layers, and what they are called in released files
_NAMES = {
    "trunk.backbone.network.final_layer.": "backbone.final_feat_layer.",
    "trunk.backbone.network.": "backbone.",
    "encoding.": "cam_layer.",
    "heatmaps.": "hm_layer.",
    "depth.": "depth_layer_global.",
    "density.": "rho0_layer.",
    "twists.": "twist_layer.",
    "shape.": "shape_layer.",
    "leaves.": "leaf_rot_layer.",
}
_BODY = "smpl."  # the licensed body, and parameters of a batch, stored by accident
_GIVE = "give a checkpoint that was released with PersPose."


def load_released_perspose(path: Path, *, body: Body) -> PersPose:
    """PersPose with HRNet-W48 and released weights, ready for prediction.

    `body` is SMPL's neutral one with 11 shape columns: load_body("smpl_neutral", num_betas=11)
    from the file that holds 300.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, asks for code to be run, or does not fit completely, or the
            body has fewer than 11 shape columns.
    """
    architecture = PERSPOSE_ARCHITECTURES["perspose_released"]
    RestSkeleton.of(body).check_betas(architecture.num_betas)
    found = _network_tensors(path)
    model = build_perspose(architecture, body=body)
    state = model.state_dict()
    names = {released_name(name): name for name in state}
    _check(found, {name: state[ours] for name, ours in names.items()}, path)
    model.load_state_dict({names[name]: value for name, value in found.items()})
    return model.eval()


def released_name(name: str) -> str:
    """What a layer of a PersPose with an HRNet is called in released files."""
    for ours, theirs in _NAMES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


def _network_tensors(path: Path) -> dict[str, Tensor]:
    content = read_torch_file(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    found = {}
    for key, value in content.items() if isinstance(content, Mapping) else ():
        name = str(key).removeprefix("module.")
        if isinstance(value, Tensor) and not name.startswith(_BODY):
            found[name] = value
    if not found:
        raise InputError(f"{path} holds no weights: {_GIVE}")
    return found


def _check(found: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    """Refuse everything but exactly the layers of this network."""
    wrong = sorted(set(found) ^ set(wanted))
    if wrong:
        what = "lacks" if wrong[0] in wanted else "also has"
        raise InputError(
            f"{path} does not fit PersPose with HRNet-W48 at {len(wrong)} tensors, it {what} "
            f"{wrong[0]} for example: {_GIVE}"
        )
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            raise InputError(
                f"{name} in {path} has the shape {tuple(value.shape)}, not "
                f"{tuple(wanted[name].shape)}: {_GIVE}"
            )
        if not value.isfinite().all():
            raise InputError(f"{name} in {path} is not finite: download the file again.")
