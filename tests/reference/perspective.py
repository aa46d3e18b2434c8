"""Turned cameras the slow way: rays, angles and loops over pixels, one crop at a time."""

import numpy as np
from scipy.spatial.transform import Rotation


def ray(point_px: np.ndarray, K: np.ndarray) -> np.ndarray:
    direction = np.linalg.solve(K, [*point_px, 1.0])
    return direction / np.linalg.norm(direction)


def turn_by_angle(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """About the normal of the plane that both directions span, by the angle between them."""
    axis = np.cross(start, end)
    if np.linalg.norm(axis) == 0:
        return np.eye(3)
    angle = np.arctan2(np.linalg.norm(axis), start @ end)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()


def turn_by_yaw_and_pitch(direction: np.ndarray) -> np.ndarray:
    """First about y into the plane x = 0, then about x onto the axis."""
    yaw = Rotation.from_euler("y", -np.arctan2(direction[0], direction[2])).as_matrix()
    flat = yaw @ direction
    return Rotation.from_euler("x", np.arctan2(flat[1], flat[2])).as_matrix() @ yaw


def crop_intrinsics(points_px: np.ndarray, K: np.ndarray, R: np.ndarray, size: int) -> np.ndarray:
    """The crop around the axis of a turned camera that just shows all of some pixels."""
    widest = 0.0
    for point in points_px:
        x, y, z = R @ ray(point, K)
        assert z > 0
        widest = max(widest, abs(x / z), abs(y / z))
    focal, middle = size / 2 / widest, (size - 1) / 2
    return np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])


def turned_picture(
    image: np.ndarray, K: np.ndarray, R: np.ndarray, K_new: np.ndarray, size: int
) -> np.ndarray:  # (size, size, C)
    """Every pixel of the crop asks what the picture shows in its direction."""
    drawn = np.zeros((size, size, image.shape[2]))
    for row in range(size):
        for column in range(size):
            x, y, z = R.T @ ray(np.array([column, row]), K_new)
            if z > 0:
                u, v, _ = K @ [x / z, y / z, 1.0]
                drawn[row, column] = between_pixels(image, u, v)
    return drawn


def between_pixels(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """The bilinear mean of the four pixels around a place; beyond the border all are black."""
    left, top = int(np.floor(u)), int(np.floor(v))
    mean = np.zeros(image.shape[2])
    for column in (left, left + 1):
        for row in (top, top + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                mean += (1 - abs(u - column)) * (1 - abs(v - row)) * image[row, column]
    return mean


def ray_map(K: np.ndarray, side: int, cells: int) -> np.ndarray:  # (2, cells, cells)
    found = np.zeros((2, cells, cells))
    for row in range(cells):
        for column in range(cells):
            place = [(cell + 0.5) * side / cells - 0.5 for cell in (column, row)]
            x, y, z = ray(np.array(place), K)
            found[:, row, column] = x / z, y / z
    return found
