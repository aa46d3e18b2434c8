"""Our own files of lifters: weights in safetensors, with what is needed to build them again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole
from meshreg.lifters.convformer import convformer
from meshreg.lifters.released import RELEASES, load_released

FORMAT = 1
_KEY = "meshreg_lifter"  # of the JSON text in the file's header
_REMEDY = "give a file that save_lifter wrote."
BUILDERS: dict[str, Callable[..., nn.Module]] = {
    name: release.build for name, release in RELEASES.items()
} | {"convformer": convformer}


@dataclass(frozen=True)
class LifterHeader:
    """What a file says about its weights."""

    name: str  # key of `BUILDERS`
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of the builder, plain values
    joint_set: str = "h36m17"  # that goes in and comes out
    fps: float | None = None  # of the clips it was trained on; None: of many
    licence: str = ""  # of the weights, in one line
    recipe: str = ""  # how they were made
    format: int = FORMAT


def save_lifter(path: Path, network: nn.Module, header: LifterHeader) -> None:
    """Write the weights and how to build the network again.

    Raises:
        InputError: if the builder is unknown, or the file cannot be written.
    """
    _check_name(header, path)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(asdict(header))})


def load_lifter(path: Path) -> tuple[nn.Module, LifterHeader]:
    """The lifter of a file, ready for prediction, and what the file says about it.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or something else.
    """
    if not path.is_file():
        raise MissingFileError(f"no lifter at {path}: check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header((file.metadata() or {}).get(_KEY, ""), path)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a file of lifter weights ({error}): {_REMEDY}") from error
    network = _built(header, path)
    _fill(network, tensors, path)
    return network.eval(), header


def released_lifter(content: Any, path: Path, name: str | None = None) -> nn.Module:
    """The lifter of a released file, by its name or as the first one that the weights fit.

    Token pruning adds no weights, so without a name such files become their plain lifter.

    Raises:
        InputError: if no lifter fits.
    """
    if name is not None:
        return load_released(name, content)
    plain_first = sorted(RELEASES, key=lambda known: known.startswith("tpc_"))
    for known in plain_first:
        try:
            return load_released(known, content)
        except (InputError, RuntimeError, ValueError, ZeroDivisionError, AssertionError):
            continue
    raise InputError(
        f"the weights in {path} are of none of the lifters {', '.join(RELEASES)}: name the one "
        "they belong to with --architecture to see what does not fit."
    )


def _header(text: str, path: Path) -> LifterHeader:
    known = {entry.name for entry in fields(LifterHeader)}
    try:
        content = json.loads(text)
        assert isinstance(content, dict) and set(content) <= known and "name" in content
        header = LifterHeader(**content)
    except (ValueError, AssertionError) as error:
        raise InputError(f"{path} does not say which lifter it holds: {_REMEDY}") from error
    if header.format != FORMAT:
        raise InputError(
            f"{path} is of format {header.format}, this version reads {FORMAT}: update meshreg."
        )
    _check_name(header, path)
    return header


def _check_name(header: LifterHeader, path: Path) -> None:
    if header.name not in BUILDERS:
        raise InputError(
            f"{path} is of a lifter {header.name!r} that is not known: choose from "
            f"{', '.join(BUILDERS)}."
        )


def _built(header: LifterHeader, path: Path) -> nn.Module:
    arguments = dict(header.arguments)
    if isinstance(arguments.get("joint_set"), str):
        arguments["joint_set"] = skeleton(arguments["joint_set"])
    try:
        return BUILDERS[header.name](**arguments)
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} cannot be built as {header.name} ({reason}): {_REMEDY}"
        ) from error


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    state = network.state_dict()
    wrong = sorted(set(state) ^ set(tensors)) or [
        name for name in state if state[name].shape != tensors[name].shape
    ]
    if wrong:
        raise InputError(
            f"{path} does not fit its own lifter at {len(wrong)} tensors, for example {wrong[0]}: "
            f"{_REMEDY}"
        )
    if broken := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
        raise InputError(f"{broken[0]} in {path} is not finite: the file is damaged.")
    network.load_state_dict(dict(tensors))
