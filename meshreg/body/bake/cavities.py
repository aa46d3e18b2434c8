"""Closes the MakeHuman body: eye sockets and mouth bag are cut out, the openings covered.

What comes out is one symmetric triangle mesh without holes or handles, over MakeHuman's vertices.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from meshreg.body.bake.makehuman import Group, MakeHuman

# The UV islands of the two eye sockets and the mouth bag, told by their numbers of quads.
CAVITY_QUADS = (293, 398)
MOUTH_RIM = 38  # vertices around the mouth opening; an eye opening has 28

Triangle = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ClosedMesh:
    """The outer skin as triangles over MakeHuman's vertices."""

    faces: np.ndarray  # (F, 3) MakeHuman vertex ids
    uv_faces: np.ndarray  # (F, 3) rows of `uv`
    uv: np.ndarray  # (T, 2)
    eye_poles: tuple[int, int]  # foremost vertex of the left and the right eyeball
    eye_rims: np.ndarray  # vertices around the eye openings


def close_body(human: MakeHuman, vertices: np.ndarray) -> ClosedMesh:
    """Triangulate and close the body; the given positions decide between diagonals."""
    outer = without_cavities(human.groups["body"])
    sheet = Sheet(triangulated(outer, vertices, human.mirror), human.uv)
    poles, rims = [], []
    for rim in opening_rims(outer.quads):
        if len(rim) == MOUTH_RIM:
            sheet.add(mouth_cover(rim, vertices, human.mirror), seam_uv(outer, rim))
            continue
        left = vertices[rim, 0].mean() > 0
        eyeball = np.unique(human.groups["helper-l-eye"].quads)
        pole = int(eyeball[vertices[eyeball, 2].argmax()])
        pole = pole if left else int(human.mirror[pole])
        sheet.add_fan(rim, pole, seam_uv(outer, rim))
        poles.append((not left, pole))
        rims += rim
    assert len(poles) == 2, poles
    (_, left_pole), (_, right_pole) = sorted(poles)
    faces, uv_faces, uv = sheet.arrays()
    return ClosedMesh(faces, uv_faces, uv, (left_pole, right_pole), np.array(sorted(rims)))


class Sheet:
    """A triangle mesh that grows: faces, their texture corners, and the texture vertices."""

    def __init__(self, start: tuple[list[Triangle], list[Triangle]], uv: np.ndarray) -> None:
        self.faces, self.uv_faces = start
        self.uv = [*uv]

    def add(self, triangles: list[Triangle], uv_of: dict[int, int]) -> None:
        """Triangles over vertices whose texture vertices are known."""
        self.faces += triangles
        self.uv_faces += [(uv_of[a], uv_of[b], uv_of[c]) for a, b, c in triangles]

    def add_fan(self, rim: list[int], pole: int, uv_of: dict[int, int]) -> None:
        """Triangles from a rim to a pole, whose texture vertex is the middle of the rim's."""
        uv_of = {**uv_of, pole: len(self.uv)}
        self.uv.append(np.mean([self.uv[uv_of[vertex]] for vertex in rim], axis=0))
        self.add([(a, b, pole) for a, b in zip(rim, rim[1:] + rim[:1], strict=True)], uv_of)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.faces), np.array(self.uv_faces), np.array(self.uv)


def without_cavities(body: Group) -> Group:
    """The outer skin: the quads of all UV islands but those of eye sockets and mouth bag."""
    corner, after = body.uv_quads.ravel(), np.roll(body.uv_quads, -1, axis=1).ravel()
    size = body.uv_quads.max() + 1
    links = sp.coo_matrix((np.ones(len(corner)), (corner, after)), shape=(size, size))
    island = connected_components(links, directed=False)[1][body.uv_quads[:, 0]]
    outer = ~np.isin(np.bincount(island)[island], CAVITY_QUADS)
    return Group(body.quads[outer], body.uv_quads[outer])


def half_edges(polygons: np.ndarray) -> list[tuple[int, int]]:
    """Every directed edge of every polygon."""
    pairs = np.stack([polygons, np.roll(polygons, -1, axis=1)], axis=-1)
    return [(int(a), int(b)) for a, b in pairs.reshape(-1, 2)]


def opening_rims(polygons: np.ndarray) -> list[list[int]]:
    """The vertices around each opening, in the order in which a cover's triangles run."""
    edges = set(half_edges(polygons))
    follow = {b: a for a, b in edges if (b, a) not in edges}
    rims = []
    for start in sorted(follow):
        if start not in follow:
            continue
        rim = [start]
        while (vertex := follow.pop(rim[-1])) != start:
            rim.append(vertex)
        rims.append(rim)
    return rims


def seam_uv(surface: Group, rim: list[int]) -> dict[int, int]:
    """The texture vertex that each vertex of an opening's rim has on the surface around it."""
    on_rim = np.isin(surface.quads, rim)
    pairs = zip(surface.quads[on_rim], surface.uv_quads[on_rim], strict=True)
    return {int(vertex): int(uv) for vertex, uv in pairs}


def triangulated(
    surface: Group, vertices: np.ndarray, mirror: np.ndarray
) -> tuple[list[Triangle], list[Triangle]]:
    """Quads cut along their shorter diagonal, and each mirrored quad along the mirrored one."""
    number_of = {frozenset(quad): number for number, quad in enumerate(surface.quads.tolist())}
    diagonal: dict[int, frozenset[int]] = {}
    for number, quad in enumerate(surface.quads):
        if number in diagonal:
            continue
        a, b, c, d = vertices[quad]
        first = np.linalg.norm(a - c) <= np.linalg.norm(b - d)
        ends = quad[[0, 2]] if first else quad[[1, 3]]
        diagonal[number] = frozenset(ends.tolist())
        twin = number_of[frozenset(mirror[quad].tolist())]
        diagonal.setdefault(twin, frozenset(mirror[ends].tolist()))
    faces: list[Triangle] = []
    uv_faces: list[Triangle] = []
    for number, (quad, uv) in enumerate(
        zip(surface.quads.tolist(), surface.uv_quads.tolist(), strict=True)
    ):
        first = diagonal[number] == {quad[0], quad[2]}
        for i, j, k in ((0, 1, 2), (0, 2, 3)) if first else ((1, 2, 3), (1, 3, 0)):
            faces.append((quad[i], quad[j], quad[k]))
            uv_faces.append((uv[i], uv[j], uv[k]))
    return faces, uv_faces


def mouth_cover(rim: list[int], vertices: np.ndarray, mirror: np.ndarray) -> list[Triangle]:
    """Zips the upper lip to the lower: a strip on one side of the mid-line and its mirror image."""
    middles = [place for place, vertex in enumerate(rim) if mirror[vertex] == vertex]
    assert len(middles) == 2, middles
    lip = rim[middles[0] : middles[1] + 1]  # from one mid-line vertex round the corner to the other
    strip: list[Triangle] = []
    low, high = 0, len(lip) - 1
    while high - low >= 2:
        # Each step closes one triangle of the gap, along the shorter of the two possible threads.
        from_low = np.linalg.norm(vertices[lip[low + 1]] - vertices[lip[high]])
        from_high = np.linalg.norm(vertices[lip[low]] - vertices[lip[high - 1]])
        balanced = (high - (len(lip) - 1)) + low  # 0 when both lips have advanced alike
        if balanced < 0 or (balanced == 0 and from_low <= from_high):
            strip.append((lip[low], lip[low + 1], lip[high]))
            low += 1
        else:
            strip.append((lip[low], lip[high - 1], lip[high]))
            high -= 1
    return strip + [(int(mirror[a]), int(mirror[c]), int(mirror[b])) for a, b, c in strip]
