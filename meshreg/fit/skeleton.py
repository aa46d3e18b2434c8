"""A body moving as a skeleton does: SMPL parameters for Human3.6M's 17 joints over time.

A closed-form start is refined until the body's own 17 joints meet the given ones. A pose prior
decides what the joints do not show, and neighbouring frames pull each other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.kinematics import offsets_of
from meshreg.body.rest_skeleton import RestSkeleton
from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import Body
from meshreg.body.smpl_from_h36m import Correspondence, first_pose
from meshreg.errors import InputError
from meshreg.losses.priors import PosePrior, load_pose_prior, shape_prior

H36M = skeleton("h36m17")
_SHAPE_FRAMES = 64  # enough to tell how large somebody is
_AT_ONCE = 512  # frames fitted together, which bounds the memory


@dataclass(frozen=True)
class SkeletonFitSettings:
    """Numbers of the refinement."""

    steps: int = 90
    rate: float = 0.04  # of Adam at the start; it falls to a twentieth
    joint_sigma: float = 0.01  # metres that a joint may be off
    pose_weight: float = 0.05  # of the prior's nats
    limit_weight: float = 30.0  # per squared radian beyond the range of joints
    leaf_weight: float = 20.0  # per squared radian of hands, which no joint shows
    smooth_weight: float = 60.0  # per squared change of rotations' velocity, radians a frame


@dataclass(frozen=True, eq=False)
class SkeletonFit:
    """A body in the frame of the joints."""

    betas: Float[Tensor, "S"]  # one shape for all frames
    pose_rotmat: Float[Tensor, "T 24 3 3"]  # index 0 is the root
    transl: Float[Tensor, "T 3"]  # metres, as `Body` wants it
    joints: Float[Tensor, "T 17 3"]  # the body's own joints of h36m17, metres
    error: Float[Tensor, "T"]  # their mean distance from the given ones, metres


def fit_skeleton(
    body: Body,
    joints: Float[Tensor, "T 17 3"],
    *,
    settings: SkeletonFitSettings | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> SkeletonFit:
    """Shape, poses and places of a body for a clip of h36m17 joints, in metres.

    The shape comes from up to 64 frames spread over the clip. `on_step` is called after each of
    `num_steps(T)` steps.

    Raises:
        InputError: if there are no frames, a joint is not finite, or the body lacks these joints.
    """
    if not len(joints) or not bool(joints.isfinite().all()):
        raise InputError("expected frames of finite joints, found none or NaN: lift them again.")
    settings = settings or SkeletonFitSettings()
    fitter = _Fitter(body, settings, on_step)
    joints = joints.float()
    some = torch.linspace(0, len(joints) - 1, min(len(joints), _SHAPE_FRAMES)).round().long()
    near = fitter.betas_of_bones(joints)
    betas, *_ = fitter.refined(joints[some], near, shape_too=True, smooth=False)
    parts = [
        fitter.refined(part, betas, shape_too=False, smooth=True) for part in joints.split(_AT_ONCE)
    ]
    pose_rotmat = torch.cat([part[1] for part in parts])
    transl = torch.cat([part[2] for part in parts])
    with torch.no_grad():
        found = fitter.points(betas.expand(len(joints), -1), pose_rotmat, transl)[0]
    return SkeletonFit(
        betas=betas,
        pose_rotmat=pose_rotmat,
        transl=transl,
        joints=found,
        error=(found - joints).norm(dim=-1).mean(-1),
    )


def num_steps(num_frames: int, settings: SkeletonFitSettings | None = None) -> int:
    """How often `fit_skeleton` calls `on_step` for a clip of so many frames."""
    parts = 1 + -(-num_frames // _AT_ONCE)
    return parts * (settings or SkeletonFitSettings()).steps


class _Fitter:
    """What one body needs for all frames."""

    def __init__(
        self, body: Body, settings: SkeletonFitSettings, on_step: Callable[[], None]
    ) -> None:
        self.points = BodyKeypoints(body, "h36m17")
        self.settings, self.on_step = settings, on_step
        self.num_betas = body.num_betas
        self.prior: PosePrior = load_pose_prior()[0]
        betas, still = torch.zeros(1, self.num_betas), torch.eye(3).repeat(1, 24, 1, 1)
        with torch.no_grad():
            rest = self.points(betas, still, torch.zeros(1, 3))[0][0]
            # How the 17 unposed joints move with each beta, which is linear.
            each = self.points(
                torch.eye(self.num_betas),
                still.expand(self.num_betas, -1, -1, -1),
                torch.zeros(self.num_betas, 3),
            )[0]
        self.known = Correspondence(h36m=rest, skeleton=RestSkeleton.of(body))
        self.shapedirs = (each - rest).permute(1, 2, 0)

    def betas_of_bones(self, joints: Float[Tensor, "T 17 3"]) -> Float[Tensor, "S"]:
        """The shape whose bones are as long as these are on median, by damped least squares."""
        lengths = offsets_of(joints, H36M.parents)[:, 1:].norm(dim=-1).median(0).values
        betas = joints.new_zeros(self.num_betas)
        change = offsets_of(self.shapedirs.permute(2, 0, 1), H36M.parents)[:, 1:]
        for _ in range(4):
            bones = offsets_of(self.known.h36m + self.shapedirs @ betas, H36M.parents)[1:]
            slope = torch.einsum("sjx,jx->js", change, bones / bones.norm(dim=-1, keepdim=True))
            missing = lengths - bones.norm(dim=-1) + slope @ betas
            damping = self.settings.joint_sigma**2 * torch.eye(self.num_betas)
            betas = torch.linalg.solve(slope.T @ slope + damping, slope.T @ missing)
        return betas.clamp(-3, 3)

    def refined(
        self,
        joints: Float[Tensor, "T 17 3"],
        betas: Float[Tensor, "S"],
        *,
        shape_too: bool,
        smooth: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Betas, poses and places after the descent; each frame starts from the closed form."""
        start = first_pose(joints, self.known, betas.expand(len(joints), -1))
        turn = torch.zeros(len(joints), 24, 3, requires_grad=True)
        transl = start.transl.clone().requires_grad_()
        shape = betas.clone().requires_grad_(shape_too)
        optimiser = torch.optim.Adam(
            [
                {"params": [turn], "lr": self.settings.rate},
                {"params": [transl], "lr": self.settings.rate / 10},
                {"params": [shape] if shape_too else [], "lr": self.settings.rate},
            ]
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, self.settings.steps, eta_min=0.05 * self.settings.rate
        )
        for _ in range(self.settings.steps):
            optimiser.zero_grad()
            pose = start.pose_rotmat @ roma.rotvec_to_rotmat(turn)
            self._energy(joints, shape, pose, transl, smooth=smooth).backward()
            optimiser.step()
            schedule.step()
            self.on_step()
        with torch.no_grad():
            pose = start.pose_rotmat @ roma.rotvec_to_rotmat(turn)
        return shape.detach(), pose, transl.detach()

    def _energy(
        self,
        joints: Float[Tensor, "T 17 3"],
        betas: Float[Tensor, "S"],
        pose: Float[Tensor, "T 24 3 3"],
        transl: Float[Tensor, "T 3"],
        *,
        smooth: bool,
    ) -> Tensor:
        own = self.settings
        found, _ = self.points(betas.expand(len(joints), -1), pose, transl)
        body_pose = roma.rotmat_to_rotvec(pose[:, 1:])
        energy = 0.5 / own.joint_sigma**2 * (found - joints).square().sum((-1, -2))
        energy = energy + own.pose_weight * self.prior(body_pose)
        energy = energy + own.limit_weight * self.prior.beyond_limits(body_pose)
        energy = energy + own.leaf_weight * body_pose[:, -2:].square().sum((-1, -2))
        total = energy.sum() + len(joints) * shape_prior(betas) / 10
        if smooth and len(joints) > 2:
            jolt = pose[2:] - 2 * pose[1:-1] + pose[:-2]
            total = total + own.smooth_weight * jolt.square().sum()
        return total
