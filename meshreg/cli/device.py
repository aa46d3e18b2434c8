"""The --device of commands: a name that torch knows, of a device that is there."""

from meshreg.errors import InputError


def check_device(device: str) -> None:
    """Refuse what is no CPU and no CUDA device of this machine.

    Raises:
        InputError: saying which it is.
    """
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(f'{device!r} is not a device: give "cpu" or "cuda".') from error
    if kind not in ("cpu", "cuda"):
        raise InputError(f'meshreg runs on "cpu" or "cuda", not on {device!r}: give one of them.')
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("there is no CUDA device here: leave out --device to use the CPU.")
