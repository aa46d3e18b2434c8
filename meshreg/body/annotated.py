"""Where annotators would put their joints on a posed body: the 49 joints of SPIN."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.keypoints import MIDPOINTS
from meshreg.body.skeleton import SKELETONS, Skeleton, map_joints
from meshreg.body.smpl import Body

OPENPOSE, ANNOTATED = SKELETONS["openpose25"], SKELETONS["spin49"]
BODY = SKELETONS["smplx45"]
# Whose rows are taken for a joint that annotators define, the first that has it.
SETS = ("spin49", "extra9", "lsp14", "h36m17", "coco17")


class AnnotatedJoints(nn.Module):
    """Turns a posed body into SPIN's 49 joints (Kolotouros et al. 2019); says which it knows.

    OpenPose's 25 are the body's own joints and landmarks. The others come from the body's
    regressors, and where it has none, from its own joints of the same meaning.
    """

    known: Float[Tensor, "49"]  # 0: nothing on this body corresponds to the joint
    vertex_indices: Tensor
    vertex_rows: Float[Tensor, "49 N"]
    joint_rows: Float[Tensor, "49 45"]

    def __init__(self, body: Body) -> None:
        super().__init__()
        vertex_rows = torch.zeros(len(ANNOTATED), len(body.v_template))
        joint_rows = torch.zeros(len(ANNOTATED), len(BODY))
        for place, name in enumerate(ANNOTATED.joints):
            rows = _regressed(name, body) if place >= len(OPENPOSE) else None
            if rows is None:
                joint_rows[place] = _own(name)
            else:
                vertex_rows[place] = rows
        used = vertex_rows.any(0).nonzero()[:, 0]
        known = (vertex_rows.any(1) | joint_rows.any(1)).float()
        # Not persistent: a checkpoint must not carry data that belongs to a body file.
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("vertex_indices", used, persistent=False)
        self.register_buffer("vertex_rows", vertex_rows[:, used], persistent=False)
        self.register_buffer("joint_rows", joint_rows, persistent=False)

    def forward(
        self, vertices: Float[Tensor, "B V 3"], joints: Float[Tensor, "B 45 3"]
    ) -> Float[Tensor, "B 49 3"]:
        """The joints in the frame of a posed body; zero where `known` is."""
        return self.vertex_rows @ vertices[:, self.vertex_indices] + self.joint_rows @ joints


def _regressed(name: str, body: Body) -> Float[Tensor, " V"] | None:
    """The weights of the vertices, if the body has some for this joint."""
    for set_name in SETS:
        place, found = _place(name, SKELETONS[set_name])
        if found and set_name in body.data.regressors:
            return torch.from_numpy(body.data.regressors[set_name][place]).float()
    return None


def _own(name: str) -> Float[Tensor, "45"]:
    """Weights of the body's own joints; all zero if none of them is meant."""
    row = torch.zeros(len(BODY))
    parts = MIDPOINTS.get(name, (name,))
    for part in parts:
        place, found = _place(part, BODY)
        row[place] += found / len(parts)
    return row


def _place(name: str, among: Skeleton) -> tuple[int, bool]:
    (place,), (found,) = map_joints(among, Skeleton(name="", joints=(name,), parents=(-1,)))
    return place, found
