"""Writing body motion in the layout of AMASS (Mahmood et al. 2019): z up, axis-angle."""

from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.assets import write_npz
from meshreg.body.smpl import Body
from meshreg.data.amass import NUM_BODY

NUM_JOINTS = 52  # of SMPL+H: body, then fingers, which do not turn
NUM_BETAS = 16
# From a camera's x right, y down, z away to z up: the camera looks along y.
R_UP_CAM = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


def save_amass(  # noqa: PLR0913
    path: str | Path,
    body: Body,
    betas: Float[Tensor, "S"],
    pose_rotmat: Float[Tensor, "T 24 3 3"],
    transl: Float[Tensor, "T 3"],
    *,
    fps: float,
) -> None:
    """Write poses that are in a camera's axes as an AMASS clip, whose world has z up.

    The file also names the body, to which the betas belong.

    Raises:
        InputError: if the file cannot be written.
    """
    pelvis = body.rest_joints(betas[None])[0, 0]
    turned = pose_rotmat[:, :NUM_BODY].clone()
    turned[:, 0] = R_UP_CAM @ turned[:, 0]
    poses = np.zeros((len(turned), 3 * NUM_JOINTS))
    poses[:, : 3 * NUM_BODY] = roma.rotmat_to_rotvec(turned).flatten(1).numpy()
    # The root turns about the unposed pelvis, which the turned world has elsewhere.
    trans = (transl + pelvis) @ R_UP_CAM.T - pelvis
    shape = np.zeros(NUM_BETAS)
    shape[: len(betas)] = betas.numpy()
    write_npz(
        Path(path),
        {
            "poses": poses,
            "trans": trans.double().numpy(),
            "betas": shape,
            "gender": "neutral",
            "mocap_framerate": float(fps),
            "surface_model_type": "smpl",
            "body": body.data.name,
            "topology_hash": body.topology_hash,
            "pelvis_rest": pelvis.numpy(),
        },
    )
