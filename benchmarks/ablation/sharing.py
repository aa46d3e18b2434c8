"""Several processes work on one list of runs: each takes what nobody has taken."""

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Run = TypeVar("Run")
PAUSE = 5.0  # seconds between looks at what others do


@contextmanager
def claimed(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process alone may do what the lock file stands for.

    The system takes the claim back when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def work_off(
    runs: Sequence[Run],
    *,
    is_done: Callable[[Run], bool],
    is_ready: Callable[[Run], bool],
    lock: Callable[[Run], Path],
    finish: Callable[[Run], bool],
    pause: float = PAUSE,
) -> bool:
    """Do all runs, or wait until others have done them; false if one was asked to stop."""
    while pending := [run for run in runs if not is_done(run)]:
        for run in filter(is_ready, pending):
            with claimed(lock(run)) as mine:
                if mine and not is_done(run):
                    if not finish(run):
                        return False
                    break
        else:
            time.sleep(pause)
    return True
