"""The rasteriser that users get by default: camera-space meshes in, fragments or images out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.ndc import divide_by_depth, homogeneous_ndc
from meshreg.render.rasterizer import Fragments, SemanticImage
from meshreg.render.warp.operators import Layers, Shade
from meshreg.render.warp.scene import Options


class WarpRasterizer:
    """The `Rasterizer` protocol on Warp kernels; works on the device and in the precision given."""

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
        """The nearest faces of every pixel.

        Faces with a corner at or behind the camera, or nearer than `z_clip` metres, are left out
        whole; they are not cut. `clip_barycentric_coords=None` clips exactly if there is blur.
        """
        _check_scene(verts_cam, faces, size)
        return self.fragments_ndc(
            divide_by_depth(homogeneous_ndc(verts_cam, K.to(verts_cam), size)),
            faces,
            size,
            faces_per_pixel=faces_per_pixel,
            blur_radius=blur_radius,
            perspective_correct=perspective_correct,
            clip_barycentric_coords=clip_barycentric_coords,
            cull_backfaces=cull_backfaces,
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
    ) -> Fragments:
        """As `fragments`, for vertices that are projected already: NDC x and y, camera depth z."""
        if faces_per_pixel < 1 or blur_radius < 0:
            raise InputError(
                f"expected faces_per_pixel >= 1 and blur_radius >= 0, found {faces_per_pixel} and "
                f"{blur_radius}: correct them."
            )
        clip = blur_radius > 0 if clip_barycentric_coords is None else clip_barycentric_coords
        options = Options(
            size=size,
            layers=faces_per_pixel,
            blur=blur_radius,
            perspective=perspective_correct,
            clip=clip,
            cull=cull_backfaces,
        )
        index, depth, bary, dist = Layers.apply(verts_ndc, _topologies(faces), options)
        return Fragments(pix_to_face=index, zbuf=depth, bary_coords=bary, dists=dist)

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
        """The front surface's vertex attributes, with gradients of its moving outlines."""
        _check_scene(verts_cam, faces, size)
        if attributes.shape[0] not in (1, verts_cam.shape[0]) or (
            attributes.shape[1] != verts_cam.shape[1]
        ):
            raise InputError(
                f"expected attributes of shape (1 or {verts_cam.shape[0]}, {verts_cam.shape[1]}, C),"
                f" found {tuple(attributes.shape)}: give one row per vertex."
            )
        K = K.to(verts_cam)
        verts_ndc = divide_by_depth(homogeneous_ndc(verts_cam, K, size))
        # Metres that one pixel spans at a depth of one metre.
        pixel_width = 2 / (K[:, 0, 0] + K[:, 1, 1]).detach().expand(verts_cam.shape[0])
        options = Options(size=size, closed=True)
        classes, alpha, depth = Shade.apply(
            verts_ndc,
            attributes.to(verts_cam),
            _topologies(faces),
            pixel_width,
            background,
            options,
        )
        return SemanticImage(classes=classes, alpha=alpha, depth=depth)


def _topologies(faces: Tensor) -> Tensor:
    """Faces as the kernels want them: 32-bit, with a leading axis of one topology for all images."""
    return faces.to(torch.int32).contiguous()[None]


def _check_scene(verts: Tensor, faces: Tensor, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise InputError(f"expected an image size (H, W) of at least one pixel, found {size}.")
    if verts.device != faces.device:
        raise InputError(
            f"vertices are on {verts.device} but faces on {faces.device}: move them together."
        )
