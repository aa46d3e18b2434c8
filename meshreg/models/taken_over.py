"""Weights that networks of different kinds have in common, from one to the other."""

from pathlib import Path

from torch import nn

from meshreg.weight_files import fill_shared, read_weights

# What regressors of parameters and PersPose call the same part
_REGRESSOR, _PERSPOSE = "backbone.", "trunk.backbone."


def take_over(model: nn.Module, path: Path) -> float:
    """Copy every weight of a file that has its place in `model`; the share of its numbers found.

    Unlike going on from a file, this only asks that some names and shapes agree: a network that is
    told more about its camera, say, or a PersPose may begin with what a regressor has learnt to
    see. What the file lacks keeps the values it has.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it is damaged, or has nothing in common with the model.
    """
    _, tensors = read_weights(path, instead="give a file of meshreg's own training.")
    remedy = "choose a file of a network with the same backbone."
    return fill_shared(model, tensors, path, names=_names, remedy=remedy)


def _names(name: str) -> list[str]:
    """Other names of a weight, its own name last: the last one that fits counts."""
    if name.startswith(_PERSPOSE):
        return [_REGRESSOR + name.removeprefix(_PERSPOSE), name]
    if name.startswith(_REGRESSOR):
        return [_PERSPOSE + name.removeprefix(_REGRESSOR), name]
    return [name]
