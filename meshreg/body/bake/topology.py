"""Chooses the built-in body's mesh: MakeHuman's skin closed, simplified and brought into order."""

from dataclasses import dataclass

import numpy as np

from meshreg.body.bake.cavities import ClosedMesh, close_body
from meshreg.body.bake.collapse import Collapser, SymmetricMesh
from meshreg.body.bake.landmarks import find_landmarks, vertex_order
from meshreg.body.bake.makehuman import MakeHuman
from meshreg.body.bake.rig import JOINT, marked_joints
from meshreg.body.bake.tpose import TPose
from meshreg.body.bake.traits import Traits, average_traits

# Not 6890 on purpose: files keyed to SMPL's vertices then fail at once instead of giving nonsense.
NUM_VERTICES = 7000
# Left to themselves, quadrics keep the nipples and spoil the face.
NIPPLES = (*range(1778, 1794), *range(8450, 8466))
HEAD_WEIGHT, FACE_WEIGHT, EYELID_WEIGHT, TOE_WEIGHT = 1.5, 8.0, 14.0, 0.7
FACE_HALF_WIDTH = 0.068  # metres; further out begin the ears


@dataclass(frozen=True, eq=False)
class Topology:
    """The mesh of the baked body and where its vertices come from."""

    source: np.ndarray  # (V,) MakeHuman vertex ids
    faces: np.ndarray  # (F, 3)
    uv: np.ndarray  # (T, 2)
    uv_faces: np.ndarray  # (F, 3)
    mirror: np.ndarray  # (V,)


def build_topology(human: MakeHuman, weights: np.ndarray) -> Topology:
    """Close the body, simplify it to the chosen size, put landmarks in their slots."""
    traits = typical_traits()
    shapes = human.shapes(human.coefficients(traits)).astype(np.float64)
    tposes, joints = TPose(human)(shapes, marked_joints(human, shapes))
    tposes = tposes.astype(np.float64)
    mesh = close_body(human, tposes[0])
    landmarks = find_landmarks(human, mesh, tposes[0], weights)
    collapser = Collapser(
        SymmetricMesh(tposes, mesh.faces, mesh.uv_faces, human.mirror),
        face_weight=face_importance(mesh, tposes[0], joints[0], weights),
        kept=landmarks.values(),
        unwanted=NIPPLES,
    )
    faces, uv_faces = collapser.run(NUM_VERTICES)
    source = vertex_order(np.unique(faces), landmarks)
    new_index = np.full(len(human.vertices), -1)
    new_index[source] = np.arange(len(source))
    uv_used, uv_corner = np.unique(uv_faces, return_inverse=True)
    return Topology(
        source=source,
        faces=new_index[faces],
        uv=mesh.uv[uv_used],
        uv_faces=uv_corner.reshape(-1, 3),
        mirror=new_index[human.mirror[source]],
    )


def typical_traits() -> Traits:
    """Six very different people: whatever is simplified must look right on all of them."""
    return average_traits(
        6,
        gender=np.array([0.5, 0, 1, 0, 1, 0]),
        age=np.array([0.7, 0.7, 0.7, 0.9, 0.8, 0.7]),
        weight=np.array([0.5, 0.5, 0.5, 1, 1, 0]),
        muscle=np.array([0.5, 0.5, 0.5, 0.1, 0.1, 0.6]),
    )


def face_importance(
    mesh: ClosedMesh, tpose: np.ndarray, joints: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """How much the shape of each face counts: most at eyelids, much in the face, least at toes."""
    share = weights[mesh.faces].mean(1)
    centre = tpose[mesh.faces].mean(1)
    forward, up = (centre - joints[JOINT["head"]])[:, 2], (centre - joints[JOINT["head"]])[:, 1]
    on_head = share[:, JOINT["head"]] > 0.5
    in_face = on_head & (forward > 0.02) & (up > -0.06) & (np.abs(centre[:, 0]) < FACE_HALF_WIDTH)
    on_toes = share[:, [JOINT["left_foot"], JOINT["right_foot"]]].sum(1) > 0.5
    importance = np.ones(len(mesh.faces))
    importance[on_head] = HEAD_WEIGHT
    importance[in_face] = FACE_WEIGHT
    importance[np.isin(mesh.faces, mesh.eye_rims).any(1)] = EYELID_WEIGHT
    importance[on_toes] = TOE_WEIGHT
    return importance
