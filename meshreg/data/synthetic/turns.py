"""Rotations in plain numpy float64, for numbers that must come out alike on every machine."""

import numpy as np
from jaxtyping import Float

_TINY = 1e-12


def rotvec_to_rotmat(rotvec: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rodrigues' formula."""
    angle = np.sqrt((rotvec * rotvec).sum(-1))[..., None, None]
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*rotvec.shape[:-1], 3, 3)
    safe = np.maximum(angle, _TINY)
    sine, versine = np.sin(angle) / safe, (1 - np.cos(angle)) / (safe * safe)
    return np.eye(3) + np.where(angle < 1e-6, 1.0, sine) * K + versine * (K @ K)


def rotvec_to_quat(rotvec: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Unit quaternions, real part first."""
    angle = np.sqrt((rotvec * rotvec).sum(-1))[..., None]
    share = np.where(angle < 1e-6, 0.5, np.sin(angle / 2) / np.maximum(angle, _TINY))
    return np.concatenate([np.cos(angle / 2), share * rotvec], -1)


def quat_to_rotvec(quat: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "*batch 3"]:
    """Rotation vectors of at most half a turn."""
    quat = np.where(quat[..., :1] < 0, -quat, quat)
    sine = np.sqrt((quat[..., 1:] * quat[..., 1:]).sum(-1))[..., None]
    angle = 2 * np.arctan2(sine, quat[..., :1])
    return np.where(sine < 1e-9, 2.0, angle / np.maximum(sine, _TINY)) * quat[..., 1:]


def blended(
    start: Float[np.ndarray, "*batch 3"], end: Float[np.ndarray, "*batch 3"], share: float
) -> Float[np.ndarray, "*batch 3"]:
    """Rotation vectors on the way from `start` to `end`: the shorter way, nearly at even speed."""
    a, b = rotvec_to_quat(start), rotvec_to_quat(end)
    b = np.where((a * b).sum(-1)[..., None] < 0, -b, b)
    mixed = (1 - share) * a + share * b
    return quat_to_rotvec(mixed / np.sqrt((mixed * mixed).sum(-1))[..., None])


def turn_about_y(angle: float) -> Float[np.ndarray, "3 3"]:
    """A turn about the vertical; a positive one brings +z towards +x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def without_heading(root_rotmat: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation after a turn about the vertical that brings the body's front to +z."""
    front = root_rotmat[:, 2]
    return turn_about_y(-np.arctan2(front[0], front[2])) @ root_rotmat
