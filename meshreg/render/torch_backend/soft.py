"""Blend all faces near each pixel by distance and depth: the soft class image.

After Liu et al., "Soft Rasterizer", ICCV 2019. A face at signed squared distance d (negative
inside) covers a pixel with probability D = 1 / (1 + exp(d / sigma)). Its weight in the classes is
D exp(zeta / gamma), where zeta falls from 1 at the near depth to 0 at the far depth; faces outside
these depths have none. The background's weight is exp(2 eps / gamma). Alpha is 1 - prod(1 - D).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus

from meshreg.errors import InputError
from meshreg.render.rasterizer import SemanticImage
from meshreg.render.torch_backend.inputs import Dressed
from meshreg.render.torch_backend.layers import describe_hits, in_chunks
from meshreg.render.torch_backend.search import Hits, Options


@dataclass(frozen=True)
class Softness:
    """How faces are blended."""

    sigma: float
    gamma: float
    dist_eps: float  # faces that cover a pixel with less than this probability are left out
    z_near: float  # metres; only depths from near to far count in the classes
    z_far: float
    eps: float  # half the depth weight zeta of the background
    background: float

    def __post_init__(self) -> None:
        for name in ("sigma", "gamma"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"expected {name} > 0, found {getattr(self, name)}: correct it.")
        if not 0 < self.dist_eps < 0.5:
            raise InputError(
                f"expected dist_eps between 0 and 0.5, found {self.dist_eps}: correct it."
            )
        if not self.z_near < self.z_far:
            raise InputError(
                f"expected z_near < z_far, found {self.z_near} and {self.z_far}: exchange them."
            )

    @property
    def blur(self) -> float:
        """Squared distance at which the probability falls to `dist_eps`."""
        return self.sigma * math.log(1 / self.dist_eps - 1)

    @property
    def rate(self) -> float:
        """By how much a weight's logarithm falls per metre of depth."""
        return 1 / (self.gamma * (self.z_far - self.z_near))

    @property
    def behind(self) -> float:
        """The depth whose weight is that of the background."""
        return self.z_far - 2 * self.eps * (self.z_far - self.z_near)


def soft_options(
    size: tuple[int, int], soft: Softness, perspective: bool, cull: bool, layers: int | None = None
) -> Options:
    """Everything near enough counts, and so do samples on outlines."""
    return Options(
        size=size,
        layers=layers,
        blur=soft.blur,
        perspective=perspective,
        clip=True,
        cull=cull,
        closed=True,
        soft=True,
    )


def blend(mesh: Dressed, hits: Hits, options: Options, soft: Softness) -> SemanticImage:
    """The image of the given hits, which should be all of them."""
    scene = mesh.scene
    shape = (len(scene.verts), *options.size)
    # The nearest depth stands in for the largest exponent, which would overflow; it cancels.
    counted = hits.depth[(hits.depth >= soft.z_near) & (hits.depth <= soft.z_far)]
    pixel = hits.pixel[(hits.depth >= soft.z_near) & (hits.depth <= soft.z_far)]
    top = scene.verts.new_full((shape[0] * shape[1] * shape[2],), soft.behind).detach()
    top = top.scatter_reduce(0, pixel, counted, "amin")

    def add_up(pixel: Tensor, face: Tensor) -> tuple[Tensor, ...]:
        return _sums(mesh, options, soft, top, pixel, face)

    runs = in_chunks(add_up, hits)
    mixed, total, uncovered = (sum(parts[1:], parts[0]) for parts in zip(*runs, strict=True))
    empty = ((top - soft.behind) * soft.rate).exp()
    classes = (mixed + empty[:, None] * soft.background) / (total + empty)[:, None]
    return SemanticImage(
        classes=classes.view(*shape, -1),
        alpha=-uncovered.expm1().view(shape),
        depth=torch.where(top < soft.behind, top, 0.0).view(shape),
    )


def _sums(
    mesh: Dressed,
    options: Options,
    soft: Softness,
    top: Float[Tensor, " P"],
    pixel: Int[Tensor, " N"],
    face: Int[Tensor, " N"],
) -> tuple[Float[Tensor, "P C"], Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Per pixel: weighted attributes, weights, and log of the probability of not being covered."""
    depth, bary, distance = describe_hits(mesh.scene, options, pixel, face)
    sharp = -distance / soft.sigma
    front = top[pixel]
    counted = (depth >= soft.z_near) & (depth <= soft.z_far)
    # The inner `where` keeps the gradient of the branch not taken finite.
    fall = (front - torch.where(counted, depth, front)) * soft.rate
    weight = torch.where(counted, sharp.sigmoid() * fall.exp(), 0.0)
    mixed = top.new_zeros(len(top), mesh.values.shape[1])
    mixed = mixed.index_add(0, pixel, weight[:, None] * mesh.at(face, bary))
    total = torch.zeros_like(top).index_add(0, pixel, weight)
    # log(1 - sigmoid(x)) = -softplus(x), whose slope stays right when the sigmoid rounds to 1.
    return mixed, total, torch.zeros_like(top).index_add(0, pixel, -softplus(sharp))
