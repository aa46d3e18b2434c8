"""Writing shards with several processes; the bytes do not depend on how many.

Every process makes whole shards. It reports through a pipe after each batch, and stops when nobody
listens any more: neither an interrupted nor a killed run leaves processes behind.
"""

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from meshreg.data.sample import Batch
from meshreg.data.shards import Manifest, prepare, write_shard
from meshreg.errors import InputError

PATIENCE = 60.0  # seconds for a process to finish its batch when the run is over


@runtime_checkable
class People(Protocol):
    """A source of samples, such as `SyntheticPeople`."""

    batch_size: int

    def render(self, indices: Sequence[int]) -> Batch:
        """These samples, each the same in whatever company."""
        ...


def write_shards(
    folder: Path,
    manifest: Manifest,
    make: Callable[[], People],
    *,
    workers: int = 1,
    on_samples: Callable[[int], None] = lambda count: None,
) -> int:
    """Write the shards that are not there yet; returns how many those were.

    `make` is called in each process, so with several workers it must be a function that can be
    found by name (or a `functools.partial` of one). `on_samples` hears how many samples were added,
    first those that were there.

    Raises:
        InputError: if the folder holds something else, the disk is full, or a process died.
    """
    if workers < 1:
        raise InputError(f"the number of workers must be at least 1, not {workers}.")
    todo = prepare(folder, manifest)
    on_samples(manifest.count - sum(len(manifest.indices(number)) for number in todo))
    if min(workers, len(todo)) > 1:
        shares = [todo[first::workers] for first in range(min(workers, len(todo)))]
        _run_processes(folder, manifest, make, shares, on_samples)
    elif todo:
        _write_all(folder, manifest, make, todo, on_samples)
    return len(todo)


def _write_all(
    folder: Path,
    manifest: Manifest,
    make: Callable[[], People],
    numbers: Sequence[int],
    on_samples: Callable[[int], None],
) -> None:
    """Write these shards in this process."""
    with _one_thread():
        people = make()
        for number in numbers:
            batches = _batches(people, manifest.indices(number))
            write_shard(folder, manifest, number, batches, on_samples)


def _batches(people: People, indices: range) -> Iterator[Batch]:
    for first in range(0, len(indices), people.batch_size):
        yield people.render(indices[first : first + people.batch_size])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums split over threads round differently: one thread per process, whatever the machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_processes(
    folder: Path,
    manifest: Manifest,
    make: Callable[[], People],
    shares: Sequence[Sequence[int]],
    on_samples: Callable[[int], None],
) -> None:
    """One process for each share of the shards; waits for all and passes on what they say."""
    processes: dict[Connection, Any] = {}
    try:
        for share in shares:
            ear, process = _start(folder, manifest, make, share)
            processes[ear] = process
        listening = list(processes)
        while listening:
            ready = wait(listening)
            for ear in [ear for ear in listening if ear in ready]:
                if _heard_the_end(ear, processes[ear], on_samples):
                    listening.remove(ear)
    finally:
        for ear in processes:
            ear.close()  # whoever still works hears that it is over
        for process in processes.values():
            process.join(PATIENCE)
            if process.is_alive():
                process.terminate()


def _start(
    folder: Path, manifest: Manifest, make: Callable[[], People], share: Sequence[int]
) -> tuple[Connection, Any]:
    context = multiprocessing.get_context("spawn")  # forks of threaded programs may hang
    ear, mouth = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(folder, manifest, make, share, mouth), daemon=True
    )
    with _deaf_to_interruption(), mouth:
        process.start()
    return ear, process


@contextmanager
def _deaf_to_interruption() -> Iterator[None]:
    """Processes started here ignore Ctrl-C, which the terminal sends to all: the parent stops them.

    Only the main thread may say so; from others they would merely complain when interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _heard_the_end(ear: Connection, process: Any, on_samples: Callable[[int], None]) -> bool:
    """Take one message; true after the last.

    Raises:
        InputError: with the sentence of a process that could not go on, or if it died.
    """
    try:
        kind, content = ear.recv()
    except EOFError:
        process.join()
        raise InputError(
            f"a worker process died (exit code {process.exitcode}), perhaps for lack of memory: "
            "use fewer --workers; the shards that are finished stay."
        ) from None
    if kind == "refused":
        raise InputError(content)
    if kind == "failed":
        raise RuntimeError(f"a worker process failed:\n{content}")
    if kind == "made":
        on_samples(content)
    return bool(kind == "done")


def _work(
    folder: Path,
    manifest: Manifest,
    make: Callable[[], People],
    numbers: Sequence[int],
    mouth: Connection,
) -> None:
    """What a worker process does."""
    try:
        message: tuple[str, Any] = ("done", 0)
        try:
            _write_all(folder, manifest, make, numbers, lambda count: mouth.send(("made", count)))
        except InputError as error:
            message = ("refused", str(error))
        except BrokenPipeError:
            return
        except Exception:  # whatever it is, the parent raises it again with this traceback
            message = ("failed", traceback.format_exc())
        mouth.send(message)
    except BrokenPipeError:
        return  # nobody listens any more
    finally:
        mouth.close()
