"""Published weights: from the cache if they are there, else fetched, else politely given up."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from meshreg.errors import InputError

FILES = ("config.json", "model.safetensors")  # what a network of transformers needs
PATIENCE = 5.0  # seconds to find out whether the hub can be reached at all


def fetch(repository: str, file: str) -> Path | None:
    """The local copy of a published file, fetched if need be; None if that cannot be done now."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    if not hub_answers():
        return None
    try:
        return Path(hf_hub_download(repository, file))
    except OSError:  # gone, gated, or cut off in the middle
        return None


def hub_answers() -> bool:
    """Whether the hub can be reached; its own client would try for most of a minute."""
    from huggingface_hub import get_session

    try:
        get_session().head(hub_address(), timeout=PATIENCE)
    except Exception:  # noqa: BLE001 - every way of not getting an answer is an answer
        return False
    return True


def hub_address() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def folder_of(repository: str, *, only_cached: bool = False) -> Path | None:
    """The folder of a published network with its config and weights, fetched if need be, or None.

    `only_cached` does not touch the network.
    """
    if only_cached and not is_cached(repository):
        return None
    path: Path | None = None
    for file in FILES:
        path = fetch(repository, file)
        if path is None:
            return None
    return path.parent if path else None


def is_cached(repository: str) -> bool:
    """Whether the config and the weights of a published network are on this machine."""
    from huggingface_hub import try_to_load_from_cache

    return all(isinstance(try_to_load_from_cache(repository, file), str) for file in FILES)


def read_network(kind: Any, folder: Path) -> Any:
    """A network of the transformers library from a folder, complete, ready for prediction.

    The library would fill gaps with random numbers.

    Raises:
        OSError, ValueError or RuntimeError: if the folder does not hold all of it.
    """
    try:
        network, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    missing = [key for key in report["missing_keys"] if not key.endswith("mask_token")]
    if missing or report["mismatched_keys"]:
        raise ValueError(f"{missing[:1]} {list(report['mismatched_keys'])[:1]}")
    return network.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        InputError: if it is cut off, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is cut off or damaged ({error}): download it again.") from error
