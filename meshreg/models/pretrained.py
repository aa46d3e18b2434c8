"""Published weights: from the cache if they are there, else fetched, else politely given up."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from meshreg.errors import InputError

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
