"""Keypoint regressors: the joints of other data sets from the vertices of a posed body.

Rows fitted to rest shapes drift by centimetres when a limb bends, so these are fitted to posed
bodies. The points are our own geometric definitions, each fixed to one bone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meshreg.body.bake.landmarks import LANDMARK_SLOTS
from meshreg.body.bake.poses import sample_poses
from meshreg.body.bake.regressors import (
    Surface,
    fit_row,
    joint_candidates,
    with_mirror_images,
)
from meshreg.body.bake.rig import HIP_NARROWING, JOINT, SIDES, other_side
from meshreg.body.bake.rotations import rotvec_to_rotmat
from meshreg.body.bake.shape_space import ShapeSpace
from meshreg.body.bake.skinning import Skin, forward_kinematics, linear_blend

RIDGE = 1e-6  # square metres
GLOBAL_TURN = 1.2  # standard deviation of the global rotation vector, radians


def limb(side: str, *names: str) -> tuple[str, ...]:
    """Names of one side."""
    return tuple(f"{side}_{name}" for name in names)


LEG, ARM = ("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
JOINT_SETS = {
    "h36m17": (
        ("pelvis", *limb("right", *LEG), *limb("left", *LEG))
        + ("spine", "thorax", "neck_nose", "head_top")
        + (*limb("left", *ARM), *limb("right", *ARM))
    ),
    "coco17": FACE + tuple(f"{side}_{name}" for name in ARM + LEG for side in SIDES),
    "lsp14": (
        (*limb("right", *reversed(LEG)), *limb("left", *LEG))
        + (*limb("right", *reversed(ARM)), *limb("left", *ARM))
        + ("neck", "head_top")
    ),
    "mpi_inf_3dhp17": (
        ("head_top", "thorax", *limb("right", *ARM), *limb("left", *ARM))
        + (*limb("right", *LEG), *limb("left", *LEG))
        + ("pelvis", "spine", "neck_nose")
    ),
}


@dataclass(frozen=True, eq=False)
class Keypoint:
    """A point that moves with one bone."""

    bone: int  # joint whose rotation carries it
    rest: np.ndarray  # (3,) rest position, metres


@dataclass(frozen=True, eq=False)
class PosableShapes:
    """Everything that turns shape parameters and poses into bodies."""

    space: ShapeSpace
    J_regressor: np.ndarray  # (24, V)
    weights: np.ndarray  # (V, 24)
    posedirs: np.ndarray  # (V, 3, 207)
    parents: np.ndarray  # (24,)

    def skin(self, betas: np.ndarray) -> Skin:
        vertices = self.space.mean + self.space.directions @ betas
        return Skin(vertices, self.J_regressor @ vertices, self.weights, self.parents)

    @property
    def mean_skin(self) -> Skin:
        return self.skin(np.zeros(self.space.directions.shape[-1]))


def crown_vertices(skin: Skin) -> np.ndarray:
    """The vertices within 12 mm of the top of the head."""
    head = np.flatnonzero(skin.weights[:, JOINT["head"]] > 0.9)
    height = skin.vertices[head, 1]
    return head[height > height.max() - 0.012]


def define_keypoints(skin: Skin, crown: np.ndarray) -> dict[str, Keypoint]:
    """Where the keypoints of all joint sets sit on a rest body with given crown vertices."""
    joints = dict(zip(JOINT, skin.joints, strict=True))
    points: dict[str, Keypoint] = {}
    for side in SIDES:
        # Annotators mark hips further out than a ball joint turns.
        hip = joints[f"{side}_hip"] * [1 / HIP_NARROWING, 1, 1]
        points[f"{side}_hip"] = Keypoint(JOINT["pelvis"], hip)
        for name in ("knee", "ankle", *ARM):
            points[f"{side}_{name}"] = Keypoint(JOINT[f"{side}_{name}"], joints[f"{side}_{name}"])
    pelvis = 0.5 * (points["left_hip"].rest + points["right_hip"].rest)
    thorax = 0.8 * joints["neck"] + 0.2 * joints["spine3"]
    top = skin.vertices[crown]
    head_top = np.array([top[:, 0].mean(), top[:, 1].max(), top[:, 2].mean()])
    nose = skin.vertices[LANDMARK_SLOTS["nose"]]
    return points | {
        "pelvis": Keypoint(JOINT["pelvis"], pelvis),
        "spine": Keypoint(JOINT["spine1"], 0.5 * (pelvis + thorax)),
        "thorax": Keypoint(JOINT["spine3"], thorax),
        "neck": Keypoint(JOINT["neck"], joints["neck"]),
        "neck_nose": Keypoint(JOINT["head"], 0.55 * joints["head"] + 0.45 * nose),
        "head_top": Keypoint(JOINT["head"], head_top),
    }


def posed_bodies(
    shapes: PosableShapes, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N V 3"], dict[str, np.ndarray]]:
    """Random people in random poses: their vertices and the keypoints carried by their bones."""
    betas = rng.normal(size=(count, shapes.space.directions.shape[-1]))
    poses = sample_poses(count, rng, sparse=0.3)
    poses[:, 0] = rotvec_to_rotmat(rng.normal(0, GLOBAL_TURN, (count, 3)))
    crown = crown_vertices(shapes.mean_skin)
    bodies, carried = [], []
    for beta, pose in zip(betas, poses, strict=True):
        skin = shapes.skin(beta)
        bodies.append(linear_blend(skin, pose[None], shapes.posedirs)[0])
        rotations, positions = forward_kinematics(pose[None], skin.joints, skin.parents)
        carried.append(
            {
                name: positions[0, p.bone] + rotations[0, p.bone] @ (p.rest - skin.joints[p.bone])
                for name, p in define_keypoints(skin, crown).items()
            }
        )
    points = {name: np.stack([body[name] for body in carried]) for name in carried[0]}
    return np.stack(bodies), points


def fit_keypoint_rows(
    shapes: PosableShapes, surface: Surface, rng: np.random.Generator, count: int = 260
) -> dict[str, np.ndarray]:
    """One regressor row per keypoint: left ones solved, right ones mirrored, central ones even."""
    bodies, points = posed_bodies(shapes, count, rng)
    rest = define_keypoints(shapes.mean_skin, crown_vertices(shapes.mean_skin))
    rows: dict[str, np.ndarray] = {}
    for name, keypoint in rest.items():
        if name.startswith("right_"):
            continue
        candidates = joint_candidates(surface, keypoint.bone, keypoint.rest, rng)
        central = other_side(name) == name
        if central:
            candidates = with_mirror_images(candidates, surface.mirror)
        row = np.zeros(len(surface.rest))
        row[candidates] = fit_row(bodies[:, candidates], points[name], RIDGE)
        rows[name] = 0.5 * (row + row[surface.mirror]) if central else row
        if not central:
            rows[other_side(name)] = row[surface.mirror]
    for name in FACE:
        rows[name] = np.zeros(len(surface.rest))
        rows[name][LANDMARK_SLOTS[name]] = 1
    return rows


def joint_set_regressors(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of each joint set, in the order of its data set."""
    return {
        joint_set: np.stack([rows[name] for name in names]).astype(np.float32)
        for joint_set, names in JOINT_SETS.items()
    }
