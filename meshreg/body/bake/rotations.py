"""Rotation matrices in numpy: from a rotation vector, from two directions, from two frames."""

import numpy as np
from jaxtyping import Float


def normalised(vectors: np.ndarray) -> np.ndarray:
    """The same directions with length one."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def cross_matrix(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """The matrix that does the cross product with a vector."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotvec_to_rotmat(rotvec: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rodrigues' formula, safe at zero."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    tiny = angle < 1e-12
    K = cross_matrix(rotvec) / np.where(tiny, 1.0, angle)
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


def shortest_turn(
    start: Float[np.ndarray, "*batch 3"], end: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3 3"]:
    """The smallest rotation that takes one unit vector to another, not its opposite."""
    K = cross_matrix(np.cross(start, end))
    cosine = (start * end).sum(-1)[..., None, None]
    return np.eye(3) + K + K @ K / (1 + cosine)


def frame_of(
    x_axis: Float[np.ndarray, "*batch 3"], near_y: Float[np.ndarray, "*batch 3"]
) -> Float[np.ndarray, "*batch 3 3"]:
    """A right-handed frame in columns: x as given, y as near to a direction as it can be."""
    y_axis = normalised(near_y - (near_y * x_axis).sum(-1, keepdims=True) * x_axis)
    return np.stack([x_axis, y_axis, np.cross(x_axis, y_axis)], axis=-1)


def turn_between(
    along: np.ndarray, across: np.ndarray, new_along: np.ndarray, new_across: np.ndarray
) -> np.ndarray:
    """The rotation that takes one direction exactly, and a second roughly, to new ones."""
    return frame_of(new_along, new_across) @ np.swapaxes(frame_of(along, across), -1, -2)


def twist_about(rotmat: Float[np.ndarray, "*batch 3 3"], axis: np.ndarray) -> np.ndarray:
    """The angle of a rotation about an axis that it nearly keeps fixed."""
    skew = (rotmat - np.swapaxes(rotmat, -1, -2))[..., (2, 0, 1), (1, 2, 0)]
    sine = (skew * axis).sum(-1) / 2
    cosine = (np.trace(rotmat, axis1=-2, axis2=-1) - 1) / 2
    return np.asarray(2 * np.arctan2(sine, 1 + cosine))
