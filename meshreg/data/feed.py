"""Batches by number, in order, prepared ahead by worker processes or when they are needed."""

import multiprocessing
from collections.abc import Generator
from typing import Any

from torch.utils.data import DataLoader, Dataset


class _Numbered(Dataset[Any]):
    """What `DataLoader` calls a data set: batch `number` is its item `number`."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __getitem__(self, number: int) -> Any:
        return self.batches.at(number)


def feed(
    batches: Any, numbers: range, *, workers: int = 0, ahead: int = 2
) -> Generator[Any, None, None]:
    """Yield `batches.at(number)` for each number in order, whatever the number of workers.

    Each worker process gets a copy of `batches`, which must survive pickling, and keeps `ahead`
    batches ready.
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
    yield from loader


def _alone(worker: int) -> None:
    """Let a worker use one thread, and leave Ctrl-C to the process that started it."""
    import signal

    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
