"""PyTorch3D as a rasteriser: the one file that knows its axes, pixel rule and cameras.

PyTorch3D's x points left and y up, one unit is half the shorter image side, and its pixel centres
lie half a pixel from whole numbers; it works in float32. It must be built from source, and on the
CPU it is very slow. What it does differently from the other rasterisers:

- A sample exactly on an edge shared by two faces belongs to neither of them without blur, which
  leaves pinholes. The class image of the front surface asks for a trace of blur instead.
- Its gradient of depth and barycentrics is wrong by orders of magnitude around faces seen edge-on
  when there is blur, perspective and clipping. `fragments` hands it on as it is; the class images
  take only the faces' numbers from PyTorch3D and compute everything else here.
"""

import functools
import logging
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render import checks
from meshreg.render.ndc import MIN_DEPTH, homogeneous_ndc
from meshreg.render.rasterizer import Fragments, SemanticImage
from meshreg.render.torch_backend.inputs import (
    check_cut,
    check_inputs,
    dress,
    pixel_width,
    planes_of,
)
from meshreg.render.torch_backend.layers import describe_hits, draw_layers
from meshreg.render.torch_backend.outlines import draw_front
from meshreg.render.torch_backend.search import Hits, Options, Scene, make_scene
from meshreg.render.torch_backend.soft import Softness, blend, soft_options

TESTED_VERSION = "0.7.9"
# Squared NDC length, about 1e-4 pixels: rounding of float32 stays well below.
EDGE_BLUR = 1e-12
_LOG = logging.getLogger(__name__)


@functools.cache
def _pytorch3d() -> ModuleType:
    """The library, imported once; a version that nobody tested is pointed out once."""
    try:
        import pytorch3d
        import pytorch3d._C
    except ImportError as error:
        raise InputError(
            f"the pytorch3d rasteriser needs PyTorch3D built from source, and importing it failed "
            f'({error}): build it for this torch, or use rasterizer("warp"), which needs nothing.'
        ) from error
    if pytorch3d.__version__ != TESTED_VERSION:
        _LOG.warning(
            "PyTorch3D is version %s; meshreg was tested with %s.",
            pytorch3d.__version__,
            TESTED_VERSION,
        )
    return pytorch3d


def perspective_cameras(K: Float[Tensor, "B 3 3"], size: tuple[int, int]) -> Any:
    """PyTorch3D's `PerspectiveCameras` that see what a camera matrix of this library sees.

    Their points are in PyTorch3D's camera space: those of OpenCV's with x and y negated.
    """
    _pytorch3d()
    from pytorch3d.renderer import PerspectiveCameras

    # Whole numbers are pixel centres here; in PyTorch3D they are the borders between pixels.
    return PerspectiveCameras(
        focal_length=torch.stack([K[:, 0, 0], K[:, 1, 1]], -1),
        principal_point=K[:, :2, 2] + 0.5,
        image_size=K.new_tensor([size]).expand(len(K), 2),
        in_ndc=False,
        device=K.device,
    )


class PyTorch3DRasterizer:
    """The `Rasterizer` protocol on PyTorch3D's `rasterize_meshes`, always in float32.

    `soft_layers` limits `soft_semantic` to that many faces per pixel, the nearest in depth: with
    fewer than really overlap, its alpha is too small (CUDA allows 150 at most).

    Raises:
        InputError: if PyTorch3D cannot be imported.
    """

    def __init__(self, *, soft_layers: int = 100) -> None:
        _pytorch3d()
        self.soft_layers = soft_layers

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
        """The nearest faces of every pixel, computed in float32, returned in the given precision.

        `clip_barycentric_coords=None` clips exactly if there is blur, as `MeshRasterizer` does.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=7 * faces_per_pixel)
        check_cut(z_clip, perspective_correct)
        return self.fragments_ndc(
            _project(verts_cam, K.to(verts_cam).expand(len(verts_cam), -1, -1), size),
            faces,
            size,
            faces_per_pixel=faces_per_pixel,
            blur_radius=blur_radius,
            perspective_correct=perspective_correct,
            clip_barycentric_coords=clip_barycentric_coords,
            cull_backfaces=cull_backfaces,
            z_clip=z_clip,
        )

    def fragments_ndc(  # noqa: PLR0913
        self,
        verts_ndc: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        size: tuple[int, int],
        *,
        faces_per_pixel: int = 1,
        blur_radius: float = 0.0,
        perspective_correct: bool = True,
        clip_barycentric_coords: bool | None = None,
        cull_backfaces: bool = False,
        z_clip: float | None = None,
    ) -> Fragments:
        """As `fragments`, for vertices that are projected already: NDC x and y, camera depth z."""
        check_inputs(verts_ndc, faces, size, z_clip, planes=7 * faces_per_pixel)
        options = Options(
            size=size,
            layers=faces_per_pixel,
            blur=blur_radius,
            perspective=perspective_correct,
            clip=blur_radius > 0 if clip_barycentric_coords is None else clip_barycentric_coords,
            cull=cull_backfaces,
        )
        return _rasterize(verts_ndc, faces.expand(len(verts_ndc), -1, -1), options, z_clip)

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

        PyTorch3D finds the faces, of which it leaves out tiny ones.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=planes_of(attributes))
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        K = K.to(verts_cam).expand(len(verts_cam), -1, -1)
        mesh = dress(
            verts_cam, faces, attributes, per_face=per_face, z_clip=z_clip, camera=(K, size)
        )
        hits = _find_hits(
            mesh.scene, Options(size=size, blur=EDGE_BLUR, clip=True, cull=cull_backfaces)
        )
        return draw_front(mesh, hits, size, pixel_width(K), background)

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
        """The nearest `soft_layers` surfaces of each pixel, blended by distance and depth.

        PyTorch3D finds the faces; see `meshreg.render.torch_backend.soft` for the formula.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=planes_of(attributes))
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        soft = Softness(sigma, gamma, dist_eps, z_near, z_far, eps, background)
        K = K.to(verts_cam).expand(len(verts_cam), -1, -1)
        mesh = dress(
            verts_cam, faces, attributes, per_face=per_face, z_clip=z_clip, camera=(K, size)
        )
        options = soft_options(
            size, soft, perspective_correct, cull_backfaces, layers=self.soft_layers
        )
        return blend(mesh, _find_hits(mesh.scene, options), options, soft)


def _rasterize(
    verts_ndc: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "B F 3"],
    options: Options,
    z_clip: float | None = None,
) -> Fragments:
    """Call the library in its own precision."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    if faces.numel() == 0:  # Meshes cannot be empty
        return draw_layers(make_scene(verts_ndc, faces), options)
    index, *values = rasterize_meshes(
        Meshes(verts_ndc.float(), faces.long()),
        image_size=options.size,
        blur_radius=options.blur,
        faces_per_pixel=options.layers,
        # Fewer could overflow on CUDA, where faces then go missing without an error.
        max_faces_per_bin=max(10_000, faces.shape[1]),
        perspective_correct=options.perspective,
        clip_barycentric_coords=options.clip,
        cull_backfaces=options.cull,
        z_clip_value=z_clip,
    )
    depth, bary, dist = (value.to(verts_ndc) for value in values)
    return Fragments(pix_to_face=index, zbuf=depth, bary_coords=bary, dists=dist)


@torch.no_grad()
def _find_hits(scene: Scene, options: Options) -> Hits:
    """The faces that PyTorch3D finds in each pixel."""
    num_images, num_verts, _ = scene.verts.shape
    faces = scene.corners.T.reshape(num_images, -1, 3) % max(num_verts, 1)
    index = _rasterize(scene.verts, faces, options).pix_to_face.flatten(0, 2)
    pixel, layer = (index >= 0).nonzero(as_tuple=True)
    face = index[pixel, layer]
    depth, _, distance = describe_hits(scene, options, pixel, face)
    return Hits(pixel=pixel, face=face, depth=depth, distance=distance)


def _project(
    verts_cam: Float[Tensor, "B V 3"], K: Float[Tensor, "B 3 3"], size: tuple[int, int]
) -> Float[Tensor, "B V 3"]:
    """PyTorch3D's NDC; also behind the camera, since its cutting of faces multiplies z back."""
    points = homogeneous_ndc(verts_cam, K, size)
    z = points[..., 2:]
    z = torch.where(z.abs() < MIN_DEPTH, -MIN_DEPTH, z)
    return torch.cat([points[..., :2] / z, z], -1)
