"""Simplifies a symmetric closed mesh to an exact number of vertices, keeping it so.

Edges collapse onto one of their ends, cheapest first by the quadric error of Garland and Heckbert
(1997). So every vertex that is left is one of the original vertices, and whatever is known about it
carries over. Each collapse is done together with its mirror image.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

KEPT_COSINE = 0.25  # a collapse may not turn the normal of a face further than this
SLIVER = 0.06  # twice the area over the squared longest side
FORCED_BONUS = 1.0  # taken off the cost of unwanted vertices, so that they go first


@dataclass(frozen=True, eq=False)
class SymmetricMesh:
    """A closed triangle mesh in several shapes, with texture corners and its mirror map."""

    shapes: np.ndarray  # (K, V, 3) the same mesh in K shapes; costs are averaged over them
    faces: np.ndarray  # (F, 3)
    uv_faces: np.ndarray  # (F, 3)
    mirror: np.ndarray  # (V,) the vertex on the other side; itself on the mid-line


class Collapser:
    """A simplification under way: the faces and vertices left, and what each has absorbed."""

    def __init__(
        self,
        mesh: SymmetricMesh,
        *,
        face_weight: np.ndarray,  # (F,) how much the error on a face counts
        kept: Iterable[int] = (),
        unwanted: Iterable[int] = (),
        edge_weight: float = 0.012,  # cost of length: keeps flat regions evenly meshed
    ) -> None:
        self.mirror = mesh.mirror.tolist()
        self.faces = dict(enumerate(mesh.faces.tolist()))
        self.uv_faces = dict(enumerate(mesh.uv_faces.tolist()))
        faces_of: dict[int, set[int]] = defaultdict(set)
        for number, face in self.faces.items():
            for vertex in face:
                faces_of[vertex].add(number)
        self.faces_of = dict(faces_of)
        self.kept, self.unwanted = set(kept), set(unwanted)
        self.edge_weight = edge_weight
        self.mean_shape = mesh.shapes.mean(0)
        self.end_shapes = (mesh.shapes[0], mesh.shapes[-1])
        ones = np.ones((*mesh.shapes.shape[:2], 1))
        self.homogeneous = np.concatenate([mesh.shapes, ones], axis=-1).transpose(1, 0, 2).copy()
        self.quadrics, self.areas = vertex_quadrics(mesh, face_weight)
        self.heap: list[tuple[float, int, int, int]] = []
        self.version: Counter[int] = Counter()

    def run(self, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
        """Collapse down to a number of vertices; returns the faces and texture faces left."""
        for vertex in sorted(self.faces_of):
            self.enqueue(vertex)
        left = len(self.faces_of)
        while left > num_vertices:
            assert self.heap, f"no collapse is allowed any more at {left} vertices"
            _, source, target, version = heapq.heappop(self.heap)
            if source not in self.faces_of or target not in self.faces_of:
                continue
            if self.version[source] != version or left - self.size_of(source) < num_vertices:
                continue
            ring = self.neighbours(source) | self.neighbours(self.mirror[source])
            if self.collapse_pair(source, target):
                left -= self.size_of(source)
                for vertex in sorted(ring & self.faces_of.keys()):
                    self.enqueue(vertex)
        order = sorted(self.faces)
        faces, uv_faces = ([table[n] for n in order] for table in (self.faces, self.uv_faces))
        return np.array(faces), np.array(uv_faces)

    def size_of(self, vertex: int) -> int:
        """How many vertices vanish with this one: itself and its mirror image."""
        return 1 if self.mirror[vertex] == vertex else 2

    def neighbours(self, vertex: int) -> set[int]:
        return {other for face in self.faces_of[vertex] for other in self.faces[face]} - {vertex}

    def enqueue(self, source: int) -> None:
        """Put a vertex's possible collapses in the queue; one side stands for both."""
        mirrored = self.mirror[source]
        if self.mean_shape[source, 0] < 0 and mirrored != source:
            source, mirrored = mirrored, source
        if source in self.kept:
            return
        self.version[source] += 1
        for target in sorted(self.neighbours(source)):
            if mirrored == source and self.mirror[target] != target:
                continue  # the mid-line stays where it is
            cost = self.cost(source, target)
            heapq.heappush(self.heap, (cost, source, target, self.version[source]))

    def cost(self, source: int, target: int) -> float:
        """Squared distance of the target to the planes that both ends stand for, by area."""
        point = self.homogeneous[target]
        quadric = self.quadrics[source] + self.quadrics[target]
        error = np.einsum("ki,kij,kj->", point, quadric, point) / len(point)
        step = self.mean_shape[source] - self.mean_shape[target]
        length = self.edge_weight * (step @ step) * (self.areas[source] + self.areas[target])
        return float(error + length) - FORCED_BONUS * (source in self.unwanted)

    def collapse_pair(self, source: int, target: int) -> bool:
        """Collapse an edge and its mirror image, if both keep the mesh sound."""
        mirrored, mirrored_target = self.mirror[source], self.mirror[target]
        crossing = mirrored != source and (
            target == mirrored or mirrored in self.neighbours(source)
        )
        if crossing or not self.is_sound(source, target):
            return False
        if mirrored == source:
            self.collapse(source, target)
            return True
        # Two sides that meet in one mid-line vertex: the second must be sound after the first, too.
        gained = self.neighbours(source) - {target} if target == mirrored_target else set()
        if not self.is_sound(mirrored, mirrored_target, gained):
            return False
        self.collapse(source, target)
        assert self.uv_moves(mirrored, mirrored_target) is not None
        self.collapse(mirrored, mirrored_target)
        return True

    def is_sound(self, source: int, target: int, gained: Iterable[int] = ()) -> bool:
        """Whether a collapse keeps a surface, its seams in place and its faces unturned."""
        around = self.neighbours(source)
        around_target = (self.neighbours(target) | set(gained)) - {target}
        if len(around & around_target) != 2 or (len(around) <= 3 and len(around_target) <= 3):
            return False
        if self.uv_moves(source, target) is None:
            return False
        if source in self.unwanted:
            return True
        staying = self.faces_of[source] - self.faces_of[target]
        return all(self.face_survives(face, source, target) for face in staying)

    def face_survives(self, number: int, source: int, target: int) -> bool:
        """Whether a face keeps its direction and does not become a sliver when a corner moves."""
        before = self.faces[number]
        after = [target if vertex == source else vertex for vertex in before]
        for points in self.end_shapes:
            old, new = points[before], points[after]
            old_normal = np.cross(old[1] - old[0], old[2] - old[0])
            normal = np.cross(new[1] - new[0], new[2] - new[0])
            old_size, size = np.linalg.norm(old_normal), np.linalg.norm(normal)
            if old_normal @ normal < KEPT_COSINE * old_size * size:
                return False
            longest = ((new - new[[1, 2, 0]]) ** 2).sum(1).max()
            if size < SLIVER * longest and size < 0.7 * old_size:
                return False
        return True

    def uv_moves(self, source: int, target: int) -> dict[int, int] | None:
        """Where each texture vertex of the source goes; None if the collapse would tear a seam."""
        moves: dict[int, int] = {}
        for face in self.faces_of[source] & self.faces_of[target]:
            corner, goal = (self.uv_of(face, vertex) for vertex in (source, target))
            if moves.setdefault(corner, goal) != goal:
                return None
        needed = {self.uv_of(face, source) for face in self.faces_of[source]}
        return moves if needed <= moves.keys() else None

    def uv_of(self, face: int, vertex: int) -> int:
        return self.uv_faces[face][self.faces[face].index(vertex)]

    def collapse(self, source: int, target: int) -> None:
        """Move the source onto the target; the faces between them vanish."""
        moves = self.uv_moves(source, target)
        assert moves is not None, (source, target)
        for number in self.faces_of.pop(source):
            face = self.faces[number]
            if target in face:
                for vertex in face:
                    if vertex != source:
                        self.faces_of[vertex].discard(number)
                del self.faces[number], self.uv_faces[number]
            else:
                corner = face.index(source)
                face[corner] = target
                self.uv_faces[number][corner] = moves[self.uv_faces[number][corner]]
                self.faces_of[target].add(number)
        self.quadrics[target] += self.quadrics[source]
        self.areas[target] += self.areas[source]


def vertex_quadrics(mesh: SymmetricMesh, face_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vertex the sum of its faces' plane quadrics, per shape, and its weighted area."""
    corners = mesh.shapes[:, mesh.faces]
    normals = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    doubled = np.linalg.norm(normals, axis=-1)
    normals = normals / np.maximum(doubled, 1e-12)[..., None]
    distance = -(normals * corners[:, :, 0]).sum(-1, keepdims=True)
    planes = np.concatenate([normals, distance], axis=-1)
    area = doubled / 2 * face_weight
    of_face = np.einsum("kf,kfi,kfj->fkij", area, planes, planes)
    quadrics = np.zeros((mesh.shapes.shape[1], len(mesh.shapes), 4, 4))
    areas = np.zeros(len(quadrics))
    for corner in mesh.faces.T:
        np.add.at(quadrics, corner, of_face)
        np.add.at(areas, corner, area.mean(0) / 3)
    return quadrics, areas
