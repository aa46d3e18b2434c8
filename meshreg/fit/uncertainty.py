"""Refining lifted poses at test time: the picture is obeyed as far as the lifter is unsure.

The lifter's weights stay as they are. What moves is its input, from the detected joints by a few
thousandths of the picture, until the pose that it makes of them projects onto the detections; how
far the pose may leave the first answer is decided joint by joint by the uncertainty that the lifter
itself tells (Wang et al., "Uncertainty-Aware Testing-Time Optimization for 3D Human Pose
Estimation", IEEE TMM 2025). The authors project with the true place of the person; here it is an
argument, and `meshreg.fit.roots` has ways to estimate it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton
from meshreg.errors import InputError
from meshreg.fit.roots import RootRule, Sighting
from meshreg.geometry.lens import Lens
from meshreg.geometry.mirror import mirror
from meshreg.lifters.lifting import clip_sizes, joint_set_of
from meshreg.lifters.uao import KnowsUncertainty, UncertainPoses
from meshreg.lifters.uao_fused import fused

BATCH = 16  # frames at once; more no longer fit into a core's cache


@dataclass(frozen=True, eq=False)
class Refined:
    """Poses before and after, metres from the root joint."""

    poses: Float[Tensor, "F J 3"]
    first: Float[Tensor, "F J 3"]  # what the lifter said by itself
    log_scale: Float[Tensor, "F J"]  # of the first answer
    root: Float[Tensor, "F 3"]  # where the root joint was taken to be, camera frame, metres
    moved: Float[Tensor, "F S J 2"]  # how far the input moved, of each side; half widths
    projection: Float[Tensor, " I"]  # distance on the screen before each step, mean of both sides


@dataclass(frozen=True)
class Steps:
    """How the input moves."""

    count: int = 4
    lr: float = 1e-3  # about how far each coordinate moves in a step, half widths of the picture
    w_proj: float = 1.0  # of distances to the detections on the screen
    w_unc: float = 5e-3  # of distances to the first answer, in units of their expected size


def optimize_latent(  # noqa: PLR0913
    lifter: nn.Module,
    keypoints2d: Float[Tensor, "F J 2"],
    camera: Lens,
    *,
    root: Float[Tensor, "R 3"] | RootRule,
    iters: int = 4,
    lr: float = 1e-3,
    w_proj: float = 1.0,
    w_unc: float = 5e-3,
    flip: bool = True,
    confidence: Float[Tensor, "F J"] | None = None,
    joint_set: Skeleton | None = None,
    fps: float = 30.0,
    batch_size: int = BATCH,
) -> Refined:
    """Poses that agree with the picture as far as the lifter is unsure of its own.

    `keypoints2d` are on the screen (`meshreg.geometry.screen`). `root` says where the root joint
    is, or is a rule that estimates it from the first answer over the whole clip, at `fps`.
    Detections count as far as their `confidence` says; frames do not influence each other.

    Raises:
        InputError: if the lifter does not know its uncertainty, or the numbers do not fit together.
    """
    joints = joint_set_of(clip_sizes(lifter).num_joints, joint_set)
    _check(lifter, keypoints2d, camera)
    lifter = fused(lifter)
    if confidence is None:
        confidence = torch.ones_like(keypoints2d[..., 0])
    steps = Steps(iters, lr, w_proj, w_unc)
    sides = joints.flip if flip else None
    chunks = [slice(i, i + batch_size) for i in range(0, len(keypoints2d), batch_size)]
    with _frozen(lifter):
        if not isinstance(root, Tensor):
            first = first_answer(lifter, keypoints2d, joints, flip=flip, batch_size=batch_size)
            sighting = Sighting(
                joints=first.poses[:, 0],
                log_scale=first.log_scale[:, 0],
                directions=camera.to(keypoints2d).directions(keypoints2d),
                confidence=confidence,
                skeleton=joints,
                fps=fps,
            )
            root = root(sighting)
        _check_root(root, keypoints2d)
        parts = []
        for chunk in chunks:
            scene = _Scene(
                keypoints2d[chunk], confidence[chunk], root[chunk], camera.frames(chunk), joints
            )
            parts.append(_refined(lifter, scene.to(keypoints2d), steps, sides))
    return _joined(parts)


def first_answer(
    lifter: nn.Module,
    keypoints2d: Float[Tensor, "F J 2"],
    joints: Skeleton,
    *,
    flip: bool = True,
    batch_size: int = BATCH,
) -> UncertainPoses:
    """What the lifter says by itself, averaged with what it says of the mirrored joints."""
    assert isinstance(lifter, KnowsUncertainty)
    sides = joints.flip if flip else None
    poses, scales = [], []
    with _frozen(lifter), torch.no_grad():
        for x in keypoints2d.split(batch_size):
            said = _both_sides(lifter, _with_mirrored(x, sides), sides)
            poses.append(said.poses.mean(1))
            scales.append(said.log_scale.mean(1))
    first = _from_root(torch.cat(poses), joints)
    return UncertainPoses(poses=first[:, None], log_scale=torch.cat(scales)[:, None])


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is known of some frames."""

    x: Float[Tensor, "F J 2"]
    confidence: Float[Tensor, "F J"]
    root: Float[Tensor, "F 3"]
    camera: Lens
    joints: Skeleton

    def to(self, x: Tensor) -> "_Scene":
        return replace(
            self,
            confidence=self.confidence.to(x),
            root=self.root.to(x),
            camera=self.camera.to(x),
        )

    def screen_distance(self, poses: Float[Tensor, "F S J 3"]) -> Float[Tensor, "F S"]:
        """How far from the detections the joints of each side project, on average."""
        root = self.root[:, None, None]
        placed = torch.where(_is_root(poses, self.joints), root, poses + root)
        seen = self.camera.project(placed.flatten(1, 2)).unflatten(1, poses.shape[1:3])
        away = (seen - self.x[:, None]).norm(dim=-1)
        return (away * self.confidence[:, None]).mean(-1)


def _refined(
    lifter: nn.Module, scene: _Scene, steps: Steps, sides: tuple[int, ...] | None
) -> Refined:
    """The loop for one batch.

    The first pass through the network is both the first answer and that of the first step. Losses
    are sums over frames, so that no frame's step depends on what else is in the batch.
    """
    start = _with_mirrored(scene.x, sides)
    moving = start.clone().requires_grad_()
    adam = torch.optim.Adam([moving], lr=steps.lr)
    first: UncertainPoses | None = None
    distances = []
    for _ in range(steps.count):
        said = _both_sides(lifter, moving, sides)
        if first is None:
            first = UncertainPoses(said.poses.detach(), said.log_scale.detach())
        away = scene.screen_distance(said.poses)
        trust = torch.exp(-said.log_scale.detach())
        change = ((said.poses - first.poses).norm(dim=-1) * trust).mean(-1)
        loss = (steps.w_proj * away + steps.w_unc * change).sum()
        (moving.grad,) = torch.autograd.grad(loss, [moving])
        adam.step()
        distances.append(away.detach().mean())
    with torch.no_grad():
        last = _both_sides(lifter, moving, sides)
    first = first or last
    return Refined(
        poses=_from_root(last.poses.mean(1), scene.joints),
        first=_from_root(first.poses.mean(1), scene.joints),
        log_scale=first.log_scale.mean(1),
        root=scene.root,
        moved=(moving - start).detach(),
        projection=torch.stack(distances) if distances else scene.x.new_zeros(0),
    )


def _from_root(poses: Float[Tensor, "F J 3"], joints: Skeleton) -> Float[Tensor, "F J 3"]:
    """The root joint becomes zero, and the others stay, as released: networks learn it to be so."""
    return torch.where(_is_root(poses, joints), 0.0, poses)


def _is_root(poses: Float[Tensor, "*batch J 3"], joints: Skeleton) -> Bool[Tensor, "J 1"]:
    places = torch.arange(poses.shape[-2], device=poses.device)
    return (places == joints.parents.index(-1))[:, None]


def _with_mirrored(
    x: Float[Tensor, "F J 2"], sides: tuple[int, ...] | None
) -> Float[Tensor, "F S J 2"]:
    """The joints, and their mirror image as a second side."""
    return torch.stack([x] if sides is None else [x, mirror(x, sides)], 1)


def _both_sides(
    lifter: nn.Module, z: Float[Tensor, "F S J 2"], sides: tuple[int, ...] | None
) -> UncertainPoses:
    """What is said of each side, mirrored back; all of it in one pass."""
    assert isinstance(lifter, KnowsUncertainty)
    said = lifter.uncertain(z.flatten(0, 1)[:, None])
    poses, scales = (v[:, 0].unflatten(0, z.shape[:2]) for v in (said.poses, said.log_scale))
    if sides is None:
        return UncertainPoses(poses, scales)
    return UncertainPoses(
        poses=torch.stack([poses[:, 0], mirror(poses[:, 1], sides)], 1),
        log_scale=torch.stack([scales[:, 0], scales[:, 1][:, list(sides)]], 1),
    )


def _joined(parts: list[Refined]) -> Refined:
    frames = torch.tensor([float(len(part.poses)) for part in parts])
    steps = torch.stack([part.projection for part in parts], 1)
    return Refined(
        poses=torch.cat([part.poses for part in parts]),
        first=torch.cat([part.first for part in parts]),
        log_scale=torch.cat([part.log_scale for part in parts]),
        root=torch.cat([part.root for part in parts]),
        moved=torch.cat([part.moved for part in parts]),
        projection=steps @ (frames / frames.sum()).to(steps),
    )


@contextmanager
def _frozen(lifter: nn.Module) -> Iterator[None]:
    """Prediction mode without gradients of weights, and the old state afterwards."""
    was_training, wanted = lifter.training, [p.requires_grad for p in lifter.parameters()]
    lifter.eval().requires_grad_(False)
    try:
        yield
    finally:
        lifter.train(was_training)
        for parameter, flag in zip(lifter.parameters(), wanted, strict=True):
            parameter.requires_grad_(flag)


def _check(lifter: nn.Module, x: Float[Tensor, "F J 2"], camera: Lens) -> None:
    if not isinstance(lifter, KnowsUncertainty):
        raise InputError(
            "this lifter does not tell how uncertain it is: take uao, which comes along (--model "
            "uao), or train one with configs/lifters/small/uao.yaml."
        )
    sizes = clip_sizes(lifter)
    if sizes.frames != 1:
        raise InputError(
            f"this lifter sees {sizes.frames} frames at once: give one of single ones."
        )
    if not len(x):
        raise InputError("the clip has no frames with a person: give at least one.")
    if x.shape[1] != sizes.num_joints:
        raise InputError(
            f"the keypoints have {x.shape[1]} joints, but this lifter takes {sizes.num_joints}."
        )
    if len(camera) != len(x):
        raise InputError(f"there are {len(camera)} cameras for {len(x)} frames: give one for each.")
    if not x.isfinite().all():
        raise InputError(
            f"{int((~x.isfinite().all(-1)).sum())} keypoints are not finite: fill them with "
            "meshreg.geometry.gaps.fill_gaps, or leave these frames out."
        )


def _check_root(root: Float[Tensor, "R 3"], x: Float[Tensor, "F J 2"]) -> None:
    if len(root) != len(x):
        raise InputError(f"there are {len(root)} places for {len(x)} frames: give one for each.")
    if not (root.isfinite().all() and (root[:, 2] > 0).all()):
        raise InputError(
            "the root joint must be at finite places in front of the camera: check the camera and "
            "the rule that estimates them."
        )
