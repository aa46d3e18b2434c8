"""What a rasteriser promises: triangles seen by a camera become fragments or class images."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError

# Backend name -> "module:class"; the module is imported when the backend is asked for.
BACKENDS = {
    "warp": "meshreg.render.warp.backend:WarpRasterizer",
    "torch": "meshreg.render.torch_backend.backend:TorchRasterizer",
    "pytorch3d": "meshreg.render.torch3d:PyTorch3DRasterizer",
}
_LOG = logging.getLogger(__name__)


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
    """The surface's attributes per pixel, differentiable also across its outlines."""

    classes: Float[Tensor, "B H W C"]  # blended attributes; `background` where nothing is hit
    alpha: Float[Tensor, "B H W"]  # 1 where a face covers the pixel, 0 where none; soft: between
    # Metres, 0 on the background; carries no gradient. Soft: that of the nearest face blended.
    depth: Float[Tensor, "B H W"]


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

    def edge_semantic(  # noqa: PLR0913
        self,
        verts_cam: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        attributes: Float[Tensor, "A N C"],
        *,
        background: float = 0.0,
        per_face: bool = False,
        cull_backfaces: bool = False,
        z_clip: float | None = None,
    ) -> SemanticImage:
        """The front surface's attributes, with gradients of its moving outlines.

        `attributes` holds one set of values per image, or one for all images (A = 1). N tells
        whether they belong to vertices (N = V) or faces (N = F); should a mesh have as many
        vertices as faces, they belong to vertices unless `per_face` says otherwise. Of a closed
        surface seen from outside, `cull_backfaces` spares half of the work and changes nothing.
        """
        ...

    def soft_semantic(  # noqa: PLR0913
        self,
        verts_cam: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        K: Float[Tensor, "B 3 3"],
        size: tuple[int, int],
        attributes: Float[Tensor, "A N C"],
        *,
        background: float = 0.0,
        per_face: bool = False,
        sigma: float = 1e-5,
        gamma: float = 0.1,
        dist_eps: float = 1e-4,
        z_near: float = 1.0,
        z_far: float = 100.0,
        eps: float = 1e-3,
        perspective_correct: bool = True,
        cull_backfaces: bool = False,
        z_clip: float | None = None,
    ) -> SemanticImage:
        """All surfaces near each pixel, blended by distance and depth (Liu et al. 2019).

        A face at squared distance d outside a pixel centre (units of half the image's shorter
        side) covers it with probability 1 / (1 + exp(d / sigma)), and is left out below
        `dist_eps`. In the classes it counts with this probability times
        exp(depth weight / gamma); the depth weight falls from 1 at `z_near` to 0 at `z_far`, and
        `eps` is half of the background's.
        """
        ...


def rasterizer(name: str = "warp") -> Rasterizer:
    """The rasteriser called `name`; its libraries are imported now, not with meshreg.

    Where Warp cannot be imported, "warp" gives the slower one in plain torch, with a warning.

    Raises:
        InputError: if there is no such rasteriser.
    """
    if name not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise InputError(f"there is no rasteriser called {name!r}: choose one of {known}.")
    module, cls = BACKENDS[name].split(":")
    try:
        make: Callable[[], Rasterizer] = getattr(import_module(module), cls)
    except ImportError as error:
        if name != "warp" or (error.name or "").split(".")[0] != "warp":
            raise
        _LOG.warning("Warp cannot be imported (%s): drawing with plain torch, slower.", error)
        return rasterizer("torch")
    return make()
