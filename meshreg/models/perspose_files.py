"""Our own files of PersPose: weights in safetensors, with what is needed to build it again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole
from meshreg.models.perspose import PersPose, PersPoseArchitecture, build_perspose

FORMAT = 1
_KEY = "meshreg_perspose"  # of the JSON text in the file's header
_REMEDY = "give a file that save_perspose wrote."


def save_perspose(path: Path, model: PersPose) -> None:
    """Write the weights, the architecture and the name of the body.

    Raises:
        InputError: if the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "architecture": asdict(model.architecture),
        "body": model.body.data.name,
        "topology": model.body.topology_hash,
    }
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(header)})


def is_perspose(path: Path) -> bool:
    """Whether the header of a file says that it holds a PersPose; False if nothing can be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_perspose(path: Path, *, body: Body | None = None) -> PersPose:
    """The network of a file, ready for prediction, for the body it was trained with.

    `body` saves loading that body again, or gives a licensed one kept in another place.

    Raises:
        MissingFileError: if the file, or the body, is not there.
        InputError: if it is damaged, or belongs to another body.
    """
    header, tensors = _read(path)
    try:
        architecture = PersPoseArchitecture(**header["architecture"])
        name, topology = str(header["body"]), str(header["topology"])
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} was written by another version: {_REMEDY}") from error
    body = body or load_body(name, num_betas=architecture.num_betas)
    check_same_topology(body.topology_hash, topology, str(path))
    model = build_perspose(architecture, body=body)
    state = model.state_dict()
    wrong = sorted(set(state) ^ set(tensors)) or [
        key for key in state if state[key].shape != tensors[key].shape
    ]
    if wrong:
        raise InputError(
            f"{path} does not fit its own architecture at {len(wrong)} tensors, for example "
            f"{wrong[0]}: {_REMEDY}"
        )
    model.load_state_dict(tensors)
    return model.eval()


def load_perspose_weights(model: PersPose, path: Path) -> None:
    """Put the weights of a file into a model of the same architecture, to go on training.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or belongs to another architecture or body.
    """
    found = load_perspose(path, body=model.body)
    ours, theirs = asdict(model.architecture), asdict(found.architecture)
    different = [f"{k} {theirs[k]!r} instead of {ours[k]!r}" for k in ours if ours[k] != theirs[k]]
    if different:
        raise InputError(
            f"{path} holds another network: {', '.join(different)}; set the model to match."
        )
    model.load_state_dict(found.state_dict())


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise MissingFileError(f"no model at {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path} is cut off, damaged or not a model ({error}): copy or download it again."
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InputError(f"{path} holds no PersPose of this version: {_REMEDY}")
    return header, tensors
