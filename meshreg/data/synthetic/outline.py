"""Where a posed body is, cheaply: joints and a hundred points of its surface, in plain numpy.

Good to a few centimetres, and the same on every machine; the exact surface comes from `Body`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from meshreg.body.assets import BodyData
from meshreg.body.skeleton import SKELETONS
from meshreg.data.synthetic.cameras import rotvec_to_rotmat

NUM_POINTS = 96
SMPL = SKELETONS["smpl24"]
# Regions that a picture may be aimed at, as the joints whose points belong to them.
HEAD_SHOULDERS = SMPL.index(
    "neck", "head", "left_collar", "right_collar", "left_shoulder", "right_shoulder"
)
_ARMS = SMPL.index(*(f"{s}_{j}" for s in ("left", "right") for j in ("elbow", "wrist", "hand")))
UPPER_BODY = HEAD_SHOULDERS + _ARMS + SMPL.index("pelvis", "spine1", "spine2", "spine3")
TO_KNEES = UPPER_BODY + SMPL.index("left_hip", "right_hip")
LEGS = [joint for joint in range(len(SMPL)) if joint not in UPPER_BODY] + SMPL.index("pelvis")


@dataclass(frozen=True, eq=False)
class PosedOutline:
    """Points of a posed body relative to its pelvis joint, in the frame of the root rotation."""

    points: np.ndarray  # (P, 3), metres
    joint: np.ndarray  # (P,) the joint that moves each point
    rest_pelvis: np.ndarray  # (3,) where the pelvis is with zero translation

    def of(self, joints: Sequence[int]) -> np.ndarray:  # (Q, 3)
        """The points that these joints move."""
        return self.points[np.isin(self.joint, joints)]


class Outline:
    """A sparse double-precision body: each point moves rigidly with one joint."""

    def __init__(self, data: BodyData, *, num_betas: int = 10) -> None:
        template = data.v_template.astype(np.float64)
        shapedirs = data.shapedirs[..., :num_betas].astype(np.float64)
        regressor = data.J_regressor.astype(np.float64)
        chosen = spread_points(template, NUM_POINTS)
        self.num_betas = shapedirs.shape[-1]
        self.parents = data.parents
        self.joint = data.weights[chosen].argmax(1)
        self._joints = regressor @ template
        self._joints_shapedirs = np.einsum("jv,vxs->jxs", regressor, shapedirs)
        self._points, self._points_shapedirs = template[chosen], shapedirs[chosen]

    def pose(self, betas: np.ndarray, pose_rotmat: np.ndarray) -> PosedOutline:
        """Pose the points; `pose_rotmat` (24, 3, 3) begins with the root's rotation."""
        joints = self._joints + self._joints_shapedirs @ betas
        points = self._points + self._points_shapedirs @ betas
        turned, place = np.empty_like(pose_rotmat), np.zeros_like(joints)
        turned[0] = pose_rotmat[0]
        for joint, parent in enumerate(self.parents[1:], 1):
            turned[joint] = turned[parent] @ pose_rotmat[joint]
            place[joint] = place[parent] + turned[parent] @ (joints[joint] - joints[parent])
        arm = points - joints[self.joint]
        posed = np.einsum("pij,pj->pi", turned[self.joint], arm) + place[self.joint]
        return PosedOutline(points=posed, joint=self.joint, rest_pelvis=joints[0])


def spread_points(points: np.ndarray, count: int) -> np.ndarray:  # (count,) indices
    """Points far from each other: always the one farthest from those chosen before it."""
    chosen = [int(points[:, 1].argmax())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return np.array(chosen)


def pose_matrices(root_rotmat: np.ndarray, body_pose: np.ndarray) -> np.ndarray:  # (24, 3, 3)
    """The root's rotation and those of 23 joints given as axis-angle (23, 3)."""
    return np.concatenate([root_rotmat[None], rotvec_to_rotmat(body_pose)])
