"""What a rasteriser promises: triangles seen by a camera become fragments or class images."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError

# Backend name -> "module:class"; the module is imported when the backend is asked for.
BACKENDS = {"warp": "meshreg.render.warp.backend:WarpRasterizer"}


@dataclass(frozen=True, eq=False)
class Fragments:
    """Up to K faces per pixel, nearest first; every field is -1 where fewer faces are hit."""

    pix_to_face: Int[Tensor, "B H W K"]  # packed face index: image * F + face
    zbuf: Float[Tensor, "B H W K"]  # depth along the optical axis, metres
    bary_coords: Float[Tensor, "B H W K 3"]  # weights of the face's corners
    # Signed squared distance to the face's outline, negative inside; one unit is half the
    # image's shorter side. Mask by `pix_to_face >= 0`: the background's -1 looks deep inside.
    dists: Float[Tensor, "B H W K"]


@dataclass(frozen=True, eq=False)
class SemanticImage:
    """The front surface's attributes per pixel, differentiable also across its outlines."""

    classes: Float[Tensor, "B H W C"]  # interpolated attributes; `background` where nothing is hit
    alpha: Float[Tensor, "B H W"]  # 1 where a face covers the pixel centre, else 0
    depth: Float[Tensor, "B H W"]  # metres, 0 on the background; carries no gradient


@runtime_checkable
class Rasterizer(Protocol):
    """Anything that turns triangles in OpenCV camera space into pixels, with gradients.

    `K` maps camera space to pixels whose centres lie at integer coordinates; size is (H, W).
    """

    def fragments(  # noqa: PLR0913
        self,
        verts_cam: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        *,
        faces_per_pixel: int = 1,
        blur_radius: float = 0.0,
        perspective_correct: bool = True,
        clip_barycentric_coords: bool | None = None,
        cull_backfaces: bool = False,
        z_clip: float | None = None,
    ) -> Fragments:
        """The `faces_per_pixel` nearest faces of every pixel, as PyTorch3D defines them."""
        ...

    def edge_semantic(
        self,
        verts_cam: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        attributes: Float[Tensor, "A V C"],
        *,
        background: float = 0.0,
    ) -> SemanticImage:
        """The front surface's vertex attributes, with gradients of its moving outlines.

        `attributes` holds one set of vertex values per image, or one for all images (A = 1).
        """
        ...


def rasterizer(name: str = "warp") -> Rasterizer:
    """The rasteriser called `name`; its libraries are imported now, not with meshreg.

    Raises:
        InputError: if there is no such rasteriser.
    """
    if name not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise InputError(f"there is no rasteriser called {name!r}: choose one of {known}.")
    module, cls = BACKENDS[name].split(":")
    make: Callable[[], Rasterizer] = getattr(import_module(module), cls)
    return make()
