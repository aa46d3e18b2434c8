"""Linear blend skinning as SMPL defines it, one joint and one vertex at a time."""

import numpy as np


def rotation_from_vector(rotvec: np.ndarray) -> np.ndarray:
    """The rotation matrix of a rotation vector, from the power series of the matrix exponential."""
    x, y, z = rotvec
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=np.float64)
    total, power = np.eye(3), np.eye(3)
    for order in range(1, 40):
        power = power @ K / order
        total = total + power
    return total


def global_transforms(
    pose_rotmat: np.ndarray, joints: np.ndarray, parents: np.ndarray
) -> list[np.ndarray]:
    """For each joint the 4x4 matrix from its own frame to the world, by walking down the tree."""
    transforms: list[np.ndarray] = []
    for joint, parent in enumerate(parents):
        local = np.eye(4)
        local[:3, :3] = pose_rotmat[joint]
        local[:3, 3] = joints[joint] if parent < 0 else joints[joint] - joints[parent]
        transforms.append(local if parent < 0 else transforms[parent] @ local)
    return transforms


def skin_body(
    pose_rotmat: np.ndarray,  # (J, 3, 3)
    vertices: np.ndarray,  # (V, 3) at rest
    joints: np.ndarray,  # (J, 3) at rest
    weights: np.ndarray,  # (V, J)
    parents: np.ndarray,  # (J,)
) -> tuple[np.ndarray, np.ndarray]:
    """Posed vertices and joints of one body."""
    transforms = global_transforms(pose_rotmat, joints, parents)
    posed = np.zeros((len(vertices), 3))
    for vertex, point in enumerate(vertices):
        for joint in np.flatnonzero(weights[vertex]):
            in_joint_frame = np.append(point - joints[joint], 1.0)
            posed[vertex] += weights[vertex, joint] * (transforms[joint] @ in_joint_frame)[:3]
    return posed, np.array([transform[:3, 3] for transform in transforms])


def smpl_forward(
    betas: np.ndarray,  # (S,)
    rotvecs: np.ndarray,  # (24, 3)
    *,
    v_template: np.ndarray,
    shapedirs: np.ndarray,
    posedirs: np.ndarray,
    J_regressor: np.ndarray,
    weights: np.ndarray,
    parents: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """SMPL in float64: shape, regress joints, add pose correctives, skin."""
    shaped = v_template.astype(np.float64) + shapedirs.astype(np.float64) @ betas
    joints = J_regressor.astype(np.float64) @ shaped
    pose_rotmat = np.stack([rotation_from_vector(rotvec) for rotvec in rotvecs])
    feature = (pose_rotmat[1:] - np.eye(3)).reshape(-1)
    corrected = shaped + posedirs.astype(np.float64) @ feature
    return skin_body(pose_rotmat, corrected, joints, weights.astype(np.float64), parents)
