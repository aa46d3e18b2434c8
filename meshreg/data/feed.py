"""Batches by number, in order, prepared ahead by worker processes or when they are needed."""

import multiprocessing
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from meshreg.errors import InputError


class _Numbered(Dataset[Any]):
    """What `DataLoader` calls a data set: batch `number` is its item `number`."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Any:
        try:
            return self.batches.at(number)
        except InputError as error:
            return _Refusal(str(error))  # raised here it would arrive as a page of text


@dataclass(frozen=True)
class _Refusal:
    """The sentence of a worker that could not go on."""

    sentence: str


def feed(
    batches: Any, numbers: range, *, workers: int = 0, ahead: int = 2
) -> Generator[Any, None, None]:
    """Yield `batches.at(number)` for each number in order, whatever the number of workers.

    Each worker process gets a copy of `batches`, which must survive pickling, and keeps `ahead`
    batches ready.

    Raises:
        InputError: what a batch raised, or if a worker died.
    """
    if workers == 0:
        for number in numbers:
            yield batches.at(number)
        return
    loader = DataLoader(
        _Numbered(batches),
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=ahead,
        # Forks of a process with threads may hang, and this one has many.
        multiprocessing_context=multiprocessing.get_context("spawn"),
        worker_init_fn=_alone,
    )
    try:
        for batch in loader:
            if isinstance(batch, _Refusal):
                raise InputError(batch.sentence)
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise InputError(
            "a worker process died, perhaps for lack of memory: use fewer run.workers."
        ) from error


def _alone(worker: int) -> None:
    """Let a worker use one thread, and leave Ctrl-C to the process that started it."""
    import signal

    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
