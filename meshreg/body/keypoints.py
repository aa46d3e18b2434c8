"""The 3D points behind 2D keypoints, computed without skinning the whole mesh."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import SKELETONS, Skeleton, map_joints, skeleton
from meshreg.body.smpl import LANDMARK_VERTICES, NUM_JOINTS, Body
from meshreg.errors import InputError

# Points that detectors define as the middle of two others (OpenPose's BODY_25).
MIDPOINTS = {
    "neck_openpose": ("left_shoulder", "right_shoulder"),
    "mid_hip": ("left_hip", "right_hip"),
}

OWN_SETS = ("smpl24", "smplx45")  # a body's own joints, not what annotators call by their names

REACH = 0.15  # metres from the pivot at which a keypoint fully shows a rotation


class BodyKeypoints(nn.Module):
    """Keypoints of a named set on a posed body.

    Rows of the body's own regressors come first; joints they lack are taken from the landmark
    vertices and, last, from the kinematic joints. Only the vertices that some row uses are skinned.
    """

    vertex_rows: Tensor
    joint_rows: Tensor

    def __init__(self, body: Body, skeleton_name: str) -> None:
        super().__init__()
        self.skeleton = skeleton(skeleton_name)
        vertex_rows, joint_rows = _rows(body, self.skeleton)
        used = vertex_rows.abs().sum(0).nonzero()[:, 0]
        self.part = body.restricted_to(used)
        # Rows follow the body's device and precision, or they could not meet its vertices.
        rows = vertex_rows[:, used].to(body.v_template)
        self.register_buffer("vertex_rows", rows, persistent=False)
        self.register_buffer("joint_rows", joint_rows.to(body.v_template), persistent=False)

    def forward(
        self,
        betas: Float[Tensor, "B S"],
        pose_rotmat: Float[Tensor, "B 24 3 3"],
        transl: Float[Tensor, "B 3"],
    ) -> tuple[Float[Tensor, "B J 3"], Float[Tensor, "B 24 3"]]:
        """The keypoints, and the 24 kinematic joints that came with them."""
        vertices, joints = self.part.skin(betas, pose_rotmat, transl)
        return self.vertex_rows @ vertices + self.joint_rows @ joints, joints

    def shows(self) -> Float[Tensor, "J 24"]:
        """How well each keypoint tells each joint's rotation: 1 = it turns with it, at a reach.

        A point within a few centimetres of a joint's pivot hardly moves when the joint turns.
        """
        turned = self.vertex_rows @ self.part.weights + self.joint_rows
        for joint in range(NUM_JOINTS - 1, 0, -1):  # children come after their parents
            turned[:, self.part.parents[joint]] += turned[:, joint]
        points = self.vertex_rows @ self.part.v_template + self.joint_rows @ self._pivots()
        reach = torch.cdist(points, self._pivots()) / REACH
        return turned * reach.clamp_max(1.0)

    def _pivots(self) -> Float[Tensor, "24 3"]:
        return self.part.joints_template


def _rows(body: Body, target: Skeleton) -> tuple[Tensor, Tensor]:
    """For every keypoint one row over the vertices and one over the joints; one of them is zero."""
    num_vertices = len(body.data.v_template)
    vertex_rows = torch.zeros(len(target), num_vertices)
    joint_rows = torch.zeros(len(target), NUM_JOINTS)
    own = {name: torch.from_numpy(rows) for name, rows in body.data.regressors.items()}
    for place, name in enumerate(target.joints):
        for part in MIDPOINTS.get(name, (name,)):
            share = 1 / len(MIDPOINTS.get(name, (name,)))
            vertices, joints = _row(part, target, own, num_vertices)
            vertex_rows[place] += share * vertices
            joint_rows[place] += share * joints
    return vertex_rows, joint_rows


def _row(
    name: str, target: Skeleton, own: dict[str, Tensor], num_vertices: int
) -> tuple[Tensor, Tensor]:
    """Where one named point is: own regressor of this set, of COCO, landmark vertex, or joint."""
    vertices, joints = torch.zeros(num_vertices), torch.zeros(NUM_JOINTS)
    others = () if target.name in OWN_SETS else (target.name, "coco17")
    for set_name in others:
        if set_name in own and name in SKELETONS[set_name].joints:
            return own[set_name][SKELETONS[set_name].index(name)[0]], joints
    single = Skeleton(name="", joints=(name,), parents=(-1,))
    (place,), (found,) = map_joints(SKELETONS["smplx45"], single)
    if not found:
        raise InputError(
            f"this body has no regressor for the joint {name} of {target.name}: use a joint set "
            "that it has, such as coco17 or openpose25, or a body with rows for this one."
        )
    if place < NUM_JOINTS:
        joints[place] = 1.0
    else:
        vertices[LANDMARK_VERTICES[place - NUM_JOINTS]] = 1.0
    return vertices, joints
