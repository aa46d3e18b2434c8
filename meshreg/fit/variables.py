"""What the fit optimises: shape, pose, and where the pelvis is as seen from the camera."""

from dataclasses import dataclass, fields, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.smpl import Body

NEAREST = 0.1  # metres; a pelvis nearer to the camera, or behind it, is taken to be here


@dataclass(frozen=True, eq=False)
class BodyVariables:
    """A batch of candidate bodies in the camera frame (OpenCV axes, metres, radians)."""

    betas: Float[Tensor, "B S"]
    root_rotmat: Float[Tensor, "B 3 3"]  # where `root_rotvec` starts from; not optimised
    root_rotvec: Float[Tensor, "B 3"]  # turn on top of it, so the vector stays short
    body_pose: Float[Tensor, "B 23 3"]  # axis-angle
    bearing: Float[Tensor, "B 2"]  # x/z and y/z of the pelvis joint
    log_depth: Float[Tensor, " B"]  # log of the pelvis' depth in metres

    def pose_rotmat(self) -> Float[Tensor, "B 24 3 3"]:
        root = roma.rotvec_to_rotmat(self.root_rotvec) @ self.root_rotmat
        return torch.cat([root[:, None], roma.rotvec_to_rotmat(self.body_pose)], 1)

    def transl(self, body: Body) -> Float[Tensor, "B 3"]:
        """smplx's translation: it is added to a body whose pelvis is at its rest position."""
        ray = torch.cat([self.bearing, torch.ones_like(self.bearing[:, :1])], 1)
        return ray * self.log_depth.exp()[:, None] - body.rest_joints(self.betas)[:, 0]

    def select(self, index: Tensor) -> "BodyVariables":
        """Some of the candidates, detached."""
        return replace(
            self, **{f.name: getattr(self, f.name).detach()[index] for f in fields(self)}
        )

    def rebased(self) -> "BodyVariables":
        """The same bodies with the turn folded into the starting rotation, detached."""
        root = (roma.rotvec_to_rotmat(self.root_rotvec) @ self.root_rotmat).detach()
        kept = {f.name: getattr(self, f.name).detach() for f in fields(self)}
        kept |= {"root_rotmat": root, "root_rotvec": torch.zeros_like(self.root_rotvec)}
        return BodyVariables(**kept)


def variables_of(
    body: Body,
    betas: Float[Tensor, "B S"],
    pose_rotmat: Float[Tensor, "B 24 3 3"],
    transl: Float[Tensor, "B 3"],
) -> BodyVariables:
    """The variables that describe posed bodies, whose pelvis must be in front of the camera."""
    pelvis = body.rest_joints(betas)[:, 0] + transl
    depth = pelvis[:, 2].clamp_min(NEAREST)
    return BodyVariables(
        betas=betas,
        root_rotmat=pose_rotmat[:, 0],
        root_rotvec=torch.zeros_like(transl),
        body_pose=roma.rotmat_to_rotvec(pose_rotmat[:, 1:]),
        bearing=pelvis[:, :2] / depth[:, None],
        log_depth=depth.log(),
    )
