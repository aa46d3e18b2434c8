"""The rasteriser that needs nothing but torch, on any device, in float32 or float64."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.render import checks
from meshreg.render.ndc import divide_by_depth, homogeneous_ndc
from meshreg.render.near_clip import CutMesh, cut_at_near_plane
from meshreg.render.rasterizer import Fragments, SemanticImage
from meshreg.render.torch_backend.inputs import (
    check_cut,
    check_inputs,
    dress,
    pixel_width,
    planes_of,
)
from meshreg.render.torch_backend.layers import draw_layers, report_whole_faces
from meshreg.render.torch_backend.outlines import draw_front
from meshreg.render.torch_backend.search import Options, find_hits, make_scene
from meshreg.render.torch_backend.soft import Softness, blend, soft_options


class TorchRasterizer:
    """The `Rasterizer` protocol in plain torch: slower than Warp's, with the same results.

    In float64 it serves as the reference. Derivatives are first ones only.
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
        """The nearest faces of every pixel.

        Faces that cross z = `z_clip` (metres) are cut there; without it, faces with a corner at or
        behind the camera are left out whole. `clip_barycentric_coords=None` clips exactly if there
        is blur. Barycentrics always refer to the face's own corners.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=7 * faces_per_pixel)
        check_cut(z_clip, perspective_correct)
        options = Options(
            size=size,
            layers=faces_per_pixel,
            blur=blur_radius,
            perspective=perspective_correct,
            clip=blur_radius > 0 if clip_barycentric_coords is None else clip_barycentric_coords,
            cull=cull_backfaces,
        )
        points = homogeneous_ndc(verts_cam, K.to(verts_cam).expand(len(verts_cam), -1, -1), size)
        if z_clip is None:
            return draw_layers(make_scene(divide_by_depth(points), faces), options)
        return _cut_faces(cut_at_near_plane(points, faces.long(), z_clip), len(faces), options)

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
        if z_clip is None:
            return draw_layers(make_scene(verts_ndc, faces), options)
        xy, z = verts_ndc[..., :2], verts_ndc[..., 2:]
        points = torch.cat([xy * z, z], -1) if perspective_correct else verts_ndc
        return _cut_faces(cut_at_near_plane(points, faces.long(), z_clip), len(faces), options)

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

        Faces that cross z = `z_clip` (metres) are cut there; without it, faces with a corner at or
        behind the camera are left out whole. Vertex attributes should vary little within a face;
        see `meshreg.render.torch_backend.outlines` for the gradient.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=planes_of(attributes))
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        K = K.to(verts_cam).expand(len(verts_cam), -1, -1)
        mesh = dress(
            verts_cam, faces, attributes, per_face=per_face, z_clip=z_clip, camera=(K, size)
        )
        hits = find_hits(mesh.scene, Options(size, closed=True, cull=cull_backfaces))
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
        """All surfaces near each pixel, blended by distance and depth.

        See `meshreg.render.torch_backend.soft` for the formula. Both pieces of a face that is cut
        at z = `z_clip` count as faces of their own.
        """
        check_inputs(verts_cam, faces, size, z_clip, K=K, planes=planes_of(attributes))
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        soft = Softness(sigma, gamma, dist_eps, z_near, z_far, eps, background)
        K = K.to(verts_cam).expand(len(verts_cam), -1, -1)
        mesh = dress(
            verts_cam, faces, attributes, per_face=per_face, z_clip=z_clip, camera=(K, size)
        )
        options = soft_options(size, soft, perspective_correct, cull_backfaces)
        return blend(mesh, find_hits(mesh.scene, options), options, soft)

    def soft_semantic_ndc(  # noqa: PLR0913
        self,
        verts_ndc: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
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
    ) -> SemanticImage:
        """As `soft_semantic`, for vertices that are projected already: x left, y up, depth z."""
        check_inputs(verts_ndc, faces, size, planes=planes_of(attributes))
        per_face = checks.check_attributes(attributes, verts_ndc, faces, per_face)
        soft = Softness(sigma, gamma, dist_eps, z_near, z_far, eps, background)
        mesh = dress(verts_ndc, faces, attributes, per_face=per_face)
        options = soft_options(size, soft, perspective_correct, cull_backfaces)
        return blend(mesh, find_hits(mesh.scene, options), options, soft)


def _cut_faces(mesh: CutMesh, num_faces: int, options: Options) -> Fragments:
    """Rasterise the pieces and report them as the faces that they were cut from."""
    verts_ndc = divide_by_depth(mesh.points) if options.perspective else mesh.points
    drawn = draw_layers(make_scene(verts_ndc, mesh.faces, mesh.owner), options)
    return report_whole_faces(drawn, mesh, num_faces)
