"""Our rasteriser against PyTorch3D and DEODR, and against itself on two threads.

Run: `python benchmarks/rasteriser.py [--write docs/performance.md]`. What is not importable is left
out. Every number is a ratio of times of this one run; the best of several repetitions counts.
"""

import argparse
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.pages import write_part
from meshreg.body.smpl import Body, load_body
from meshreg.render.rasterizer import Rasterizer, rasterizer

Job = Callable[[], object]
SOFT_BLUR = 9.2e-4  # what SoftRas' usual sigma of 1e-4 reaches
BEGIN, END = "<!-- made by benchmarks/rasteriser.py -->", "<!-- end -->"


class Scene:
    """The built-in body over 90 % of a square picture, as a batch of the same person."""

    def __init__(self, body: Body, size: int, batch: int) -> None:
        upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        verts = body.v_template @ upright
        middle = (verts.amax(0) + verts.amin(0)) / 2
        extent = float((verts.amax(0) - verts.amin(0))[:2].max())
        focal = 0.9 * size * 3.0 / extent
        shift = torch.tensor([0.0, 0.0, 3.0]) - middle
        self.verts = (verts + shift).expand(batch, -1, -1).contiguous()
        K = torch.tensor([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1.0]])
        self.K, self.faces, self.size = K.expand(batch, 3, 3), body.faces, (size, size)
        self.focal = focal

    def fragments(self, draw: Rasterizer, layers: int, blur: float, *, backward: bool) -> Job:
        def job() -> None:
            verts = self.verts.clone().requires_grad_(backward)
            found = draw.fragments(
                verts, self.faces, self.K, self.size, faces_per_pixel=layers, blur_radius=blur
            )
            if backward:
                (found.zbuf.sum() + found.bary_coords.square().sum() + found.dists.sum()).backward()

        return job

    def edge(self, draw: Rasterizer, channels: int) -> Job:
        values = torch.rand(1, self.verts.shape[1], channels)

        def job() -> None:
            verts = self.verts.clone().requires_grad_()
            image = draw.edge_semantic(verts, self.faces, self.K, self.size, values)
            (image.alpha.square().sum() + image.classes.square().sum()).backward()

        return job

    def soft(self, draw: Rasterizer, channels: int, sigma: float) -> Job:
        values = torch.rand(1, self.verts.shape[1], channels)

        def job() -> None:
            verts = self.verts.clone().requires_grad_()
            image = draw.soft_semantic(verts, self.faces, self.K, self.size, values, sigma=sigma)
            (image.alpha.square().sum() + image.classes.square().sum()).backward()

        return job

    def deodr(self) -> Job:
        """The silhouette with DEODR's anti-aliased edges, and its gradient to the vertices."""
        import numpy as np
        from deodr import ColoredTriMesh, differentiable_renderer

        one_colour = np.ones((self.verts.shape[1], 1))
        mesh = ColoredTriMesh(
            self.faces.numpy(),
            self.verts[0].double().numpy(),
            colors=one_colour,
            nb_colors=1,
        )
        mesh.set_vertices_colors(one_colour)
        camera = differentiable_renderer.Camera(
            np.eye(3, 4), self.K[0].double().numpy(), self.size[0], self.size[1]
        )
        scene = differentiable_renderer.Scene3D(sigma=1)
        scene.set_light(light_directional=None, light_ambient=1.0)
        scene.set_background_color([0.0])
        scene.set_mesh(mesh)

        def job() -> None:
            mesh.set_vertices(self.verts[0].double().numpy())
            image = scene.render(camera)
            scene.clear_gradients()
            scene.render_backward(2 * image)

        return job


def best(job: Job, repeats: int, *, wall: bool = False) -> float:
    """Seconds of the fastest repetition: processor time, or wall time to compare threads."""
    clock = time.perf_counter if wall else time.process_time
    job()
    times = []
    gc.collect()
    gc.disable()  # as timeit does: when Python tidies up is nobody's merit
    for _ in range(repeats):
        start = clock()
        job()
        times.append(clock() - start)
    gc.enable()
    return min(times)


def against_pytorch3d(body: Body) -> list[str]:
    if find_spec("pytorch3d") is None:
        return ["PyTorch3D was not importable in this run."]
    ours, theirs = rasterizer(), rasterizer("pytorch3d")
    rows = ["| case, 224 px, one thread, CPU | forward | forward and backward |", "|---|---|---|"]
    scene = Scene(body, 224, 1)
    for layers, blur in ((1, 0.0), (10, 1e-4), (50, SOFT_BLUR)):
        cells = []
        for backward in (False, True):
            mine = best(scene.fragments(ours, layers, blur, backward=backward), 10)
            other = best(scene.fragments(theirs, layers, blur, backward=backward), 1)
            cells.append(f"{other / mine:.0f} times faster")
        rows.append(f"| K = {layers}, blur {blur:g} | {cells[0]} | {cells[1]} |")
    return rows


def against_deodr(body: Body) -> list[str]:
    if find_spec("deodr") is None:
        return ["DEODR was not importable in this run."]
    scene = Scene(body, 224, 1)
    mine = best(scene.edge(rasterizer(), 1), 20)
    other = best(scene.deodr(), 20)
    times = f"{other / mine:.1f} times faster"
    return [f"Silhouette, 224 px, forward and backward, one thread: {times}."]


def two_threads() -> list[str]:
    """In a process of its own, in which torch's idle threads sleep instead of spinning."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, __file__, "--threads"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    head = ["| batch 8 at 224 px, forward and backward | speed-up of two threads |", "|---|---|"]
    return head + done.stdout.strip().splitlines()


def compare_threads() -> None:
    scene = Scene(load_body(), 224, 8)
    cases: dict[str, Callable[[Rasterizer], Job]] = {
        "fragments, K = 50, blur 9.2e-4": lambda d: scene.fragments(
            d, 50, SOFT_BLUR, backward=True
        ),
        "soft_semantic, 3 channels, sigma 1e-4": lambda d: scene.soft(d, 3, 1e-4),
        "soft_semantic, 3 channels, sigma 1e-5": lambda d: scene.soft(d, 3, 1e-5),
        "edge_semantic, 4 channels": lambda d: scene.edge(d, 4),
    }
    for name, make in cases.items():
        times = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            times.append(best(make(rasterizer()), 8, wall=True))
        print(f"| {name} | {times[0] / times[1]:.2f} |")


def operators(body: Body) -> list[str]:
    """Costs relative to the cheapest case: a mask at 224 px."""
    draw = rasterizer()
    unit = best(Scene(body, 224, 1).edge(draw, 1), 20)
    rows = [
        "| forward and backward, one thread | 112 px | 224 px | 512 px | 224, batch 8 | batch 64 |",
        "|---|---|---|---|---|---|",
    ]
    shapes = ((112, 1), (224, 1), (512, 1), (224, 8), (224, 64))
    makers: dict[str, Callable[[Scene], Job]] = {
        "edge_semantic, 1 channel": lambda s: s.edge(draw, 1),
        "edge_semantic, 4 channels": lambda s: s.edge(draw, 4),
        "edge_semantic, 20 channels": lambda s: s.edge(draw, 20),
        "soft_semantic, 3 channels, sigma 1e-5": lambda s: s.soft(draw, 3, 1e-5),
        "soft_semantic, 3 channels, sigma 1e-4": lambda s: s.soft(draw, 3, 1e-4),
        "fragments, K = 1, blur 0": lambda s: s.fragments(draw, 1, 0.0, backward=True),
        "fragments, K = 10, blur 1e-4": lambda s: s.fragments(draw, 10, 1e-4, backward=True),
        "fragments, K = 50, blur 9.2e-4": lambda s: s.fragments(draw, 50, SOFT_BLUR, backward=True),
    }
    for name, make in makers.items():
        cells = []
        for size, batch in shapes:
            if batch == 64 and "fragments, K = 50" in name:
                cells.append("–")  # six gigabytes of layers
                continue
            repeats = 5 if batch == 1 else 2
            cells.append(f"{best(make(Scene(body, size, batch)), repeats) / unit:.1f}")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return rows


MEMORY_CASES = {
    "edge_semantic, 4 channels": lambda s, d: s.edge(d, 4),
    "soft_semantic, 3 channels, sigma 1e-4": lambda s, d: s.soft(d, 3, 1e-4),
    "fragments, K = 50, blur 9.2e-4": lambda s, d: s.fragments(d, 50, SOFT_BLUR, backward=True),
}


def peak_memory(case: str) -> None:
    """Print how many MB one call adds to what the process holds, at the peak (Linux only)."""
    body, draw = load_body(), rasterizer()
    MEMORY_CASES[case](Scene(body, 64, 1), draw)()
    scene = Scene(body, 224, 8)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _status_kb("VmRSS")
    MEMORY_CASES[case](scene, draw)()
    print((_status_kb("VmHWM") - before) // 1024)


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def memory() -> list[str]:
    rows = ["| batch 8 at 224 px, forward and backward | growth of the peak, MB |", "|---|---|"]
    for case in MEMORY_CASES:
        done = subprocess.run(
            [sys.executable, __file__, "--peak", case], capture_output=True, text=True, check=True
        )
        rows.append(f"| {case} | {done.stdout.strip()} |")
    return rows


def main(page: Path | None) -> None:
    torch.set_num_threads(1)
    body = load_body()
    sections = {
        "Against PyTorch3D": against_pytorch3d(body),
        "Against DEODR": against_deodr(body),
        "Two threads": two_threads(),
        "The operators compared (1 = a mask at 224 px)": operators(body),
        "Memory": memory(),
    }
    text = "\n\n".join(f"### {title}\n\n" + "\n".join(rows) for title, rows in sections.items())
    print(text)
    if page is not None:
        write_part(page, text, BEGIN, END)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="page whose marked part is replaced")
    parser.add_argument("--threads", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--peak", choices=MEMORY_CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        compare_threads()
    elif arguments.peak:
        peak_memory(arguments.peak)
    else:
        main(arguments.write)
