"""The rasteriser that users get by default: camera-space meshes in, fragments or images out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render.ndc import divide_by_depth, homogeneous_ndc
from meshreg.render.near_clip import CutMesh, cut_at_near_plane
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

        Faces that cross z = `z_clip` (metres) are cut there; without it, faces with a corner at or
        behind the camera are left out whole. `clip_barycentric_coords=None` clips exactly if there
        is blur. Barycentrics always refer to the face's own corners.
        """
        _check_mesh(verts_cam, faces, z_clip)
        if z_clip is not None and not perspective_correct:
            raise InputError(
                "z_clip cuts faces in space, found perspective_correct=False: leave out one."
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
        points = homogeneous_ndc(verts_cam, K.to(verts_cam), size)
        if z_clip is None:
            return _whole_faces(divide_by_depth(points), faces, options)
        return _cut_faces(cut_at_near_plane(points, faces, z_clip), len(faces), options)

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
        _check_mesh(verts_ndc, faces, z_clip)
        clip = blur_radius > 0 if clip_barycentric_coords is None else clip_barycentric_coords
        options = Options(
            size=size,
            layers=faces_per_pixel,
            blur=blur_radius,
            perspective=perspective_correct,
            clip=clip,
            cull=cull_backfaces,
        )
        if z_clip is None:
            return _whole_faces(verts_ndc, faces, options)
        xy, z = verts_ndc[..., :2], verts_ndc[..., 2:]
        points = torch.cat([xy * z, z], -1) if perspective_correct else verts_ndc
        return _cut_faces(cut_at_near_plane(points, faces, z_clip), len(faces), options)

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

        Faces with a corner at or behind the camera are left out whole. Classes should vary little
        within a face, or be constant on it; see `meshreg.render.warp.edge` for the gradient.
        """
        _check_mesh(verts_cam, faces)
        if attributes.shape[0] not in (1, verts_cam.shape[0]) or (
            attributes.shape[1] != verts_cam.shape[1]
        ):
            raise InputError(
                f"expected attributes of shape (1 or {len(verts_cam)}, {verts_cam.shape[1]}, C), "
                f"found {tuple(attributes.shape)}: give one row per vertex."
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


def _whole_faces(verts_ndc: Tensor, faces: Tensor, options: Options) -> Fragments:
    index, depth, bary, dist = Layers.apply(verts_ndc, _topologies(faces), None, options)
    return Fragments(pix_to_face=index, zbuf=depth, bary_coords=bary, dists=dist)


def _cut_faces(mesh: CutMesh, num_faces: int, options: Options) -> Fragments:
    """Rasterise the pieces and report them as the faces that they were cut from."""
    verts_ndc = divide_by_depth(mesh.points) if options.perspective else mesh.points
    faces, partner = mesh.faces.int().contiguous(), mesh.partner.int().contiguous()
    index, depth, bary, dist = Layers.apply(verts_ndc, faces, partner, options)
    hit = index >= 0
    piece = index[hit]
    image = piece // faces.shape[1]
    whole = image * num_faces + mesh.owner.flatten()[piece]
    mixed = (bary[hit][:, None] @ mesh.corner_weights.flatten(0, 1)[piece])[:, 0]
    return Fragments(
        pix_to_face=index.masked_scatter(hit, whole),
        zbuf=depth,
        bary_coords=bary.masked_scatter(hit[..., None].expand_as(bary), mixed),
        dists=dist,
    )


def _topologies(faces: Tensor) -> Tensor:
    """Faces as the kernels want them: 32-bit, under an axis of one topology for all images."""
    return faces.to(torch.int32).contiguous()[None]


def _check_mesh(verts: Tensor, faces: Tensor, z_clip: float | None = None) -> None:
    if verts.device != faces.device:
        raise InputError(
            f"vertices are on {verts.device} but faces on {faces.device}: move them together."
        )
    # A kernel would read whatever lies in memory there.
    if faces.numel() and not 0 <= int(faces.amin()) <= int(faces.amax()) < verts.shape[1]:
        raise InputError(
            f"expected face corners between 0 and {verts.shape[1] - 1}, found {int(faces.amin())} "
            f"to {int(faces.amax())}: use the faces that belong to these vertices."
        )
    if z_clip is not None and z_clip <= 0:
        raise InputError(f"expected z_clip > 0 metres, found {z_clip}: give a distance in front.")
