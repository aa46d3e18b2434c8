"""How true are the gradients of a rendered mask? Edge gradient against SoftRas at several sigmas.

Run: `python benchmarks/gradient_quality.py [--draws 6]`. The truth is a central difference of the
loss on coverage from 8 x 8 samples per pixel; six parameters move the built-in body (shift, size,
roll, yaw, arm).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import roma
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.render.rasterizer import rasterizer

SIZE, SAMPLES = 224, 8
FOCAL, DEPTH = 336.0, 3.0
PX = DEPTH / FOCAL  # metres that one pixel spans at the body
# What one unit of each parameter is: about a pixel at the body's extremities.
UNIT = torch.tensor([PX, PX, 1 / 90, 1 / 90, 1 / 40, 1 / 60])
STEP = torch.tensor([0.25, 0.25, 0.2, 0.25, 0.25, 0.25])  # of the central differences, in units
SIGMAS = (1e-4, 1e-5, 1e-6, 1e-7)
OFFSETS_PX = (0.5, 2.0, 8.0)
Render = Callable[[Tensor], Tensor]  # (V, 3) vertices to a (H, W) mask


class Scene:
    """The built-in body, standing with its arms half raised, moved by six parameters."""

    def __init__(self) -> None:
        self.body = load_body()
        self.draw = rasterizer()
        names = SKELETONS["smpl24"]
        self.left, self.right = names.index("left_shoulder", "right_shoulder")
        self.K = torch.tensor(
            [[FOCAL, 0, (SIZE - 1) / 2], [0, FOCAL, (SIZE - 1) / 2], [0, 0, 1.0]]
        )[None]
        fine = torch.tensor(
            [
                [SAMPLES, 0, (SAMPLES - 1) / 2],
                [0, SAMPLES, (SAMPLES - 1) / 2],
                [0, 0, 1.0],
            ]
        )
        self.fine_K = fine @ self.K

    def vertices(self, parameters: Tensor) -> Tensor:
        """(V, 3) in camera axes for parameters in their units."""
        x, y, size, roll, yaw, arm = (parameters * UNIT).unbind()
        zero = torch.zeros(())
        upright = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        about_y = roma.rotvec_to_rotmat(torch.stack([zero, yaw + 0.3, zero]))
        about_z = roma.rotvec_to_rotmat(torch.stack([zero, zero, roll]))
        raised = roma.rotvec_to_rotmat(torch.stack([zero, zero, arm - 0.6]))
        lowered = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.6]))
        still = torch.eye(3)
        pose = [still] * 24
        pose[0], pose[self.left], pose[self.right] = about_z @ upright @ about_y, raised, lowered
        depth = DEPTH * (1 - size)
        transl = torch.stack([x, y + 0.12, depth])[None]
        return self.body.skin(torch.zeros(1, 10), torch.stack(pose)[None], transl)[0][0]

    def coverage(self, vertices: Tensor) -> Tensor:
        """The share of each pixel that the body covers, from many samples; no gradient."""
        size = (SIZE * SAMPLES, SIZE * SAMPLES)
        with torch.no_grad():
            face = self.draw.fragments(vertices[None], self.body.faces, self.fine_K, size)
        hit = (face.pix_to_face[..., 0] >= 0).float()[:, None]
        return torch.nn.functional.avg_pool2d(hit, SAMPLES)[0, 0]

    def edge(self, vertices: Tensor) -> Tensor:
        ones = vertices.new_ones(1, len(vertices), 1)
        return self.draw.edge_semantic(
            vertices[None], self.body.faces, self.K, (SIZE, SIZE), ones
        ).alpha[0]

    def soft(self, sigma: float) -> Render:
        def render(vertices: Tensor) -> Tensor:
            ones = vertices.new_ones(1, len(vertices), 1)
            image = self.draw.soft_semantic(
                vertices[None], self.body.faces, self.K, (SIZE, SIZE), ones, sigma=sigma
            )
            return image.alpha[0]

        return render


def loss(mask: Tensor, target: Tensor) -> Tensor:
    return (mask - target).square().sum()


def true_gradient(scene: Scene, at: Tensor, target: Tensor) -> Tensor:
    """Central differences of the loss on supersampled coverage."""
    slopes = []
    for parameter in range(len(UNIT)):
        step = torch.zeros(len(UNIT))
        step[parameter] = STEP[parameter]
        ahead = loss(scene.coverage(scene.vertices(at + step)), target)
        behind = loss(scene.coverage(scene.vertices(at - step)), target)
        slopes.append((ahead - behind) / (2 * STEP[parameter]))
    return torch.stack(slopes)


def gradient(scene: Scene, render: Render, at: Tensor, target: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(render(scene.vertices(at)), target), at)[0]


def main(draws: int) -> dict[tuple[str, float], float]:
    """Print the mean cosine to the truth (and the ratio of norms) per method and offset."""
    torch.set_num_threads(1)
    scene, generator = Scene(), torch.Generator().manual_seed(0)
    methods = {"edge": scene.edge} | {f"soft {sigma:.0e}": scene.soft(sigma) for sigma in SIGMAS}
    cosines: dict[tuple[str, float], float] = {}
    print("| offset | " + " | ".join(methods) + " |")
    print("|---|" + "---|" * len(methods))
    for offset in OFFSETS_PX:
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
        for _ in range(draws):
            phase = torch.zeros(6)
            phase[:2] = torch.rand(2, generator=generator) - 0.5  # where pixels cut the body
            direction = torch.randn(6, generator=generator)
            target = scene.coverage(scene.vertices(phase))
            at = phase + offset * direction / direction.norm()
            truth = true_gradient(scene, at, target)
            for name, render in methods.items():
                g = gradient(scene, render, at, target)
                cosine = torch.nn.functional.cosine_similarity(g, truth, dim=0)
                found[name].append((float(cosine), float(g.norm() / truth.norm())))
        cells = []
        for name, pairs in found.items():
            cosine, ratio = torch.tensor(pairs).mean(0).tolist()
            cosines[name, offset] = cosine
            cells.append(f"{cosine:.3f} ({ratio:.2f})")
        print(f"| {offset:g} px | " + " | ".join(cells) + " |", flush=True)
    return cosines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=6)
    main(parser.parse_args().draws)
