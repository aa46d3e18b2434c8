"""`meshreg train`: follow a recipe from its settings to a model file."""

from importlib import import_module
from typing import Any

from meshreg.cli.recipes import RECIPES

INTERRUPTED = 130
# Recipe -> module with its `main`
MODULES = {
    "hmr": "meshreg.train.hmr",
    "fov": "meshreg.train.fov",
    "lifter": "meshreg.train.lifter",
    "perspose": "meshreg.train.perspose",
}
assert MODULES.keys() == RECIPES.keys()


def run_train(config: Any) -> int:
    """Train; the exit code of an interruption if somebody asked the run to stop."""
    return follow(MODULES[config.recipe], config)


def follow(module: str, config: Any) -> int:
    """Do what the `main` of a recipe's module does, and say where its model is."""
    import logging
    import sys

    logging.basicConfig(format="meshreg: %(message)s", level=logging.WARNING)
    logging.getLogger("meshreg").setLevel(logging.INFO)
    if import_module(module).main(config):
        sys.stderr.write(f"meshreg: the model is {config.out / 'model.safetensors'}\n")
        return 0
    sys.stderr.write("meshreg: stopped and saved; give the same command again to go on.\n")
    return INTERRUPTED
