"""Pose correctives: offsets, linear in the joint rotations, that give bent limbs their volume back.

They are fitted to dual quaternion skinning of the same body: geometry, not learned from scans.
"""

import numpy as np
from jaxtyping import Float

from meshreg.body.bake.poses import sample_poses
from meshreg.body.bake.rig import JOINT, MIRRORED_JOINT, NAMES, PARENTS
from meshreg.body.bake.skinning import (
    Skin,
    blended_matrices,
    dual_quaternion_blend,
    linear_blend,
    pose_feature,
)

NUM_POSES = 900
CHUNK = 60  # poses at a time, for memory
RIDGE = 2e-3  # per pose
DAMPING = 0.03  # keeps offsets small where blending flattens a vertex's matrix
MIN_WEIGHT = 4e-3  # below it a joint does not count as moving a vertex
SMALLEST = 2e-5  # metres per unit of rotation; smaller entries are dropped
# How far to go from linear blending to dual quaternions, which bulge where a shoulder is raised.
TORSO_JOINTS = ("spine1", "spine2", "spine3", "neck", "head")
LIMB_SHARE, TORSO_SHARE, SHOULDER_SHARE = 0.9, 0.5, 0.35


def quaternion_share(weights: np.ndarray) -> np.ndarray:
    """For each vertex how much of the way to dual quaternion skinning is wanted."""
    share = np.full(len(NAMES), LIMB_SHARE)
    for joint, name in enumerate(NAMES):
        if "shoulder" in name or "collar" in name:
            share[joint] = SHOULDER_SHARE
    share[[JOINT[name] for name in TORSO_JOINTS]] = TORSO_SHARE
    return weights @ share


def wanted_change(skin: Skin, pose_rotmat: np.ndarray) -> Float[np.ndarray, "N V 3"]:
    """What is to be added to linear blend skinning, in posed space."""
    share = quaternion_share(skin.weights)[None, :, None]
    return share * (dual_quaternion_blend(skin, pose_rotmat) - linear_blend(skin, pose_rotmat))


def rest_offsets(skin: Skin, pose_rotmat: np.ndarray) -> Float[np.ndarray, "N V 3"]:
    """The offsets in the rest pose whose skinning gives the wanted change, damped."""
    blend = blended_matrices(skin, pose_rotmat)[..., :3]
    transposed = np.swapaxes(blend, -1, -2)
    change = wanted_change(skin, pose_rotmat)[..., None]
    return np.linalg.solve(transposed @ blend + DAMPING * np.eye(3), transposed @ change)[..., 0]


def ancestors(joint: int) -> list[int]:
    """A joint and all joints above it."""
    parent = int(PARENTS[joint])
    return [joint] if parent < 0 else [joint, *ancestors(parent)]


def turning_joints(weights: np.ndarray) -> tuple[int, ...]:
    """The joints whose rotation bends the surface at a vertex: below its common ancestor."""
    chains = [set(ancestors(int(joint))) for joint in np.nonzero(weights > MIN_WEIGHT)[0]]
    shared = chains[0].intersection(*chains)
    return tuple(sorted(shared.union(*chains) - shared))


def fit_posedirs(
    skin: Skin, mirror: np.ndarray, rng: np.random.Generator, num_poses: int = NUM_POSES
) -> Float[np.ndarray, "V 3 207"]:
    """Ridge regression of the offsets on the rotations, grouped by the joints that matter."""
    poses = sample_poses(num_poses, rng)
    features = pose_feature(poses)
    parts = [rest_offsets(skin, poses[i : i + CHUNK]) for i in range(0, num_poses, CHUNK)]
    offsets = np.concatenate(parts)
    groups: dict[tuple[int, ...], list[int]] = {}
    for vertex, weights in enumerate(skin.weights):
        groups.setdefault(turning_joints(weights), []).append(vertex)
    posedirs = np.zeros((len(skin.vertices), 3, features.shape[1]))
    for joints, vertices in groups.items():
        if joints:
            columns = [9 * (joint - 1) + entry for joint in joints for entry in range(9)]
            chosen = features[:, columns]
            normal = chosen.T @ chosen + RIDGE * num_poses * np.eye(len(columns))
            goal = offsets[:, vertices].reshape(num_poses, -1)
            solved = np.linalg.solve(normal, chosen.T @ goal).reshape(
                len(columns), len(vertices), 3
            )
            posedirs[np.ix_(vertices, range(3), columns)] = solved.transpose(1, 2, 0)
    posedirs = symmetric_posedirs(posedirs, mirror)
    return np.where(np.abs(posedirs) < SMALLEST, 0, posedirs)


def symmetric_posedirs(
    posedirs: Float[np.ndarray, "V 3 207"], mirror: np.ndarray
) -> Float[np.ndarray, "V 3 207"]:
    """The mean of the correctives and their mirror image, in which x changes sign on every axis."""
    flip = np.array([-1, 1, 1])
    entries = posedirs.reshape(len(posedirs), 3, len(NAMES) - 1, 3, 3)
    image = entries[mirror][:, :, MIRRORED_JOINT[1:] - 1]
    image = image * np.einsum("a,k,l->akl", flip, flip, flip)[None, :, None]
    return (0.5 * (entries + image)).reshape(posedirs.shape)
