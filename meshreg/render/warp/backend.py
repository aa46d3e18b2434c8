"""The rasteriser that users get by default: camera-space meshes in, fragments or images out."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshreg.errors import InputError
from meshreg.render import checks
from meshreg.render.ndc import divide_by_depth, homogeneous_ndc
from meshreg.render.near_clip import CutMesh, cut_at_near_plane
from meshreg.render.rasterizer import Fragments, SemanticImage
from meshreg.render.warp.dressing import DressedMesh, View, dress, dress_whole, topologies
from meshreg.render.warp.operators import Layers, Shade
from meshreg.render.warp.scene import Options
from meshreg.render.warp.soft_operator import Soften, Softness


class WarpRasterizer:
    """The `Rasterizer` protocol on Warp kernels; works on the device and in the precision given.

    With `deterministic=True` gradients on the CPU are the same to the last bit for any number of
    threads. `threads` are used on the CPU, by default as many as torch uses at this moment.
    """

    def __init__(self, *, deterministic: bool = False, threads: int | None = None) -> None:
        checks.check_threads(threads)
        self.deterministic = deterministic
        self.threads = torch.get_num_threads() if threads is None else threads

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
        self._check(verts_cam, faces, size, z_clip, K=K)
        _check_layers(verts_cam, size, faces_per_pixel)
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
            deterministic=self.deterministic,
            threads=self.threads,
        )
        view = View(K.to(verts_cam), size, z_clip, self.threads)
        if z_clip is None:
            return _whole_faces(view.project(verts_cam), faces, options)
        points = homogeneous_ndc(verts_cam, view.K, size)
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
        self._check(verts_ndc, faces, size, z_clip)
        _check_layers(verts_ndc, size, faces_per_pixel)
        clip = blur_radius > 0 if clip_barycentric_coords is None else clip_barycentric_coords
        options = Options(
            size=size,
            layers=faces_per_pixel,
            blur=blur_radius,
            perspective=perspective_correct,
            clip=clip,
            cull=cull_backfaces,
            deterministic=self.deterministic,
            threads=self.threads,
        )
        if z_clip is None:
            return _whole_faces(verts_ndc, faces, options)
        xy, z = verts_ndc[..., :2], verts_ndc[..., 2:]
        points = torch.cat([xy * z, z], -1) if perspective_correct else verts_ndc
        return _cut_faces(cut_at_near_plane(points, faces, z_clip), len(faces), options)

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
        see `meshreg.render.warp.edge` for the gradient.
        """
        self._check(verts_cam, faces, size, z_clip, K=K)
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        _check_channels(verts_cam, size, attributes.shape[-1])
        K = K.to(verts_cam)
        view = View(K, size, z_clip, self.threads)
        mesh = dress(verts_cam, faces, attributes.to(verts_cam), per_face, view)
        # Metres that one pixel spans at a depth of one metre.
        pixel_width = 2 / (K[:, 0, 0] + K[:, 1, 1]).detach().expand(verts_cam.shape[0])
        options = Options(
            size=size,
            cull=cull_backfaces,
            closed=True,
            constant=per_face,
            deterministic=self.deterministic,
            threads=self.threads,
        )
        classes, alpha, depth = Shade.apply(
            mesh.verts_ndc,
            mesh.attributes,
            mesh.faces,
            mesh.rows,
            pixel_width,
            background,
            options,
        )
        return SemanticImage(classes=classes, alpha=alpha, depth=depth)

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

        See `meshreg.render.warp.soft` for the formula. Both pieces of a face that is cut at
        z = `z_clip` count as faces of their own.
        """
        self._check(verts_cam, faces, size, z_clip, K=K)
        per_face = checks.check_attributes(attributes, verts_cam, faces, per_face)
        soft = Softness(sigma, gamma, dist_eps, z_near, z_far, eps, background)
        _check_channels(verts_cam, size, attributes.shape[-1])
        view = View(K.to(verts_cam), size, z_clip, self.threads)
        mesh = dress(verts_cam, faces, attributes.to(verts_cam), per_face, view)
        options = self._soft_options(size, soft, perspective_correct, cull_backfaces)
        return _soften(mesh, options, soft)

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
        self._check(verts_ndc, faces, size, None)
        per_face = checks.check_attributes(attributes, verts_ndc, faces, per_face)
        soft = Softness(sigma, gamma, dist_eps, z_near, z_far, eps, background)
        _check_channels(verts_ndc, size, attributes.shape[-1])
        mesh = dress_whole(verts_ndc, faces, attributes.to(verts_ndc), per_face)
        options = self._soft_options(size, soft, perspective_correct, cull_backfaces)
        return _soften(mesh, options, soft)

    def _soft_options(
        self, size: tuple[int, int], soft: Softness, perspective: bool, cull: bool
    ) -> Options:
        return Options(
            size=size,
            blur=soft.blur,
            perspective=perspective,
            clip=True,
            cull=cull,
            closed=True,
            deterministic=self.deterministic,
            threads=self.threads,
        )

    def _check(
        self,
        verts: Tensor,
        faces: Tensor,
        size: tuple[int, int],
        z_clip: float | None,
        K: Tensor | None = None,
    ) -> None:
        checks.check_mesh(verts, faces, "verts_ndc" if K is None else "verts_cam")
        if K is not None:
            checks.check_intrinsics(K, verts)
        checks.check_size(size, len(verts))
        if z_clip is not None and not z_clip > 0:
            raise InputError(
                f"expected z_clip > 0 metres, found {z_clip}: give a distance in front."
            )
        if self.deterministic and verts.is_cuda:
            raise InputError(
                "deterministic=True works on the CPU only, found vertices on "
                f"{verts.device}: move them or leave it out."
            )


def _soften(mesh: DressedMesh, options: Options, soft: Softness) -> SemanticImage:
    classes, alpha, depth = Soften.apply(
        mesh.verts_ndc, mesh.attributes, mesh.faces, mesh.rows, options, soft
    )
    return SemanticImage(classes=classes, alpha=alpha, depth=depth)


def _whole_faces(verts_ndc: Tensor, faces: Tensor, options: Options) -> Fragments:
    index, depth, bary, dist = Layers.apply(verts_ndc, topologies(faces), None, options)
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


def _check_layers(verts: Tensor, size: tuple[int, int], layers: int) -> None:
    """The results hold an index, a depth, a distance and three barycentrics per layer."""
    count = len(verts) * size[0] * size[1] * max(layers, 1)
    needed = count * (8 + 5 * verts.element_size())
    checks.check_memory(needed, verts.device, f"faces_per_pixel={layers} at size {size}")


def _check_channels(verts: Tensor, size: tuple[int, int], channels: int) -> None:
    count = len(verts) * size[0] * size[1] * (channels + 6)
    needed = count * verts.element_size()
    checks.check_memory(needed, verts.device, f"an image of {channels} channels at size {size}")
