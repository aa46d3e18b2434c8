"""Which recipe `meshreg train` is to follow, and the short way to write its settings."""

import re
from collections.abc import Sequence
from pathlib import Path

from meshreg.errors import InputError
from meshreg.train.fov_config import FovConfig
from meshreg.train.hmr_config import HmrConfig
from meshreg.train.lifter_config import LifterConfig
from meshreg.train.perspose_config import PersPoseConfig

RECIPES: dict[str, type] = {
    "hmr": HmrConfig,
    "fov": FovConfig,
    "lifter": LifterConfig,
    "perspose": PersPoseConfig,
}
_SETTING = re.compile(r"[a-z_]\w*(\.\w+)*=.*", re.DOTALL)
_RECIPE = re.compile(r"^recipe:\s*(\S+)", re.MULTILINE)


def spell_out_settings(argv: Sequence[str]) -> list[str]:
    """Let `meshreg train losses.dsr_c.weight=0.1` do without the dashes."""
    if not argv or argv[0] not in ("train", "adapt"):
        return list(argv)
    return [f"--{word}" if _SETTING.fullmatch(word) else word for word in argv]


def recipe_of(argv: Sequence[str]) -> type:
    """The options of the recipe that the --config file names; a regressor's if it names none.

    Raises:
        InputError: if there is no such recipe.
    """
    name = "hmr"
    if argv[:1] != ["train"]:
        return RECIPES[name]
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        option, _, value = word.partition("=")
        path = Path(value or following)
        if option == "--config" and path.is_file():
            found = _RECIPE.search(path.read_text("utf-8", errors="replace"))
            name = found[1].strip("\"'") if found else name
    if name == "poseda":
        raise InputError("recipe 'poseda' is for another command: give this file to meshreg adapt.")
    if name not in RECIPES:
        raise InputError(f"recipe {name!r} is not known: choose from {', '.join(RECIPES)}.")
    return RECIPES[name]
