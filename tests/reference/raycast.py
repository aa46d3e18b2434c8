"""What one ray meets on dressed people, by trying every triangle in float64."""

import numpy as np

from meshreg.clothing.labels import Label
from meshreg.data.synthetic.people import BODY, DressedPeople


def ray_hits(ray: np.ndarray, corners: np.ndarray) -> list[tuple[float, int, np.ndarray]]:
    """(depth, face, weights) of every triangle (F, 3, 3) that a ray from the origin meets.

    The ray has z = 1, so the multiple of it is the depth. Weights solve w @ corners = t * ray.
    """
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    parts = np.stack(
        [np.cross(b, c) @ ray, np.cross(c, a) @ ray, np.cross(a, b) @ ray], axis=1
    )  # volumes of the tetrahedra between the ray and each edge
    total = parts.sum(1)
    met = ((parts > 0).all(1) | (parts < 0).all(1)) & (corners[..., 2] > 1e-6).all(1)
    hits = []
    for face in np.flatnonzero(met):
        weights = parts[face] / total[face]
        hits.append((float(weights @ corners[face, :, 2]), int(face), weights))
    return sorted(hits, key=lambda hit: hit[0])


def label_of_ray(people: DressedPeople, person: int, ray: np.ndarray) -> tuple[int, float, int]:
    """Label, depth and piece of what the ray shows; label 0 where it meets nothing."""
    faces, piece = people.faces.numpy(), people.piece.numpy()
    vertices = people.vertices[person].double().numpy()
    fields = people.fields[person].double().numpy()
    rest = people.rest[person].double().numpy()
    skin = people.skin.double().numpy()
    for depth, face, weights in ray_hits(ray, vertices[faces]):
        field = weights @ fields[faces[face]]
        worn = [layer for layer in range(len(field)) if field[layer] > 0]
        if piece[face] != BODY and not worn:
            continue
        on_left = weights @ rest[faces[face]][:, 0] > 0
        if worn:
            sides = people.layer_label[person, worn[-1]].tolist()
            return (sides[0] if on_left else sides[1]), depth, int(piece[face])
        return bare_label(weights @ skin[faces[face]], bool(on_left)), depth, BODY
    return 0, 0.0, 0


def bare_label(field: np.ndarray, on_left: bool) -> int:
    face, arm, leg = field
    if max(face, arm, leg) <= 0:
        return Label.TORSO_SKIN
    if face >= max(arm, leg):
        return Label.FACE
    if arm >= leg:
        return Label.LEFT_ARM if on_left else Label.RIGHT_ARM
    return Label.LEFT_LEG if on_left else Label.RIGHT_LEG
