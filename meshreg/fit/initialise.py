"""Starting points for a fit: poses from a bank, turned every way, compared with the keypoints.

Exemplar search in the spirit of Chen and Ramanan (2017). For a given camera the best translation of
a candidate is linear in its points, so a hundred thousand candidates cost a fraction of a second.
"""

import math
from dataclasses import fields, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.smpl import Body
from meshreg.fit.evidence import Target2D
from meshreg.fit.variables import BodyVariables
from meshreg.losses.keypoints import robust_reprojection
from meshreg.losses.priors import NUM_PRIOR_JOINTS, PoseBank

HEADINGS = 24
PITCHES_DEG = (-30.0, -15.0, 0.0, 15.0, 35.0)  # camera tilt; positive looks down on the person
ROLLS_DEG = (-15.0, 0.0, 15.0)
MIN_DEPTH = 0.3  # metres
# How far the neighbours of a given start may be, radians: every joint; camera's x, y and z
POSE_SPREAD, ROOT_SPREAD = 0.25, (0.15, 0.4, 0.1)
SAME_POSE = 0.07  # metres: starting points nearer than this on average are one


def starting_points(
    target: Target2D, keypoints: BodyKeypoints, bank: PoseBank, *, count: int, num_betas: int
) -> BodyVariables:
    """The `count` most promising and mutually different bodies for these keypoints."""
    points, pose = _bank_points(keypoints, bank, num_betas)
    turns = _camera_turns().to(points)  # (R, 3, 3): R_cam_world for every way to stand
    solve = _translation_solver(target).to(points)
    scores, translations = [], []
    for turn in turns.split(24):
        turned = torch.einsum("rxy,njy->rnjx", turn, points)
        transl = _best_translation(turned, target, solve)
        scores.append(_score(turned + transl[..., None, :], target))
        translations.append(transl)
    score = torch.cat(scores) - 0.02 * (bank.weight + 1e-6).log()
    order = score.flatten().argsort()
    picked = _different(order, points, turns, count)
    turn_index, bank_index = picked // len(points), picked % len(points)
    pelvis = torch.cat(translations)[turn_index, bank_index]
    hands = pose.new_zeros(len(picked), 23 - NUM_PRIOR_JOINTS, 3)
    return BodyVariables(
        betas=pose.new_zeros(len(picked), num_betas),
        root_rotmat=turns[turn_index] @ bank.root_rotmat[bank_index],
        root_rotvec=pose.new_zeros(len(picked), 3),
        body_pose=torch.cat([pose[bank_index], hands], 1),
        bearing=pelvis[:, :2] / pelvis[:, 2:],
        log_depth=pelvis[:, 2].log(),
    )


def starting_points_around(
    start: BodyVariables, target: Target2D, keypoints: BodyKeypoints, body: Body, *, count: int
) -> BodyVariables:
    """A body that is roughly right, as it is and moved to meet the keypoints, and bodies near it.

    The neighbours' joints, and their headings, are off by random angles that are always the same.
    """
    assert len(start.betas) == 1, "one body to start from"
    random = torch.Generator().manual_seed(0)
    spread = torch.linspace(0, 1, max(count - 1, 1))  # the first one stays as it is
    pose = torch.randn(len(spread), 23, 3, generator=random) * spread[:, None, None] * POSE_SPREAD
    turn = torch.randn(len(spread), 3, generator=random) * spread[:, None]
    turn = turn * torch.tensor(ROOT_SPREAD)
    many = start.select(torch.zeros(len(spread), dtype=torch.long))
    many = replace(many, body_pose=many.body_pose + pose.to(many.betas))
    root = roma.rotvec_to_rotmat(turn.to(many.betas)) @ many.root_rotmat
    many = _placed(replace(many, root_rotmat=root), target, keypoints, body)
    pairs = [(getattr(start, f.name), getattr(many, f.name)) for f in fields(many)]
    return BodyVariables(*(torch.cat(pair)[:count] for pair in pairs))


def _placed(
    many: BodyVariables, target: Target2D, keypoints: BodyKeypoints, body: Body
) -> BodyVariables:
    """The bodies where they explain the keypoints best."""
    points, joints = keypoints(many.betas, many.pose_rotmat(), many.transl(body))
    pelvis = _best_translation(points - joints[:, :1], target, _translation_solver(target))
    return replace(many, bearing=pelvis[:, :2] / pelvis[:, 2:], log_depth=pelvis[:, 2].log())


def _bank_points(
    keypoints: BodyKeypoints, bank: PoseBank, num_betas: int
) -> tuple[Float[Tensor, "N J 3"], Float[Tensor, "N 21 3"]]:
    """Keypoints of every pose of the bank on the mean body, from its pelvis, y up."""
    n = len(bank.body_pose)
    pose = roma.rotvec_to_rotmat(bank.body_pose)
    still = torch.eye(3).to(pose).expand(n, 23 - NUM_PRIOR_JOINTS, 3, 3)
    pose_rotmat = torch.cat([bank.root_rotmat[:, None], pose, still], 1)
    points, joints = keypoints(pose.new_zeros(n, num_betas), pose_rotmat, pose.new_zeros(n, 3))
    return points - joints[:, :1], bank.body_pose


def _camera_turns() -> Float[Tensor, "R 3 3"]:
    """R_cam_world for all headings, pitches and rolls, from y-up world axes to OpenCV's."""
    to_opencv = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    heading = torch.arange(HEADINGS) * (2 * math.pi / HEADINGS)
    turns = []
    for roll in ROLLS_DEG:
        for pitch in PITCHES_DEG:
            tilt = roma.euler_to_rotmat("XYZ", [pitch, 0.0, 0.0], degrees=True)
            lean = roma.euler_to_rotmat("XYZ", [0.0, 0.0, roll], degrees=True)
            about_y = torch.stack(
                [torch.zeros_like(heading), heading, torch.zeros_like(heading)], 1
            )
            turns.append(lean @ to_opencv @ tilt @ roma.rotvec_to_rotmat(about_y))
    return torch.cat(turns)


def _translation_solver(target: Target2D) -> Float[Tensor, "3 M"]:
    """The matrix that gives the least-squares translation from the projection equations' residuals.

    x + t_x = u (z + t_z) with u the normalised image coordinate is linear in t, and its matrix
    depends on the picture alone.
    """
    rows, weight = _projection_rows(target)
    return torch.linalg.pinv(rows * weight[:, None]) * weight


def _projection_rows(target: Target2D) -> tuple[Float[Tensor, "M 3"], Float[Tensor, " M"]]:
    u = _normalised(target)
    rows = u.new_zeros(len(u), 2, 3)
    rows[:, 0, 0] = rows[:, 1, 1] = 1.0
    rows[:, :, 2] = -u
    weight = target.confidence[:, None].expand(-1, 2)
    return rows.flatten(0, 1), weight.flatten()


def _normalised(target: Target2D) -> Float[Tensor, "J 2"]:
    ones = torch.ones_like(target.points_px[:, :1])
    seen_px = torch.where(target.confidence[:, None] > 0, target.points_px, 0.0)
    rays = torch.linalg.inv(target.K) @ torch.cat([seen_px, ones], 1).T
    return rays.T[:, :2]


def _best_translation(
    points: Float[Tensor, "*batch J 3"], target: Target2D, solve: Float[Tensor, "3 M"]
) -> Float[Tensor, "*batch 3"]:
    u = _normalised(target)
    residual = (u * points[..., 2:] - points[..., :2]).flatten(-2)
    transl = residual @ solve.T
    depth = transl[..., 2:].clamp_min(MIN_DEPTH)
    return torch.cat([transl[..., :2], depth], -1)


def _score(points_cam: Float[Tensor, "*batch J 3"], target: Target2D) -> Float[Tensor, "*batch"]:
    depth = points_cam[..., 2:].clamp_min(MIN_DEPTH / 3)
    px = torch.cat([points_cam[..., :2] / depth, torch.ones_like(depth)], -1) @ target.K.T
    return robust_reprojection(
        px[..., :2], target.points_px, target.confidence, sigma_px=0.05 * target.scale_px
    )


def _different(
    order: Tensor, points: Float[Tensor, "N J 3"], turns: Float[Tensor, "R 3 3"], count: int
) -> Tensor:
    """Walk down the ranking and keep what differs from everything kept so far."""
    kept: list[int] = []
    shapes: list[Tensor] = []
    for flat in order[: 40 * count].tolist():
        shape = points[flat % len(points)] @ turns[flat // len(points)].T
        if all(float((shape - other).norm(dim=-1).mean()) > SAME_POSE for other in shapes):
            kept.append(flat)
            shapes.append(shape)
        if len(kept) == count:
            break
    return torch.tensor(kept, device=order.device)
