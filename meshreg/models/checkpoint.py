"""Our own files of regressors: weights in safetensors, with what is needed to build them again."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from meshreg.body.assets import check_same_topology
from meshreg.body.smpl import Body, load_body
from meshreg.errors import InputError
from meshreg.models.architecture import Architecture
from meshreg.models.builders import build_hmr
from meshreg.models.doubts import read_doubts
from meshreg.models.hmr import HMR
from meshreg.weight_files import StoredAs, read_weights, write_weights
from meshreg.weight_files import fill as fill_network

FORMAT = 1
_KEY = "meshreg_model"  # of the JSON text in the file's header
_FOV_KEY = "meshreg_fov"
_REMEDY = "give a file that save_model wrote."
_RELEASED = "released regressors are read with meshreg.models.released.load_released."


@dataclass(frozen=True)
class Header:
    """What a file says about its weights."""

    architecture: Architecture
    body: str  # name of the body it was trained with
    topology: str  # hash of that body's vertex order
    licence: str = ""  # of the weights, in one line
    recipe: str = ""  # how they were made
    format: int = FORMAT


def save_model(
    path: Path,
    model: HMR,
    *,
    dtype: StoredAs = "float32",
    licence: str = "",
    recipe: str = "",
) -> None:
    """Write the weights and the architecture; half precision is for matrices only.

    Raises:
        InputError: if the model was put together by hand, or the file cannot be written.
    """
    if model.architecture is None:
        raise InputError("only models of build_hmr or a named builder can be saved: use one.")
    header = Header(
        architecture=model.architecture,
        body=model.body.data.name,
        topology=model.body.topology_hash,
        licence=licence,
        recipe=recipe,
    )
    write_weights(path, model, key=_KEY, header=asdict(header), dtype=dtype)


def load_model(path: Path, *, body: Body | None = None) -> HMR:
    """The regressor of a file, ready for prediction, on the body it was trained with.

    `body` saves loading that body again, or gives a licensed one kept in another place.

    Raises:
        MissingFileError: if the file, or the body, is not there.
        InputError: if it is damaged, or belongs to another body.
    """
    header, tensors = read_model(path)
    if body is None:
        body = load_body(header.body, num_betas=header.architecture.num_betas)
    check_same_topology(body.topology_hash, header.topology, str(path))
    model = build_hmr(header.architecture, body=body)
    fill(model, tensors, path)
    model.doubts = read_doubts(path)
    return model.eval()


def load_weights(model: HMR, path: Path) -> None:
    """Put the weights of a file into a model of the same architecture, to go on training.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or belongs to another architecture or body.
    """
    header, tensors = read_model(path)
    if header.architecture != model.architecture:
        raise InputError(
            f"{path} holds another network: {_difference(header.architecture, model)}; load it "
            "with load_model, or build the model to match."
        )
    check_same_topology(model.body.topology_hash, header.topology, str(path))
    fill(model, tensors, path)


def fill(model: HMR, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into the model, all of them or none.

    Raises:
        InputError: if one is missing, unexpected or of another shape.
    """
    fill_network(model, tensors, path, remedy=_REMEDY)


def read_model(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """The header and the tensors of a file.

    Raises:
        MissingFileError: if it is not there.
        InputError: if it is damaged or something else.
    """
    texts, tensors = read_weights(path, instead=_RELEASED)
    if _FOV_KEY in texts:
        raise InputError(
            f"{path} holds a network that reads the field of view: give it as the camera, and a "
            "regressor as the model."
        )
    return _header(texts.get(_KEY, ""), path), tensors


def _header(text: str, path: Path) -> Header:
    try:
        values: dict[str, Any] = json.loads(text)
        if values["format"] != FORMAT:
            raise InputError(
                f"{path} has format {values['format']}, but this meshreg reads {FORMAT}: update it."
            )
        return Header(**(values | {"architecture": Architecture(**values["architecture"])}))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds tensors but no model of meshreg: {_REMEDY}") from error


def _difference(found: Architecture, model: HMR) -> str:
    if model.architecture is None:
        return "the model was put together by hand"
    pairs = [
        f"{field.name} {getattr(found, field.name)!r} instead of "
        f"{getattr(model.architecture, field.name)!r}"
        for field in fields(found)
        if getattr(found, field.name) != getattr(model.architecture, field.name)
    ]
    return ", ".join(pairs)
