"""Fixed benchmarks of synthetic people, and digests that prove that they never change."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from meshreg.data.synthetic.casting import cast
from meshreg.data.synthetic.scene import Planner, ScenePlan, plan_digest
from meshreg.errors import InputError, MissingFileError
from meshreg.files import written_whole

HELD_OUT = (5, 14, 86)  # subjects of the motion that are kept out of everything that is learnt
DIGESTS = Path(__file__).with_name("digests")  # of the benchmarks, one file each
DIGEST_LENGTH = 16  # hex digits kept per sample; the digest over all keeps 64


@dataclass(frozen=True)
class Bench:
    """A benchmark that never changes; its seed lies beyond those that people choose by hand."""

    name: str
    seed: int
    count: int = 2000
    size: int = 224
    shard_size: int = 500
    jpeg_quality: int | None = None  # lossless, so that no codec decides a number
    subjects: tuple[int, ...] = ()  # of a motion file; without any, poses come from the prior


BENCHES = {
    bench.name: bench
    for bench in (
        Bench(name="synth-bench-v1", seed=2**40 + 1),
        Bench(name="synth-bench-v1-motion", seed=2**40 + 2, subjects=HELD_OUT),
    )
}


@dataclass(frozen=True)
class Digests:
    """SHA-256 over the sampled numbers of a benchmark, and of each of its samples."""

    bench: str
    seed: int
    count: int
    all: str  # noqa: A003
    samples: tuple[str, ...]


def sampled_numbers(plan: ScenePlan) -> Iterator[np.ndarray]:
    """Every number drawn for a sample, in a fixed order."""
    yield from plan.numbers()
    yield from cast(plan).numbers()


def digests(
    bench: Bench, planner: Planner, on_samples: Callable[[int], None] = lambda count: None
) -> Digests:
    """Draw the numbers of all samples, without any picture."""
    assert planner.seed == bench.seed, (planner.seed, bench.seed)
    each, whole = [], hashlib.sha256()
    for index in range(bench.count):
        digest = plan_digest(sampled_numbers(planner.plan(index)))
        whole.update(digest.encode())
        each.append(digest[:DIGEST_LENGTH])
        on_samples(1)
    return Digests(
        bench=bench.name,
        seed=bench.seed,
        count=bench.count,
        all=whole.hexdigest(),
        samples=tuple(each),
    )


def write_digests(path: Path, found: Digests) -> None:
    """Write them as JSON, one sample a line."""
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")


def read_digests(path: Path) -> Digests:
    """Digests from a file.

    Raises:
        MissingFileError: if it is not there.
        InputError: if it is no such file.
    """
    if not path.is_file():
        raise MissingFileError(
            f"no digests at {path}: install meshreg again, or name their file with --digests."
        )
    try:
        values = json.loads(path.read_text("utf-8"))
        return Digests(**(values | {"samples": tuple(values["samples"])}))
    except (OSError, LookupError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} holds no digests of a benchmark ({error}): restore it."
        ) from error


def check_digests(found: Digests, expected: Digests) -> None:
    """Make sure that a benchmark is what it was.

    Raises:
        InputError: telling which samples differ.
    """
    if (found.bench, found.seed, found.count) != (expected.bench, expected.seed, expected.count):
        raise InputError(
            f"the digests are of {expected.count} samples of {expected.bench} with seed "
            f"{expected.seed}, not of {found.bench}: name its own file with --digests."
        )
    pairs = enumerate(zip(found.samples, expected.samples, strict=True))
    different = [index for index, (one, other) in pairs if one != other]
    if different or found.all != expected.all:
        first = f", the first is sample {different[0]}" if different else ""
        raise InputError(
            f"{len(different)} of {found.count} samples of {found.bench} differ from the "
            f"benchmark's{first}: use the version of meshreg that it was made with, and its poses."
        )
