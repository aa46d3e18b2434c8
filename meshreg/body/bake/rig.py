"""SMPL's 24 joints on a MakeHuman body: names, tree, rest positions and skin weights."""

import numpy as np
import scipy.sparse as sp

from meshreg.body.bake.makehuman import MakeHuman

JOINT_PARENTS = {
    "pelvis": "",
    "left_hip": "pelvis",
    "right_hip": "pelvis",
    "spine1": "pelvis",
    "left_knee": "left_hip",
    "right_knee": "right_hip",
    "spine2": "spine1",
    "left_ankle": "left_knee",
    "right_ankle": "right_knee",
    "spine3": "spine2",
    "left_foot": "left_ankle",
    "right_foot": "right_ankle",
    "neck": "spine3",
    "left_collar": "spine3",
    "right_collar": "spine3",
    "head": "neck",
    "left_shoulder": "left_collar",
    "right_shoulder": "right_collar",
    "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder",
    "left_wrist": "left_elbow",
    "right_wrist": "right_elbow",
    "left_hand": "left_wrist",
    "right_hand": "right_wrist",
}
NAMES = tuple(JOINT_PARENTS)
JOINT = {name: index for index, name in enumerate(NAMES)}
PARENTS = np.array([JOINT.get(parent, -1) for parent in JOINT_PARENTS.values()])
SIDES = ("left", "right")


def other_side(name: str) -> str:
    """The name of the mirrored joint."""
    left, right = "left_", "right_"
    if name.startswith(left):
        return right + name.removeprefix(left)
    return left + name.removeprefix(right) if name.startswith(right) else name


MIRRORED_JOINT = np.array([JOINT[other_side(name)] for name in NAMES])

# MakeHuman's hip marks sit too far out for a ball joint.
HIP_NARROWING = 0.78
# Trunk joints: the mark of the spine below (see `spine_marks`) and the share of the one above.
TRUNK_JOINTS = {"pelvis": (0, 0.9), "spine1": (2, 0.35), "spine2": (3, 0.65), "spine3": (4, 0.03)}
# Limb joints: the marks that are blended and their shares.
LIMB_JOINTS: dict[str, dict[str, float]] = {
    "hip": {"upper-leg": 1.0},
    "knee": {"knee": 1.0},
    "ankle": {"ankle": 1.0},
    "foot": {"foot-1": 1.0},
    "collar": {"clavicle": 0.6, "shoulder": 0.4},
    "shoulder": {"shoulder": 1.0},
    "elbow": {"elbow": 1.0},
    "wrist": {"hand": 1.0},
    "hand": {"hand": 0.15, "finger-3-1": 0.85},
}
# How far up the spine each trunk bone of MakeHuman acts, 0 at the hips and 1 at the neck.
SPINE_HEIGHT = {
    "root": 0.05,
    "pelvis.L": 0.05,
    "pelvis.R": 0.05,
    "spine05": 0.09,
    "spine04": 0.23,
    "spine03": 0.354,
    "spine02": 0.525,
    "breast.L": 0.6,
    "breast.R": 0.6,
    "spine01": 0.82,
}
SPINE_GATES = (0.333, 0.52, 0.66)  # where spine1, spine2 and spine3 take over from the joint below
GATE_WIDTH = 0.11
# Other bones by the start of their names; all that is left over belongs to the head.
BONE_STARTS = {
    "upperleg": "hip",
    "lowerleg": "knee",
    "foot": "ankle",
    "toe": "foot",
    "clavicle": "collar",
    "shoulder01": "collar",
    "upperarm": "shoulder",
    "lowerarm": "elbow",
    "wrist": "wrist",
    "metacarpal": "wrist",
    "finger1-": "wrist",
    "finger": "hand",
}
LARGEST_WEIGHTS = 4  # per vertex; symmetrising may add one
SMOOTHING_STEPS = 6


def spine_marks(human: MakeHuman, shapes: np.ndarray) -> np.ndarray:
    """Points up the spine from the hips to the neck: six per shape."""
    hips = 0.5 * (human.cube(shapes, "l-upper-leg") + human.cube(shapes, "r-upper-leg"))
    lowest = human.cube(shapes, "spine-4")
    hips[:, 2] = 0.5 * (hips[:, 2] + lowest[:, 2])
    above = [human.cube(shapes, name) for name in ("spine-3", "spine-2", "spine-1", "neck")]
    return np.stack([hips, lowest, *above], axis=1)


def marked_joints(human: MakeHuman, shapes: np.ndarray) -> np.ndarray:
    """The 24 joints in MakeHuman's A-pose, read off the helper cubes and linear in the vertices."""
    joints = np.zeros((len(shapes), len(NAMES), 3))
    marks = spine_marks(human, shapes)
    for name, (below, share) in TRUNK_JOINTS.items():
        joints[:, JOINT[name]] = (1 - share) * marks[:, below] + share * marks[:, below + 1]
    neck, skull = human.cube(shapes, "neck"), human.cube(shapes, "head")
    joints[:, JOINT["neck"]] = neck
    joints[:, JOINT["head"]] = 0.25 * neck + 0.75 * skull
    for side in SIDES:
        for name, shares in LIMB_JOINTS.items():
            joints[:, JOINT[f"{side}_{name}"]] = sum(
                share * human.cube(shapes, f"{side[0]}-{mark}") for mark, share in shares.items()
            )
    hips = [JOINT["left_hip"], JOINT["right_hip"]]
    joints[:, JOINT["pelvis"], 2] = joints[:, hips, 2].mean(1)
    joints[:, hips, 0] *= HIP_NARROWING
    return joints


def smooth_step(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """A ramp from 0 to 1 with soft ends."""
    t = np.clip((values - centre) / width + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def joint_of_bone(bone: str) -> int:
    """The SMPL joint that a MakeHuman bone outside the trunk moves with."""
    side = "left" if bone.endswith(".L") else "right"
    for start, joint in BONE_STARTS.items():
        if bone.startswith(start):
            return JOINT[f"{side}_{joint}"]
    return JOINT["neck"] if bone.startswith("neck") else JOINT["head"]


def joint_weights(human: MakeHuman) -> np.ndarray:
    """Skin weights of all MakeHuman vertices for the 24 joints.

    MakeHuman divides the trunk at other heights than SMPL, so the trunk's weight is pooled and
    dealt out again along a coordinate that runs up the spine.
    """
    weights = np.zeros((len(human.vertices), len(NAMES)))
    trunk, height = np.zeros(len(weights)), np.zeros(len(weights))
    for bone, column in zip(human.bones, human.bone_weights.T, strict=True):
        if bone in SPINE_HEIGHT:
            trunk += column
            height += SPINE_HEIGHT[bone] * column
        else:
            weights[:, joint_of_bone(bone)] += column
    height /= np.maximum(trunk, 1e-9)
    remaining = trunk
    for below, gate in zip(("pelvis", "spine1", "spine2"), SPINE_GATES, strict=True):
        passed_on = remaining * smooth_step(height, gate, GATE_WIDTH)
        weights[:, JOINT[below]] = remaining - passed_on
        remaining = passed_on
    weights[:, JOINT["spine3"]] = remaining
    return weights / weights.sum(1, keepdims=True)


def mesh_edges(faces: np.ndarray) -> np.ndarray:
    """Every edge of a mesh once, lower vertex first: (E, 2)."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(edges, axis=1), axis=0)


def smoothed_weights(weights: np.ndarray, faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Weights that change more gently over the mesh: softer creases, less twist collapse."""
    start, end = mesh_edges(faces).T
    closeness = 1 / np.maximum(np.linalg.norm(vertices[start] - vertices[end], axis=1), 1e-4)
    near = sp.coo_matrix((closeness, (start, end)), shape=(len(vertices),) * 2).tocsr()
    near = near + near.T
    mean_of_neighbours = sp.diags(1 / np.asarray(near.sum(1)).ravel()) @ near
    for _ in range(SMOOTHING_STEPS):
        weights = 0.5 * (weights + mean_of_neighbours @ weights)
    weights = np.where(weights < 2e-3, 0, weights)
    return weights / weights.sum(1, keepdims=True)


def largest_weights(weights: np.ndarray, keep: int = LARGEST_WEIGHTS) -> np.ndarray:
    """Only the largest few weights of each vertex, again with sum one."""
    dropped = np.argsort(-weights, axis=1, kind="stable")[:, keep:]
    weights = weights.copy()
    np.put_along_axis(weights, dropped, 0, axis=1)
    return weights / weights.sum(1, keepdims=True)


def symmetric_weights(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The mean of the weights and their mirror image."""
    return 0.5 * (weights + weights[mirror][:, MIRRORED_JOINT])


def skin_weights(
    weights: np.ndarray, faces: np.ndarray, vertices: np.ndarray, mirror: np.ndarray
) -> np.ndarray:
    """Weights for skinning: smooth, symmetric, five or fewer above zero per vertex."""
    smooth = largest_weights(smoothed_weights(weights, faces, vertices))
    return symmetric_weights(largest_weights(symmetric_weights(smooth, mirror)), mirror)


def dominant_joint(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The joint with the largest weight; a central one on the mid-line, where the sides tie."""
    is_central = np.equal(MIRRORED_JOINT, np.arange(len(NAMES)))
    central = np.where(is_central, weights, -1.0)
    on_midline = mirror == np.arange(len(mirror))
    return np.where(on_midline, central.argmax(1), weights.argmax(1))
