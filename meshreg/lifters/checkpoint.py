"""Our own files of lifters: weights, how to build the network again, and what it was made for."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from meshreg.errors import InputError
from meshreg.lifters.builders import LifterSpec, build_lifter
from meshreg.lifters.lifting import clip_sizes
from meshreg.weight_files import StoredAs, fill, read_header, read_weights, write_weights

FORMAT = 1
_KEY = "meshreg_lifter"  # of the JSON text in the file's header
_REMEDY = "give the model.safetensors of a lifter's training."
RELEASED = "released lifters are read with meshreg.lifters.released.load_released."


@dataclass(frozen=True)
class LifterHeader:
    """What a file says about its weights."""

    spec: LifterSpec
    fps: float  # of the clips it was trained on
    licence: str = ""  # of the weights, in one line
    recipe: str = ""  # how they were made
    error_mm: float | None = None  # MPJPE on clean clips of people not trained on, if measured
    format: int = FORMAT


def save_lifter(
    path: Path, network: nn.Module, header: LifterHeader, *, dtype: StoredAs = "float32"
) -> None:
    """Write a lifter that was built from `header.spec`; half precision is for matrices only.

    Raises:
        InputError: if the file cannot be written.
    """
    assert clip_sizes(network).frames == header.spec.frames, header.spec
    write_weights(path, network, key=_KEY, header=asdict(header), dtype=dtype)


def load_lifter(path: Path) -> tuple[nn.Module, LifterHeader]:
    """The lifter of a file, ready for prediction, and what the file says about it.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged or holds something else.
    """
    texts, tensors = read_weights(path, instead=RELEASED)
    header = _header(texts, path)
    network = build_lifter(header.spec)
    fill(network, tensors, path, remedy=_REMEDY)
    return network.eval(), header


def read_lifter_header(path: Path) -> LifterHeader:
    """What a file of a lifter says about its weights, without reading them.

    Raises:
        MissingFileError: if it is not there.
        InputError: if it holds something else.
    """
    return _header(read_header(path), path)


def is_lifter(path: Path) -> bool:
    """Whether a file holds a lifter.

    Raises:
        MissingFileError: if it is not there.
    """
    return _KEY in read_header(path)


def _header(texts: dict[str, str], path: Path) -> LifterHeader:
    if _KEY not in texts:
        what = "a regressor of pictures" if "meshreg_model" in texts else "tensors but no lifter"
        raise InputError(f"{path} holds {what}: {_REMEDY}")
    try:
        values: dict[str, Any] = json.loads(texts[_KEY])
        if values["format"] != FORMAT:
            raise InputError(
                f"{path} has format {values['format']}, but this meshreg reads {FORMAT}: update it."
            )
        return LifterHeader(**(values | {"spec": LifterSpec(**values["spec"])}))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} holds tensors but no lifter: {_REMEDY}") from error
