"""The shape space: the mean body and the directions in which people differ most."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

from meshreg.body.bake.population import mesh_volume

NUM_BETAS = 10


@dataclass(frozen=True, eq=False)
class ShapeSpace:
    """A linear model of rest shapes; its parameters have mean zero and variance one."""

    mean: np.ndarray  # (V, 3) metres, exactly symmetric
    directions: np.ndarray  # (V, 3, S) metres per standard deviation, in order of variance
    explained: np.ndarray  # (S,) share of the area-weighted variance

    def project(self, shapes: np.ndarray, vertex_area: np.ndarray) -> np.ndarray:
        """The area-weighted least-squares parameters of shapes: (N, S)."""
        root = np.sqrt(vertex_area)[:, None]
        basis = (self.directions * root[..., None]).reshape(-1, self.directions.shape[-1])
        offsets = ((shapes - self.mean) * root).reshape(len(shapes), -1)
        return offsets @ basis / (basis**2).sum(0)


def mirrored(vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The mirror image of a body in the same vertex order."""
    return vertices[..., mirror, :] * np.array([-1, 1, 1], vertices.dtype)


def symmetric_shapes(shapes: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The mean of each shape and its mirror image."""
    return 0.5 * (shapes + mirrored(shapes, mirror))


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The share of the surface that belongs to each vertex; sums to one."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    summed = sum(np.bincount(corner, area, len(vertices)) for corner in faces.T)
    return np.asarray(summed) / np.sum(summed)


def fit_shape_space(
    shapes: Float[np.ndarray, "N V 3"],
    faces: np.ndarray,
    mirror: np.ndarray,
    num_betas: int = NUM_BETAS,
) -> ShapeSpace:
    """Principal components of symmetric shapes, each vertex counted by its area.

    There are far fewer shapes than coordinates, so the components come from the table of scalar
    products between shapes. Their signs: the first makes people taller, the others heavier.
    """
    mean = symmetric_shapes(shapes.astype(np.float64).mean(0), mirror)
    root = np.sqrt(vertex_areas(mean, faces))[:, None]
    offsets = ((shapes - mean) * root).reshape(len(shapes), -1)
    products = offsets @ offsets.T / len(shapes)
    highest = [len(shapes) - num_betas, len(shapes) - 1]
    variance, mixing = scipy.linalg.eigh(products, subset_by_index=highest)
    variance, mixing = variance[::-1], mixing[:, ::-1]
    components = (offsets.T @ mixing / np.sqrt(len(shapes))).reshape(*mean.shape, num_betas)
    directions = components / root[..., None]
    for beta in range(num_betas):
        directions[..., beta] *= growth_sign(
            mean, directions[..., beta], faces, by_height=beta == 0
        )
    directions = np.moveaxis(symmetric_shapes(np.moveaxis(directions, -1, 0), mirror), 0, -1)
    return ShapeSpace(mean, directions, variance / np.trace(products))


def growth_sign(
    mean: np.ndarray, direction: np.ndarray, faces: np.ndarray, *, by_height: bool
) -> float:
    """Whether a person grows (1) or shrinks (-1) along a direction, in height or in volume."""
    larger, smaller = mean + direction, mean - direction
    if by_height:
        growth = np.ptp(larger[:, 1]) - np.ptp(smaller[:, 1])
    else:
        growth = mesh_volume(larger, faces) - mesh_volume(smaller, faces)
    return 1.0 if growth > 0 else -1.0
