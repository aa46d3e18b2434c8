"""Cut triangles at a near plane, so that a mesh that reaches behind the camera keeps its front."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class CutMesh:
    """A batch of meshes after the cut: each image has its own faces, some of them pieces."""

    points: Float[Tensor, "B Vc D"]  # the given points, then the new ones
    faces: Int[Tensor, "B Fc 3"]  # the given faces or what is left of them, then second pieces
    partner: Int[Tensor, "B Fc"]  # the other piece of the same face, -1 if there is none
    owner: Int[Tensor, "B Fc"]  # the given face that this is or was cut from
    corner_weights: Float[Tensor, "B Fc 3 3"]  # each corner as a mix of the owner's three corners


def cut_at_near_plane(
    points: Float[Tensor, "B V D"], faces: Int[Tensor, "F 3"], z_clip: float
) -> CutMesh:
    """Replace every face that crosses z = z_clip by its part in front: one or two triangles.

    `points` must be so that straight lines are straight: camera space, or (x z, y z, z) of NDC.
    Columns after the third are attributes, which new points take from the corners between them.
    Faces wholly behind the plane become empty.
    """
    behind = points[..., 2][:, faces] < z_clip
    num_behind = behind.sum(-1)
    num_images, num_faces = num_behind.shape
    image, face = ((num_behind == 1) | (num_behind == 2)).nonzero(as_tuple=True)
    two_pieces = num_behind[image, face] == 1
    # Turn each cut face so that the corner alone on its side of the plane comes first.
    lonely = behind[image, face] == two_pieces[:, None]
    turn = (lonely.int().argmax(-1)[:, None] + torch.arange(3, device=faces.device)) % 3
    corners = faces[face].gather(1, turn)
    new_points, along = _points_on_plane(points[image[:, None], corners], z_clip)

    per_image = torch.bincount(image, minlength=num_images)
    spare = int(per_image.max()) if len(image) else 0
    rank = torch.arange(len(image), device=image.device) - (per_image.cumsum(0) - per_image)[image]
    added = points.new_zeros(num_images, spare, 2, points.shape[-1]).index_put(
        (image, rank), new_points
    )

    first_new = points.shape[1] + 2 * rank
    on_b, on_c = first_new, first_new + 1  # new points on the edges from the lonely corner
    tip = torch.stack([corners[:, 0], on_b, on_c], -1)
    piece = torch.stack([on_b, corners[:, 1], on_c], -1)
    second = torch.stack([on_c, corners[:, 1], corners[:, 2]], -1)

    kept = torch.where((num_behind == 3)[..., None], 0, faces)
    cut_faces = torch.cat([kept, kept.new_zeros(num_images, spare, 3)], 1)
    cut_faces[image, face] = torch.where(two_pieces[:, None], piece, tip)
    i, f, extra = image[two_pieces], face[two_pieces], num_faces + rank[two_pieces]
    cut_faces[i, extra] = second[two_pieces]
    partner = torch.full_like(cut_faces[..., 0], -1)
    partner[i, f], partner[i, extra] = extra, f
    owner = torch.arange(cut_faces.shape[1], device=faces.device).repeat(num_images, 1)
    owner[i, extra] = f

    one = torch.eye(3, dtype=points.dtype, device=points.device)
    rows = [_mix(along, turn, row) for row in _PIECES]
    weights = one.expand(*cut_faces.shape[:2], 3, 3).clone()
    first_rows = torch.where(two_pieces[:, None, None], rows[1], rows[0])
    weights = weights.index_put((image, face), first_rows)
    weights = weights.index_put((i, extra), rows[2][two_pieces])
    return CutMesh(
        points=torch.cat([points, added.flatten(1, 2)], 1),
        faces=cut_faces,
        partner=partner,
        owner=owner,
        corner_weights=weights,
    )


# The corners of each kind of piece: 0..2 are the turned face's own, 3 and 4 the new points.
_PIECES = ((0, 3, 4), (3, 1, 4), (4, 1, 2))


def _points_on_plane(
    corners: Float[Tensor, "N 3 D"], z_clip: float
) -> tuple[Float[Tensor, "N 2 D"], Float[Tensor, "N 2"]]:
    """Where the edges from corner 0 to corners 1 and 2 meet the plane, and how far along."""
    start, ends = corners[:, :1], corners[:, 1:]
    along = (start[..., 2] - z_clip) / (start[..., 2] - ends[..., 2])
    new = start + along[..., None] * (ends - start)
    depth = torch.full_like(new[..., 2:3], z_clip)  # exactly, and whatever moves
    return torch.cat([new[..., :2], depth, new[..., 3:]], -1), along


def _mix(
    along: Float[Tensor, "N 2"], turn: Int[Tensor, "N 3"], piece: tuple[int, int, int]
) -> Float[Tensor, "N 3 3"]:
    """Rows of corner weights for one kind of piece, columns in the face's own order."""
    nothing, everything = torch.zeros_like(along[:, 0]), torch.ones_like(along[:, 0])
    t, u = along.unbind(-1)
    known = [
        torch.stack([everything, nothing, nothing], -1),
        torch.stack([nothing, everything, nothing], -1),
        torch.stack([nothing, nothing, everything], -1),
        torch.stack([1 - t, t, nothing], -1),
        torch.stack([1 - u, nothing, u], -1),
    ]
    turned = torch.stack([known[corner] for corner in piece], -2)
    return turned.gather(-1, turn.argsort(-1)[:, None].expand(-1, 3, 3))
