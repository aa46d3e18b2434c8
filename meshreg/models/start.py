"""Where a head begins: an upright body that faces the camera, or the mean of a published file."""

import math
from pathlib import Path

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.mean_parameters import load_mean_parameters
from meshreg.body.skeleton import skeleton
from meshreg.geometry.rotations import rotmat_to_rot6d
from meshreg.models.outputs import BodyState

NUM_JOINTS = 24
ARMS_DOWN = math.radians(60)  # from the T-pose
# A standing adult of 1.7 m fills 0.85 of the box; the origin is a little above the body's middle.
CAM = (1.0, 0.0, -0.13)


def upright_start(
    body_pose: Float[Tensor, "J 3"] | None = None, *, num_betas: int = 10
) -> BodyState:
    """An average body that faces the camera upright.

    `body_pose` holds the axis-angle of the joints after the root, radians; joints it leaves out at
    the end (hands) do not turn. Without it, the arms hang at the sides.
    """
    rotvec = torch.zeros(NUM_JOINTS, 3)
    rotvec[0, 0] = math.pi  # the body's y points up and its face forward; the camera's y down
    if body_pose is None:
        left, right = skeleton("smpl24").index("left_shoulder", "right_shoulder")
        rotvec[left, 2], rotvec[right, 2] = -ARMS_DOWN, ARMS_DOWN
    else:
        rotvec[1 : 1 + len(body_pose)] = body_pose
    return BodyState(
        pose_rot6d=rotmat_to_rot6d(roma.rotvec_to_rotmat(rotvec)).reshape(1, -1),
        betas=torch.zeros(1, num_betas),
        cam=torch.tensor([CAM]),
    )


def published_start(path: Path) -> BodyState:
    """The mean body of a `smpl_mean_params.npz`, as SPIN and its descendants use it.

    Raises:
        MissingFileError: if the file is not there.
        InputError: if it holds something else.
    """
    rows = load_mean_parameters(path)
    return BodyState(
        pose_rot6d=rows["pose"][None], betas=rows["shape"][None], cam=rows["cam"][None]
    )
