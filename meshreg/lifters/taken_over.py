"""Weights that lifters of different kinds or windows have in common, from one to the other."""

from pathlib import Path

from torch import nn

from meshreg.lifters.checkpoint import RELEASED
from meshreg.weight_files import fill_shared, read_weights

_PRUNED = "lifter."  # what HoT calls the network around which it is built


def take_over(network: nn.Module, path: Path) -> float:
    """Copy every weight of a lifter's file that has its place; the share of its numbers found.

    Transformers share all but their places in time with the same network for another window, so a
    clip's lifter may begin with what one of single frames has learnt; HoT begins with the network
    that it prunes. What the file lacks keeps the values it has.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or has nothing in common with the network.
    """
    _, tensors = read_weights(path, instead=RELEASED)
    remedy = "choose a file of the same kind of lifter, with as many channels."
    return fill_shared(network, tensors, path, names=_names, remedy=remedy)


def _names(name: str) -> list[str]:
    """Other names of a weight, its own name last: the last one that fits counts."""
    other = name.removeprefix(_PRUNED) if name.startswith(_PRUNED) else _PRUNED + name
    return [other, name]
