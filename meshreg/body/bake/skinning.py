"""Posing a body in numpy: forward kinematics, linear blend skinning, dual quaternion skinning.

Dual quaternion skinning follows Kavan et al., "Geometric Skinning with Approximate Dual Quaternion
Blending" (2008); it keeps the volume of bent and twisted limbs, which linear blending loses.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Skin:
    """A rest body that can be posed."""

    vertices: Float[np.ndarray, "V 3"]  # rest pose, metres
    joints: Float[np.ndarray, "J 3"]  # rest pose, metres
    weights: Float[np.ndarray, "V J"]  # rows sum to one
    parents: np.ndarray  # (J,) -1 for the root, otherwise lower than the joint's own index


def pose_feature(pose_rotmat: Float[np.ndarray, "N J 3 3"]) -> Float[np.ndarray, "N P"]:
    """What pose correctives are linear in: the rotations but the root's, less the identity."""
    return (pose_rotmat[:, 1:] - np.eye(3)).reshape(len(pose_rotmat), -1)


def forward_kinematics(
    pose_rotmat: Float[np.ndarray, "N J 3 3"],
    joints: Float[np.ndarray, "*N J 3"],
    parents: np.ndarray,
) -> tuple[Float[np.ndarray, "N J 3 3"], Float[np.ndarray, "N J 3"]]:
    """Global rotations and positions of the joints; the root turns about its own rest position."""
    rotations = pose_rotmat.copy()
    positions = np.broadcast_to(joints, pose_rotmat.shape[:-1]).copy()
    bones = positions - positions[:, np.maximum(parents, 0)]
    for joint, parent in enumerate(parents):
        if parent >= 0:
            rotations[:, joint] = rotations[:, parent] @ pose_rotmat[:, joint]
            offset = rotations[:, parent] @ bones[:, joint, :, None]
            positions[:, joint] = positions[:, parent] + offset[..., 0]
    return rotations, positions


def rest_to_posed(
    skin: Skin, pose_rotmat: Float[np.ndarray, "N J 3 3"]
) -> tuple[Float[np.ndarray, "N J 3 3"], Float[np.ndarray, "N J 3"]]:
    """Rotation and translation of each joint that carry rest positions to posed ones."""
    rotations, positions = forward_kinematics(pose_rotmat, skin.joints, skin.parents)
    return rotations, positions - np.einsum("njab,jb->nja", rotations, skin.joints)


def blended_matrices(
    skin: Skin, pose_rotmat: Float[np.ndarray, "N J 3 3"]
) -> Float[np.ndarray, "N V 3 4"]:
    """For each vertex the mean of its joints' rigid motions."""
    rotations, translations = rest_to_posed(skin, pose_rotmat)
    motions = np.concatenate([rotations, translations[..., None]], axis=-1)
    N, J = motions.shape[:2]
    return (skin.weights @ motions.reshape(N, J, 12)).reshape(N, -1, 3, 4)


def linear_blend(
    skin: Skin,
    pose_rotmat: Float[np.ndarray, "N J 3 3"],
    posedirs: Float[np.ndarray, "V 3 P"] | None = None,
) -> Float[np.ndarray, "N V 3"]:
    """Linear blend skinning, with pose correctives if they are given."""
    vertices = skin.vertices[None]
    if posedirs is not None:
        corrections = pose_feature(pose_rotmat) @ posedirs.reshape(-1, posedirs.shape[-1]).T
        vertices = vertices + corrections.reshape(len(pose_rotmat), -1, 3)
    motions = blended_matrices(skin, pose_rotmat)
    return (motions[..., :3] @ vertices[..., None])[..., 0] + motions[..., 3]


def rotmat_to_quat(rotmat: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 4"]:
    """Unit quaternions, w first; of the four ways to compute one, that with the largest pivot."""
    m = rotmat
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = (m[..., b, a] - m[..., a, b] for a, b in ((1, 2), (2, 0), (0, 1)))
    xy, xz, yz = (m[..., a, b] + m[..., b, a] for a, b in ((0, 1), (0, 2), (1, 2)))
    # Four times the outer product of the quaternion with itself.
    table = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], axis=-1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], axis=-1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], axis=-1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )
    best = np.diagonal(table, axis1=-2, axis2=-1).argmax(-1)
    row = np.take_along_axis(table, best[..., None, None], axis=-2)[..., 0, :]
    return row / np.linalg.norm(row, axis=-1, keepdims=True)


def quat_product(
    first: Float[np.ndarray, "*batch 4"], second: Float[np.ndarray, "*batch 4"]
) -> Float[np.ndarray, "*batch 4"]:
    """Hamilton's product, w first."""
    w1, v1, w2, v2 = first[..., :1], first[..., 1:], second[..., :1], second[..., 1:]
    w = w1 * w2 - (v1 * v2).sum(-1, keepdims=True)
    return np.concatenate([w, w1 * v2 + w2 * v1 + np.cross(v1, v2)], axis=-1)


def dual_quaternion_blend(
    skin: Skin, pose_rotmat: Float[np.ndarray, "N J 3 3"]
) -> Float[np.ndarray, "N V 3"]:
    """Dual quaternion skinning; each joint's sign is the one nearest to its parent's."""
    rotations, translations = rest_to_posed(skin, pose_rotmat)
    real = rotmat_to_quat(rotations)
    for joint, parent in enumerate(skin.parents):
        if parent >= 0:
            opposite = (real[:, joint] * real[:, parent]).sum(-1) < 0
            real[opposite, joint] *= -1
    as_quat = np.concatenate([np.zeros((*translations.shape[:-1], 1)), translations], axis=-1)
    dual = 0.5 * quat_product(as_quat, real)
    real, dual = skin.weights @ real, skin.weights @ dual
    length = np.linalg.norm(real, axis=-1, keepdims=True)
    real, dual = real / length, dual / length
    w, v = real[..., :1], real[..., 1:]
    turned = skin.vertices + 2 * np.cross(v, np.cross(v, skin.vertices) + w * skin.vertices)
    moved = 2 * (w * dual[..., 1:] - dual[..., :1] * v + np.cross(v, dual[..., 1:]))
    return turned + moved
