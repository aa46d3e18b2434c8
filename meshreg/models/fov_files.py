"""Our own files of field-of-view networks, and the one that comes with meshreg."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshreg.errors import InputError, MissingFileError
from meshreg.models.checkpoint import read_model
from meshreg.models.field_of_view import FovArchitecture, FovNetwork, build_fov
from meshreg.weight_files import StoredAs, fill, read_weights, write_weights

FORMAT = 1
SHIPPED = Path(__file__).parent / "field_of_view.safetensors"
_KEY = "meshreg_fov"  # of the JSON text in the file's header
_REMEDY = "give a file that `meshreg train --config configs/fov/default.yaml` wrote."
_OTHERS = {
    "meshreg_model": "a regressor of bodies",
    "meshreg_perspose": "a PersPose",
    "meshreg_lifter": "a lifter",
}


@dataclass(frozen=True)
class FovHeader:
    """What a file says about its weights."""

    architecture: FovArchitecture
    licence: str = ""  # of the weights, in one line
    recipe: str = ""  # how they were made
    format: int = FORMAT


def save_fov(
    path: Path,
    network: FovNetwork,
    *,
    dtype: StoredAs = "float32",
    licence: str = "",
    recipe: str = "",
) -> None:
    """Write the weights and the architecture; half precision is for matrices only.

    Raises:
        InputError: if the file cannot be written.
    """
    header = FovHeader(architecture=network.architecture, licence=licence, recipe=recipe)
    write_weights(path, network, key=_KEY, header=asdict(header), dtype=dtype)


def load_fov(path: Path | None = None) -> FovNetwork:
    """The network of a file, by default of the one that comes with meshreg, ready for prediction.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or of another kind.
    """
    if path is None and not SHIPPED.is_file():
        raise MissingFileError(
            f"this copy of meshreg comes without {SHIPPED.name}: train one with `meshreg train "
            "--config configs/fov/default.yaml` and give its file."
        )
    return read_fov(path or SHIPPED)[1]


def read_fov(path: Path) -> tuple[FovHeader, FovNetwork]:
    """The same with what the file says about it.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or of another kind.
    """
    texts, tensors = read_weights(path, instead=_REMEDY)
    header = _header(texts, path)
    network = build_fov(header.architecture)
    fill(network, tensors, path, remedy=_REMEDY)
    return header, network.eval()


def start_from_regressor(network: FovNetwork, path: Path) -> None:
    """Begin with the backbone of a regressor of bodies: it has learned to see such pictures.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is of another kind or has another backbone.
    """
    header, tensors = read_model(path)
    ours, theirs = network.architecture.backbone, header.architecture.backbone
    if ours != theirs:
        raise InputError(
            f"{path} has the backbone {theirs}, but the network is to have {ours}: set "
            f"model.backbone={theirs}."
        )
    start = len("backbone.")
    own = {name[start:]: v for name, v in tensors.items() if name.startswith("backbone.")}
    fill(network.backbone, own, path, remedy=_REMEDY)


def _header(texts: dict[str, str], path: Path) -> FovHeader:
    if _KEY not in texts:
        found = next((what for key, what in _OTHERS.items() if key in texts), "something else")
        raise InputError(f"{path} holds {found}, not a network of the field of view: {_REMEDY}")
    try:
        values: dict[str, Any] = json.loads(texts[_KEY])
        if values["format"] != FORMAT:
            raise InputError(
                f"{path} has format {values['format']}, but this meshreg reads {FORMAT}: update it."
            )
        architecture = FovArchitecture(**values["architecture"])
        return FovHeader(**(values | {"architecture": architecture}))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} was written by another version: {_REMEDY}") from error
