"""Whether a folder holds the run that is asked for, so that it can go on, or another one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshreg.errors import InputError
from meshreg.files import written_whole
from meshreg.train.settings import FREE, UNNOTED

CONFIG = "config.json"


def check_same_run(out: Path, config: Mapping[str, Any]) -> None:
    """Note the run's config in its folder; if it has checkpoints already, compare first.

    Raises:
        InputError: naming what differs, if the folder holds another run.
    """
    path = out / CONFIG
    text = json.dumps(config, indent=1, default=str)
    started = (out / "checkpoints" / "latest").is_file()
    if started and path.is_file() and (different := _differences(_noted(path), json.loads(text))):
        raise InputError(
            f"{out} holds a run with {', '.join(different[:3])}: choose another --out, or the "
            "same settings to go on."
        )
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def _noted(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): choose another --out.") from error


def _differences(noted: Any, wanted: Any) -> list[str]:
    """In words, each setting that decides results and is not the same."""
    noted, wanted = _flat(noted), _flat(wanted)
    noted = {key: value for key, value in UNNOTED.items() if key in wanted} | noted
    return [
        f"{key} {noted.get(key)!r} instead of {wanted.get(key)!r}"
        for key in sorted(wanted.keys() | noted.keys())
        if wanted.get(key) != noted.get(key) and key not in FREE
    ]


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings as "group.name"; empty groups vanish."""
    if not isinstance(values, dict):
        return {prefix: values}
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat
