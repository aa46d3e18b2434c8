"""Warnings about odd clips of motion, told in a line of the log or kept back."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from meshreg.data.motion import MotionWarning


@contextmanager
def odd_motion_ignored() -> Iterator[None]:
    """Say nothing about odd motion in here: it was told where the files were read first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MotionWarning)
        yield


@contextmanager
def odd_motion_in_a_line(log: logging.Logger, poses: str) -> Iterator[None]:
    """Gather what is odd about the motion of `poses`, and log one line in the end."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MotionWarning)
        yield
    odd = [str(warning.message) for warning in caught if _is_about_motion(warning)]
    for warning in caught:
        if not _is_about_motion(warning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if len(odd) == 1:
        log.warning("%s", odd[0])
    elif odd:
        log.warning("%d clips of %s may be odd, such as: %s", len(odd), poses, odd[0])


def _is_about_motion(warning: warnings.WarningMessage) -> bool:
    return issubclass(warning.category, MotionWarning)
