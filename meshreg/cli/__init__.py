"""The `meshreg` command: sub-commands over dataclasses of options.

This module and the option classes import nothing heavy, so help is instant; each command imports
what it needs when it runs.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

import meshreg
from meshreg.cli.lift_options import RefinedLiftOptions
from meshreg.cli.messages import plain_message
from meshreg.cli.options import (
    AddOptions,
    BakeOptions,
    DoctorOptions,
    EvaluateOptions,
    FitOptions,
    LearnPriorOptions,
    ListOptions,
    PosePriorOptions,
    PredictOptions,
    SynthOptions,
)
from meshreg.cli.recipes import RECIPES, recipe_of, spell_out_settings
from meshreg.errors import InputError
from meshreg.train.poseda_config import PosedaConfig

BAD_INPUT, INTERRUPTED = 2, 130
# Words of the command -> (options, module that runs it, its function)
COMMANDS: dict[tuple[str, ...], tuple[type, str, str]] = {
    ("predict",): (PredictOptions, "meshreg.cli.predict", "run_predict"),
    ("fit",): (FitOptions, "meshreg.cli.fit", "run_fit"),
    ("lift",): (RefinedLiftOptions, "meshreg.cli.lift", "run_lift"),
    ("models", "list"): (ListOptions, "meshreg.cli.models", "run_list"),
    ("models", "add"): (AddOptions, "meshreg.cli.models", "run_add"),
    ("models", "bake"): (BakeOptions, "meshreg.cli.models", "run_bake"),
    ("prior", "pose"): (PosePriorOptions, "meshreg.cli.models", "run_pose_prior"),
    ("prior", "learn"): (LearnPriorOptions, "meshreg.cli.prior", "run_learn_prior"),
    ("synth",): (SynthOptions, "meshreg.cli.synth", "run_synth"),
    ("train",): (RECIPES["hmr"], "meshreg.cli.train", "run_train"),
    ("adapt",): (PosedaConfig, "meshreg.cli.adapt", "run_adapt"),
    ("evaluate",): (EvaluateOptions, "meshreg.cli.evaluate", "run_evaluate"),
    ("doctor",): (DoctorOptions, "meshreg.cli.doctor", "run_doctor"),
}
GROUPS = {
    "models": "Body models: list, add licensed files, bake the built-in body.",
    "prior": "Learn priors from your own data.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0 is success, 2 bad input (one sentence on standard error), 130 an interruption.
    """
    try:
        words, options = _parse(argv)
        module, function = COMMANDS[words][1:]
        return int(getattr(import_module(module), function)(options) or 0)
    except ArgumentError as error:
        sys.stderr.write(f"meshreg: error: {plain_message(str(error))}\n")
        return BAD_INPUT
    except InputError as error:
        sys.stderr.write(f"meshreg: error: {_one_line(str(error))}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("meshreg: interrupted; files written so far are whole.\n")
        return INTERRUPTED


def _spell_out_switches(argv: Sequence[str]) -> list[str]:
    """Let `--turntable` alone stand for `--turntable=true`, which the parser wants."""
    # Other commands may take a word after the same name.
    named = [words for words in COMMANDS if tuple(argv[: len(words)]) == words]
    switches = {
        f"--{field.name}"
        for words in named or COMMANDS
        for field in fields(COMMANDS[words][0])
        if isinstance(field.default, bool)
    }
    spelled = []
    argv = [_with_underscores(word) for word in argv]
    for word, following in zip(argv, [*argv, ""][1:], strict=True):
        alone = word in switches and following not in ("true", "false")
        spelled.append(f"{word}=true" if alone else word)
    return spelled


def _spell_out_lists(argv: Sequence[str]) -> list[str]:
    """Let `--fits a b` and `--fits=a` stand for `--fits=["a", ...]`, which the parser wants."""
    lists = {
        f"--{field.name}"
        for options, _, _ in COMMANDS.values()
        for field in fields(options)
        if field.type == list[Path]
    }
    spelled: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        values = [value] if value and not value.startswith("[") else []
        while name in lists and words and not words[0].startswith(("-", "[")):
            values.append(words.pop(0))
        spelled.append(f"{name}={json.dumps(values)}" if name in lists and values else word)
    return spelled


def _with_underscores(word: str) -> str:
    """`--shard-size=9` means `--shard_size=9`."""
    name, equals, value = word.partition("=")
    if not name.startswith("--"):
        return word
    return "--" + name[2:].replace("-", "_") + equals + value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _parse(argv: Sequence[str] | None) -> tuple[tuple[str, ...], Any]:
    """The words that choose the command, and its options as a dataclass."""
    argv = spell_out_settings(sys.argv[1:] if argv is None else argv)
    commands = COMMANDS | {("train",): (recipe_of(argv), *COMMANDS["train",][1:])}
    parser = _parser("meshreg", "From pictures of people to SMPL body meshes and 3D skeletons.")
    parser.add_argument("--version", action="version", version=f"meshreg {meshreg.__version__}")
    top = parser.add_subcommands(dest="command", required=True)
    groups: dict[str, Any] = {}
    for words, (options, _, _) in commands.items():
        place = top
        if len(words) == 2:
            place = groups.get(words[0]) or _add_group(top, words[0], groups)
        summary = (options.__doc__ or "").strip().splitlines()[0]
        place.add_subcommand(words[-1], _command_parser(words, options), help=summary)
    given = _spell_out_lists(_spell_out_switches(argv))
    try:
        namespace = parser.parse_args(given)
    except UnicodeDecodeError as error:
        raise InputError(f"the --config file is not text ({error}): give a YAML file.") from error
    words = (namespace.command,)
    chosen = namespace[words[0]]
    if words not in COMMANDS:
        words, chosen = (*words, chosen.command), chosen[chosen.command]
    cls = commands[words][0]
    chosen = _command_parser(words, cls).instantiate(chosen)
    return words, cls(**{field.name: chosen[field.name] for field in fields(cls)})


def _parser(name: str, description: str) -> ArgumentParser:
    return ArgumentParser(prog=name, description=description, exit_on_error=False)


def _add_group(top: Any, name: str, groups: dict[str, Any]) -> Any:
    parser = _parser(f"meshreg {name}", GROUPS[name])
    top.add_subcommand(name, parser, help=GROUPS[name])  # before its own: levels go top down
    groups[name] = parser.add_subcommands(dest="command", required=True)
    return groups[name]


def _command_parser(words: tuple[str, ...], options: type) -> ArgumentParser:
    parser = _parser(
        f"meshreg {' '.join(words)}", (options.__doc__ or "").split("Args:")[0].strip()
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    parser.add_class_arguments(options, as_group=False, as_positional=True)
    return parser
