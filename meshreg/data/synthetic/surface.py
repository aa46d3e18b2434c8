"""What a camera sees of dressed people, pixel by pixel, before any colour."""

from dataclasses import dataclass
from dataclasses import fields as fields_of

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.people import BODY, DressedPeople
from meshreg.geometry.mesh import vertex_normals
from meshreg.render.rasterizer import Fragments, Rasterizer

PIECE_LAYERS = 4  # fragments of loose pieces per pixel: a skirt and long hair, front and back
SKIN_LABELS = (
    (Label.TORSO_SKIN, Label.TORSO_SKIN),
    (Label.FACE, Label.FACE),
    (Label.LEFT_ARM, Label.RIGHT_ARM),
    (Label.LEFT_LEG, Label.RIGHT_LEG),
)


@dataclass(frozen=True, eq=False)
class Surface:
    """The front surface of each person, alone in the picture; zeros where it is not hit."""

    hit: Bool[Tensor, "P H W"]
    label: Int[Tensor, "P H W"]  # Label of what is seen
    layer: Int[Tensor, "P H W"]  # what is seen, as an index into garments.LAYERS; -1 on skin
    piece: Int[Tensor, "P H W"]  # 0 on the body's surface, else which loose piece
    part: Int[Tensor, "P H W"]  # the SMPL joint that moves the point most
    rest: Float[Tensor, "P H W 3"]  # the point on the average body in T-pose, metres
    normal: Float[Tensor, "P H W 3"]  # unit, camera frame, towards the camera
    depth: Float[Tensor, "P H W"]  # along the optical axis, metres


@dataclass(frozen=True, eq=False)
class _Hits:
    """The visible point of each covered pixel: a face of a person and a place in it."""

    pixel: Int[Tensor, " n"]  # into the flattened (P, H, W)
    person: Int[Tensor, " n"]
    face: Int[Tensor, " n"]  # row of `DressedPeople.faces`
    corners: Int[Tensor, "n 3"]  # vertices of that face
    bary: Float[Tensor, "n 3"]
    depth: Float[Tensor, " n"]

    def at(self, index: Int[Tensor, " m"]) -> "_Hits":
        """Some of the points."""
        return _Hits(*(getattr(self, field.name)[index] for field in fields_of(self)))

    def mix(self, values: Float[Tensor, "P N C"]) -> Float[Tensor, "n C"]:
        """Vertex values of each person at the points."""
        rows = self.person[:, None] * values.shape[1] + self.corners
        return self._weighted(values.flatten(0, 1), rows)

    def mix_shared(self, values: Float[Tensor, "N C"]) -> Float[Tensor, "n C"]:
        """Vertex values that all people share."""
        return self._weighted(values, self.corners)

    def _weighted(self, table: Tensor, rows: Tensor) -> Float[Tensor, "n C"]:
        picked = table.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        return torch.bmm(self.bary[:, None], picked)[:, 0]


def look_at(
    people: DressedPeople,
    K: Float[Tensor, "P 3 3"],
    size: tuple[int, int],
    rasterizer: Rasterizer,
    *,
    where: Bool[Tensor, "P H W"] | None = None,
) -> Surface:
    """Draw each person alone; the people's frame is the camera's.

    The body's surface closes every ray that meets it. Loose pieces are seen only where their field
    is above zero, and what is behind shows elsewhere. With `where`, only `hit` and `depth` are
    found for all pixels, the rest for those.
    """
    every = hits = front_hits(people, K, size, rasterizer)
    if where is not None:
        hits = every.at(where.flatten()[every.pixel].nonzero()[:, 0])
    fields = hits.mix(people.fields)
    rest = hits.mix(people.rest)
    layer = outermost(fields)
    label = labels_of(people, hits, layer, rest[:, 0] > 0)
    normal = normals_of(people, hits)
    part = hits.mix_shared(people.weights).argmax(1)
    shape = (len(people.vertices), *size)

    def spread(values: Tensor, points: _Hits = hits) -> Tensor:
        """Values of the points as pictures, zero elsewhere."""
        count = shape[0] * shape[1] * shape[2]
        image = values.new_zeros((count, *values.shape[1:]))
        return image.index_copy_(0, points.pixel, values).view(*shape, *values.shape[1:])

    return Surface(
        hit=spread(torch.ones_like(every.face, dtype=torch.bool), every),
        label=spread(label),
        layer=spread(layer),
        piece=spread(people.piece[hits.face]),
        part=spread(part),
        rest=spread(rest),
        normal=spread(normal),
        depth=spread(every.depth, every),
    )


def outermost(fields: Float[Tensor, "n L"]) -> Int[Tensor, " n"]:
    """The last layer that covers each point, -1 where none does."""
    number = torch.arange(1, fields.shape[1] + 1, device=fields.device)
    return ((fields > 0) * number).amax(1) - 1


def labels_of(
    people: DressedPeople,
    hits: _Hits,
    layer: Int[Tensor, " n"],
    on_left: Bool[Tensor, " n"],
) -> Int[Tensor, " n"]:
    """The label of the outermost layer, or of the skin that lies bare."""
    side = (~on_left).long()
    table = people.layer_label.flatten()
    num_layers = people.layer_label.shape[1]
    worn = table[(hits.person * num_layers + layer.clamp(min=0)) * 2 + side]
    skin = hits.mix_shared(people.skin)
    region = torch.where((skin > 0).any(1), skin.argmax(1) + 1, 0)
    bare = torch.tensor(SKIN_LABELS, device=skin.device)[region, side]
    return torch.where(layer >= 0, worn, bare)


def normals_of(people: DressedPeople, hits: _Hits) -> Float[Tensor, "n 3"]:
    """Smooth normals, turned towards the camera."""
    normal = hits.mix(vertex_normals(people.vertices, people.faces))
    ray = hits.mix(people.vertices)
    away = (normal * ray).sum(1, keepdim=True) > 0
    normal = torch.where(away, -normal, normal)
    return torch.nn.functional.normalize(normal, dim=1)


def front_hits(
    people: DressedPeople, K: Tensor, size: tuple[int, int], rasterizer: Rasterizer
) -> _Hits:
    """The nearest visible point of each covered pixel."""
    num_vertices = people.body_vertices.shape[1]
    num_faces = int((people.piece == BODY).sum())
    faces, loose_faces = people.faces[:num_faces], people.faces[num_faces:] - num_vertices
    body = rasterizer.fragments(people.vertices[:, :num_vertices], faces, K, size)
    loose = rasterizer.fragments(
        people.vertices[:, num_vertices:], loose_faces, K, size, faces_per_pixel=PIECE_LAYERS
    )
    inner = hits_of(body, people, 0)
    outer = hits_of(loose, people, num_faces)
    # Each vertex of a loose piece belongs to one layer, which has the only field that counts.
    inside = outer.mix(people.fields.amax(2, keepdim=True))[:, 0] > 0
    return nearest(outer, inside, inner, body.zbuf.numel())


def hits_of(fragments: Fragments, people: DressedPeople, first_face: int) -> _Hits:
    """All fragments as a list; the packed faces are those from `first_face` on."""
    packed = fragments.pix_to_face.flatten()
    chosen = (packed >= 0).nonzero()[:, 0]
    last = len(people.faces) if first_face else int((people.piece == BODY).sum())
    pixel = torch.div(chosen, fragments.pix_to_face.shape[-1], rounding_mode="floor")
    face = packed[chosen] % (last - first_face) + first_face
    return _Hits(
        pixel=pixel,
        person=torch.div(pixel, fragments.zbuf[0, ..., 0].numel(), rounding_mode="floor"),
        face=face,
        corners=people.faces[face],
        bary=fragments.bary_coords.flatten(0, -2)[chosen],
        depth=fragments.zbuf.flatten()[chosen],
    )


def nearest(outer: _Hits, keep: Bool[Tensor, " n"], inner: _Hits, num_pixels: int) -> _Hits:
    """Of both lists, the nearest point of each pixel; of the outer one only those to keep."""
    both = [
        torch.cat([getattr(outer, name)[keep], getattr(inner, name)])
        for name in ("pixel", "person", "face", "corners", "bary", "depth")
    ]
    pixel, depth = both[0], both[-1]
    front = depth.new_full((num_pixels,), torch.inf)
    front = front.scatter_reduce(0, pixel, depth, "amin")
    seen = (depth == front[pixel]).nonzero()[:, 0]
    # Should two points tie, the first one counts.
    order = torch.arange(len(seen), device=pixel.device)
    first = torch.full_like(front, len(seen), dtype=torch.int64)
    first = first.scatter_reduce(0, pixel[seen], order, "amin")
    seen = seen[first[pixel[seen]] == order]
    return _Hits(*(values[seen] for values in both))
