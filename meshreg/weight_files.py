"""Our own files of networks: tensors in safetensors, and a JSON text that says what they are of."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

StoredAs = Literal["float32", "float16"]
_TORCH_FILES = (b"PK\x03", b"\x80\x02\x8a", b"\x80\x04\x95", b"\x80\x05\x95")  # zip and pickles


def write_weights(
    path: Path, network: nn.Module, *, key: str, header: Mapping[str, Any], dtype: StoredAs
) -> None:
    """Write the weights with a header under this key; half precision is for matrices only.

    Raises:
        InputError: if the file cannot be written.
    """
    matrices = {name for name, value in network.named_parameters() if value.ndim >= 2}
    tensors = {
        name: _stored(value, half=dtype == "float16" and name in matrices)
        for name, value in network.state_dict().items()
    }
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={key: json.dumps(dict(header))})


def read_weights(path: Path, *, instead: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The texts in the header of a file, by key, and its tensors.

    `instead` says how files of torch.save, which are not read here, are read.

    Raises:
        MissingFileError: if it is not there.
        InputError: if it is damaged or something else.
    """
    _check_kind(path, instead)
    try:
        with safe_open(path, framework="pt") as file:
            texts = dict(file.metadata() or {})
            return texts, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(_damaged(path, error)) from error


def read_header(path: Path) -> dict[str, str]:
    """The texts in the header of a file alone, by key; none if it is another kind of file.

    Raises:
        MissingFileError: if it is not there.
    """
    if not path.is_file():
        raise MissingFileError(f"no model at {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def write_header(path: Path, key: str, header: Mapping[str, Any]) -> None:
    """Add one text to the header of a file, or replace it; tensors stay as they are.

    Raises:
        MissingFileError: if it is not there.
        InputError: if it is damaged or something else, or cannot be written.
    """
    texts, tensors = read_weights(path, instead="give a file of safetensors.")
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata=texts | {key: json.dumps(dict(header))})


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path, *, remedy: str) -> None:
    """Copy tensors into the network, all of them or none.

    Raises:
        InputError: if one is missing, unexpected or of another shape.
    """
    state = network.state_dict()
    wrong = sorted(set(state) ^ set(tensors)) or [
        name for name in state if state[name].shape != tensors[name].shape
    ]
    if wrong:
        raise InputError(
            f"{path} does not fit its own architecture at {len(wrong)} tensors, for example "
            f"{wrong[0]}: {remedy}"
        )
    network.load_state_dict(tensors)


@torch.no_grad()
def fill_shared(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    names: Callable[[str], Sequence[str]],
    remedy: str,
) -> float:
    """Copy the tensors that have a place in the network; the share of its numbers that were found.

    `names` are what a weight of the network may be called in the file; the last one that fits
    counts. What the file lacks keeps the values it has.

    Raises:
        InputError: if no weight is shared.
    """
    own = network.state_dict()
    shared = {
        name: tensors[key]
        for name, value in own.items()
        for key in names(name)
        if key in tensors and tensors[key].shape == value.shape
    }
    if not any(name.endswith("weight") for name in shared):
        raise InputError(f"{path} has no weights in common with this network: {remedy}")
    network.load_state_dict(shared, strict=False)
    return sum(value.numel() for value in shared.values()) / sum(v.numel() for v in own.values())


def _check_kind(path: Path, instead: str) -> None:
    if not path.is_file():
        raise MissingFileError(f"no model at {path}: check the path.")
    with path.open("rb") as file:
        if file.read(4).startswith(_TORCH_FILES):
            raise InputError(f"{path} is a file of torch.save, not ours: {instead}")


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is cut off, damaged or not a model ({error}): give a file that a training wrote, "
        "or copy it again if this is one."
    )


def _stored(value: Tensor, *, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    if half:
        small = value.to(torch.float16)
        if small.isfinite().all():
            return small
    return value
