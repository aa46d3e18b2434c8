"""`meshreg synth`: dressed people with exact labels, as shards; and the fixed benchmarks."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshreg.cli.device import check_device
from meshreg.cli.options import SynthOptions
from meshreg.errors import InputError
from meshreg.files import check_writable

if TYPE_CHECKING:
    from rich.console import Console

    from meshreg.data.shard_workers import People
    from meshreg.data.shards import Manifest
    from meshreg.data.synthetic.benchmark import Bench
    from meshreg.data.synthetic.rendered import PeopleRecipe

BATCH = 10  # pictures drawn at once; part of what decides the bytes, so no option
FIXED_BY_BENCH = (
    *("count", "seed", "size", "shard_size", "jpeg_quality"),
    *("fov", "heights", "central"),
)
MOST_NOTES = 5  # about odd clips; those of a folder may be many


def run_synth(options: SynthOptions) -> None:
    """Check, draw, write, report."""
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    bench = _bench(options)
    if bench is not None:
        options = replace(
            options,
            count=bench.count,
            seed=bench.seed,
            size=bench.size,
            shard_size=bench.shard_size,
            jpeg_quality=bench.jpeg_quality or 0,
        )
    recipe = _recipe(options, bench)
    if bench is not None and (options.verify or options.write_digests):
        _digest(options, bench, recipe, console)
    else:
        _draw(options, recipe, console)


def _bench(options: SynthOptions) -> "Bench | None":
    """The benchmark asked for, after refusing options that it does not leave open."""
    from meshreg.data.synthetic.benchmark import BENCHES

    if options.bench is None:
        if options.verify or options.write_digests or options.digests:
            raise InputError("digests belong to a benchmark: give --bench synth-bench-v1 as well.")
        if options.count is None:
            raise InputError("say how many people to draw with --count N, or give a --bench.")
        return None
    if options.verify and options.write_digests:
        raise InputError("--verify and --write-digests contradict each other: give one of them.")
    for name in FIXED_BY_BENCH:
        if getattr(options, name) != getattr(SynthOptions(), name):
            raise InputError(f"{options.bench} is fixed: leave out --{name.replace('_', '-')}.")
    bench = BENCHES[options.bench]
    if bool(bench.subjects) == (options.poses == "prior"):
        needed = "--poses FILE, the motion it is made of" if bench.subjects else "no --poses"
        raise InputError(f"{options.bench} takes {needed}.")
    return bench


def _recipe(options: SynthOptions, bench: "Bench | None") -> "PeopleRecipe":
    """What to draw, after checking that all of it is there."""
    from meshreg.data.synthetic.rendered import PeopleRecipe

    if options.seed < 0:
        raise InputError(f"the seed must be 0 or more, not {options.seed}.")
    if options.workers is not None and options.workers < 1:
        raise InputError(f"the number of --workers must be at least 1, not {options.workers}.")
    scene = scene_of(options)
    check_device(options.device)
    recipe = PeopleRecipe(
        seed=options.seed,
        size=options.size,
        poses=options.poses,
        subjects=bench.subjects if bench else (),
        backgrounds=options.backgrounds,
        device=options.device,
        batch_size=BATCH,
        scene=scene,
    )
    recipe.check_files()
    return recipe


# Option -> the setting of scenes that it is
_SCENE = {
    "size": "size",
    "fov": "fov_deg",
    "heights": "apparent_height",
    "central": "central_share",
}


def scene_of(options: SynthOptions) -> tuple[tuple[str, Any], ...]:
    """The settings of scenes that differ from the defaults.

    Raises:
        InputError: naming the option that cannot be meant.
    """
    from meshreg.data.synthetic.settings import SceneSettings

    changes: dict[str, Any] = {}
    for name in ("fov", "heights"):
        ends = getattr(options, name)
        if ends is not None and len(ends) != 2:
            raise InputError(f"--{name} takes two numbers, such as [30,100], not {ends}.")
        if ends is not None:
            changes[_SCENE[name]] = tuple(ends)
    if options.fov is not None:
        changes["usual_fov_share"] = 0.0  # the whole range alike, not mostly everyday lenses
    if options.central is not None:
        changes[_SCENE["central"]] = options.central
    try:
        SceneSettings(size=options.size, **changes)
    except InputError as error:
        message = str(error)
        for option, setting in _SCENE.items():
            message = message.replace(f"{setting} of the scene settings", f"--{option}")
        raise InputError(message) from error
    return tuple(changes.items())


# --- shards ---------------------------------------------------------------------------------------
def _draw(options: SynthOptions, recipe: "PeopleRecipe", console: "Console") -> None:
    from meshreg.data.shard_workers import write_shards
    from meshreg.data.shards import shard_path

    manifest = _manifest(options, recipe)
    with _odd_motion_noted(console):
        recipe.open_files()  # before the manifest says what the folder is for
    check_writable(options.out)
    workers = options.workers if options.workers is not None else _default_workers(options.device)
    with _progress(console, "people", manifest.count) as advance:
        made = write_shards(
            options.out,
            manifest,
            partial(_make_people, recipe),
            workers=workers,
            on_samples=advance,
        )
    paths = [shard_path(options.out, number) for number in range(manifest.num_shards)]
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    news = "" if made == len(paths) else f", {len(paths) - made} of which were there"
    shards = "1 shard" if len(paths) == 1 else f"{len(paths)} shards"
    console.print(
        f"wrote {manifest.count} people with seed {manifest.seed} to {options.out}: "
        f"{shards}{news}, {megabytes:.1f} MB"
    )


def _make_people(recipe: "PeopleRecipe") -> "People":
    """Planner and generator, in each process; what is odd about the motion has been told."""
    from meshreg.data.motion import MotionWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MotionWarning)
        return recipe.people()


@contextmanager
def _odd_motion_noted(console: "Console") -> Iterator[None]:
    """Turn warnings about motion into notes of a line each."""
    from meshreg.data.motion import MotionWarning

    odd: list[str] = []
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, MotionWarning):
            odd.append(str(message))
        else:
            show(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", MotionWarning)
        warnings.showwarning = note
        yield
    for text in odd[:MOST_NOTES]:
        console.print(f"note: {text}")
    if len(odd) > MOST_NOTES:
        console.print(f"note: there is as much to say about {len(odd) - MOST_NOTES} more clips.")


def _manifest(options: SynthOptions, recipe: "PeopleRecipe") -> "Manifest":
    """Everything that decides the samples."""
    import meshreg
    from meshreg.body.assets import load_body_data
    from meshreg.data.shards import Manifest

    settings = {
        "scene": asdict(recipe.settings),
        "poses": _digest_of_poses(recipe.poses),
        "subjects": list(recipe.subjects),
        "backgrounds": _digest_of_folder(recipe.backgrounds),
        "meshreg": meshreg.__version__,
        "bench": options.bench,
    }
    assert options.count is not None
    return Manifest(
        count=options.count,
        shard_size=options.shard_size,
        seed=options.seed,
        topology_hash=load_body_data().topology_hash,
        jpeg_quality=options.jpeg_quality or None,
        settings=settings,
        made_with=_versions() | {"device": options.device},
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "numpy", "warp-lang", "pillow")}


def _digest_of_poses(poses: str) -> str:
    """Names the poses by content, so that a moved motion file is still the same."""
    from meshreg.data.motion_files import files_below
    from meshreg.losses.priors import PRIOR_PATH

    path = PRIOR_PATH if poses == "prior" else Path(poses)
    kind = "prior" if poses == "prior" else "motion"
    if not path.is_dir():
        with path.open("rb") as file:
            return f"{kind} {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    whole = hashlib.sha256()
    for clip in files_below(path):  # their names tell subjects, too
        with clip.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{clip.relative_to(path).as_posix()} {content}\n".encode())
    return f"{kind} {whole.hexdigest()[:16]}"


def _digest_of_folder(folder: Path | None) -> str | None:
    """Names a folder by its files' names and sizes."""
    if folder is None:
        return None
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listing = "\n".join(f"{path.relative_to(folder)} {path.stat().st_size}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:16]


def _default_workers(device: str) -> int:
    if device != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def _progress(console: "Console", what: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns: tuple[Any, ...] = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.update(task, advance=count)


# --- the benchmarks' digests ----------------------------------------------------------------------
def _digest(
    options: SynthOptions, bench: "Bench", recipe: "PeopleRecipe", console: "Console"
) -> None:
    """Draw the numbers of a benchmark and compare or write their digests."""
    from meshreg.data.synthetic.benchmark import (
        DIGESTS,
        check_digests,
        digests,
        read_digests,
        write_digests,
    )

    shipped = options.digests is None and options.verify
    path = options.digests or (DIGESTS if shipped else Path()) / f"{bench.name}.json"
    expected = read_digests(path) if options.verify else None
    with _odd_motion_noted(console):
        planner = recipe.planner()
    with _progress(console, "samples", bench.count) as advance:
        found = digests(bench, planner, advance)
    if expected is not None:
        check_digests(found, expected)
        console.print(f"{bench.name}: all {bench.count} samples are as in {path}")
    else:
        write_digests(path, found)
        console.print(f"{bench.name}: wrote the digests of {bench.count} samples to {path}")
