"""Writing files so that a reader never meets half of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshreg.errors import InputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what was written there takes its place at the end.

    If the block fails or is interrupted, the temporary file goes and `path` stays as it was.

    Raises:
        InputError: if the folder cannot be made or written to, or `path` is itself a folder.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        if path.is_dir():
            raise InputError(f"cannot write {path}, which is a folder: give the name of a file.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): choose a folder that you may write to."
        ) from error
    try:
        yield temporary
        temporary.chmod(mode)  # some libraries put a file of their own there, for the owner only
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make the folder if need be, and make sure that files can be written there.

    Raises:
        InputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): choose a folder that you may write to."
        ) from error
