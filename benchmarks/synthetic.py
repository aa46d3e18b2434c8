"""How many dressed people a second, where the time goes, and how often skin pokes through cloth.

Run: `python benchmarks/synthetic.py [--write docs/synthetic.md] [--device cpu]`.
On the CPU two processes draw side by side, as `meshreg synth` does on two cores.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.body.assets import load_body_data
from meshreg.data.synthetic import generator as module
from meshreg.data.synthetic.generator import DressedPeopleGenerator, make_generator
from meshreg.data.synthetic.prior_poses import PriorPoses
from meshreg.data.synthetic.scene import Planner, ScenePlan
from meshreg.data.synthetic.settings import SceneSettings

BEGIN, END = "<!-- made by benchmarks/synthetic.py -->", "<!-- end -->"
STAGES = {
    "outfits, looks, places (numbers)": ("cast",),
    "what the camera sees": ("look_at",),
    "colours of people": ("paint", "ShadowMap"),
    "background": ("render_scenes", "cast_on_ground", "out_of_focus"),
    "camera": ("degrade", "render_occluders", "shrunk"),
}


def plans(size: int, count: int, seed: int) -> list[ScenePlan]:
    planner = Planner(
        seed, poses=PriorPoses(), body=load_body_data("builtin"), settings=SceneSettings(size=size)
    )
    return [planner.plan(index) for index in range(count)]


def drawn_in(draw: DressedPeopleGenerator, some: list[ScenePlan], batch: int) -> float:
    """Seconds for all plans in batches, after one batch to warm up."""
    draw.render(some[:batch])
    start = time.perf_counter()
    for first in range(0, len(some), batch):
        draw.render(some[first : first + batch])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _worker(arguments: tuple[int, int, int, int]) -> tuple[int, int, float]:
    """(pictures, people, seconds) of one process."""
    size, supersampling, seed, count = arguments
    torch.set_num_threads(1)
    some = plans(size, count, seed)
    seconds = drawn_in(make_generator(supersampling=supersampling), some, 8)
    return len(some), sum(len(plan.people) for plan in some), seconds


def throughput(device: str) -> list[str]:
    rows = ["| size, supersampling | pictures a second | people a second |", "|---|---|---|"]
    for size, supersampling in ((128, 1), (128, 2), (224, 1), (224, 2)):
        if device == "cpu":
            jobs = [(size, supersampling, seed, 48) for seed in (0, 1)]
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                done = pool.map(_worker, jobs, chunksize=1)
            pictures = sum(count / seconds for count, _, seconds in done)
            people = sum(count / seconds for _, count, seconds in done)
        else:
            some = plans(size, 1024, 0)
            draw = make_generator(device=device, supersampling=supersampling)
            seconds = drawn_in(draw, some, 256)
            pictures = len(some) / seconds
            people = sum(len(plan.people) for plan in some) / seconds
        rows.append(f"| {size} px, {supersampling} | {pictures:.1f} | {people:.1f} |")
    return rows


def shares() -> list[str]:
    """The share of each stage in the time of one thread at 224 px."""
    torch.set_num_threads(1)
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable) -> Callable:
        @wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            start = time.process_time()
            result = function(*args, **kwargs)
            spent[name] = spent.get(name, 0.0) + time.process_time() - start
            return result

        return call

    draw, some = make_generator(), plans(224, 24, 0)
    draw.render(some[:8])
    names = [name for group in STAGES.values() for name in group]
    original = {name: getattr(module, name) for name in names}
    for name, function in original.items():
        setattr(module, name, timed(name, function))
    dress = draw.wardrobe.dress
    draw.wardrobe.dress = timed("dress", dress)  # type: ignore[method-assign]
    start = time.process_time()
    for first in range(0, 24, 8):
        draw.render(some[first : first + 8])
    total = time.process_time() - start
    for name, function in original.items():
        setattr(module, name, function)
    groups = {"dressing": ("dress",)} | STAGES
    rows = ["| stage | share of the time |", "|---|---|"]
    for title, members in groups.items():
        rows.append(f"| {title} | {sum(spent.get(m, 0.0) for m in members) / total:.0%} |")
    return rows


def main(page: Path | None, device: str) -> None:
    text = "\n".join(throughput(device)) + "\n\n" + "\n".join(shares())
    print(text)
    if page is not None:
        write_part(page, text, BEGIN, END)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    main(arguments.write, arguments.device)
