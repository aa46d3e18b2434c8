"""Which lifter released weights belong to, where nobody says so."""

from typing import Any

from torch import nn

from meshreg.errors import InputError
from meshreg.lifters.released import RELEASES, load_released

# What building a network from sizes that are not its own may raise.
_MISFITS = (InputError, RuntimeError, ArithmeticError, LookupError, TypeError, AssertionError)


def released_lifter(content: Any, name: str | None = None) -> nn.Module:
    """The lifter of a released file's content: by its name, or the first that the weights fit.

    Pruning to frames of clusters adds no weights, so without a name such files become the lifter
    that they prune.

    Raises:
        InputError: if no lifter fits, or not the named one.
    """
    if name is not None:
        return load_released(name, content)
    for known in sorted(RELEASES, key=lambda known: known.startswith("tpc_")):
        try:
            return load_released(known, content)
        except _MISFITS:
            continue
    raise InputError(
        f"the weights are of none of the lifters {', '.join(RELEASES)}: name theirs with "
        "--architecture to see what does not fit."
    )
