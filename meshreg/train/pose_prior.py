"""Learn the pose prior from mocap: mixture of Gaussians, joint limits and a bank of poses.

Run: `meshreg prior pose motion.npz --out pose_prior.safetensors`
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import roma
import torch
from jaxtyping import Bool, Float
from safetensors.torch import save_file
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.data.motion import Motion, load_motion, plausible_frames
from meshreg.errors import InputError
from meshreg.files import written_whole
from meshreg.losses.priors import NUM_PRIOR_JOINTS

D = NUM_PRIOR_JOINTS * 3


@dataclass(frozen=True)
class Config:
    """Everything that decides the result."""

    motion: Path  # `.npz` of SMPL poses with subjects and categories
    out: Path
    held_out: tuple[int, ...] = (0, 5, 14, 86)  # never seen; 0 is "unknown", so it may hide one
    frames: int = 40_000  # drawn before mirroring
    components: int = 24
    iterations: int = 60
    shrinkage: float = 0.02  # rad^2 added to every variance: 8 degrees of doubt
    bank_size: int = 1024
    relaxed_categories: tuple[str, ...] = ("walking", "everyday")  # what unseen limbs do
    seed: int = 0


def main(config: Config) -> None:
    """Read, select, fit, save."""
    generator = torch.Generator().manual_seed(config.seed)
    motion = load_motion(config.motion)
    body = load_body()

    # --- frames: held-out subjects out, broken ones out, categories balanced, mirrored ------------
    usable = usable_frames(motion, config.held_out)
    index = balanced_sample(motion, usable, config.frames, generator)
    poses = with_mirror(motion.poses[index])
    body_pose = poses[:, 1 : 1 + NUM_PRIOR_JOINTS].double()

    # --- density, limits, bank --------------------------------------------------------------------
    x = body_pose.flatten(1)
    weights, means, covariances = fit_mixture(x, config, generator)
    identity = torch.eye(D, dtype=x.dtype)
    whitening = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariances), identity.expand_as(covariances), upper=False
    )
    lower, upper = joint_limits(body_pose)
    relaxed = relaxed_pose(motion, index, config.relaxed_categories)
    bank = build_bank(poses, body, config, generator)

    recipe = {
        key: str(value) for key, value in asdict(config).items() if key not in ("motion", "out")
    }
    recipe |= {"made_by": "meshreg prior pose", "acknowledgement": motion.licence}
    tensors = {
        "weights": weights,
        "means": means,
        "whitening": whitening,
        "lower": lower,
        "upper": upper,
        "relaxed": relaxed,
        **bank,
    }
    tensors = {
        key: value.to(torch.float16 if value.ndim > 1 else torch.float32).contiguous()
        for key, value in tensors.items()
    }
    with written_whole(config.out) as temporary:
        save_file(tensors, temporary, metadata={"recipe": json.dumps(recipe)})


def usable_frames(motion: Motion, held_out: tuple[int, ...]) -> Bool[Tensor, " N"]:
    """Frames of allowed subjects without impossible joints, which are retargeting faults."""
    subject = torch.tensor(motion.subject)[motion.clip]
    allowed = plausible_frames(motion)
    for number in held_out:
        allowed &= subject != number
    return allowed


def balanced_sample(
    motion: Motion, usable: Bool[Tensor, " N"], count: int, generator: torch.Generator
) -> Tensor:
    """Frame numbers, with the square root of each category's size as its weight.

    Raises:
        InputError: if no frame is usable.
    """
    if not usable.any():
        raise InputError(
            f"none of the {len(usable)} frames of motion is usable: give clips of subjects that "
            "are not held out and whose joints bend as a body's can."
        )
    kinds = sorted(set(motion.category))
    kind = torch.tensor([kinds.index(c) for c in motion.category])[motion.clip]
    size = torch.bincount(kind[usable], minlength=len(kinds)).clamp_min(1).double()
    weight = torch.where(usable, size.rsqrt()[kind], torch.zeros(()).double())
    return torch.multinomial(weight, count, replacement=True, generator=generator)


def with_mirror(poses: Float[Tensor, "N 24 3"]) -> Float[Tensor, "M 24 3"]:
    """The poses and their left-right mirror images: swap sides, negate the y and z of each axis."""
    mirrored = poses[:, list(SKELETONS["smpl24"].flip)] * poses.new_tensor([1.0, -1.0, -1.0])
    return torch.cat([poses, mirrored])


def fit_mixture(
    x: Float[Tensor, "N 63"], config: Config, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, means and covariances by expectation maximisation, started from k-means centres."""
    means, assignment = k_means(x, config.components, 15, generator)
    responsibility = torch.nn.functional.one_hot(assignment, config.components).to(x.dtype)
    shrink = config.shrinkage * torch.eye(D, dtype=x.dtype)
    for _ in range(config.iterations):
        mass = responsibility.sum(0) + 1e-6
        weights, means = mass / mass.sum(), responsibility.T @ x / mass[:, None]
        covariances = torch.stack(
            [
                (responsibility[:, k, None] * (x - m)).T @ (x - m) / mass[k]
                for k, m in enumerate(means)
            ]
        )
        covariances = covariances + shrink
        factor = torch.linalg.cholesky(covariances)
        log_density = torch.stack(
            [
                -0.5 * torch.linalg.solve_triangular(L, (x - m).T, upper=False).square().sum(0)
                - L.diagonal().log().sum()
                for m, L in zip(means, factor, strict=True)
            ],
            1,
        )
        responsibility = torch.softmax(log_density + weights.log(), 1)
    return weights, means, covariances


def k_means(
    x: Float[Tensor, "N C"], count: int, iterations: int, generator: torch.Generator
) -> tuple[Float[Tensor, "K C"], Tensor]:
    """Lloyd's algorithm from random frames; an empty cluster keeps its old centre."""
    assert 0 < count <= len(x), (count, len(x))
    centres = x[torch.randperm(len(x), generator=generator)[:count]].clone()
    for _ in range(iterations):
        assignment = torch.cat([torch.cdist(part, centres).argmin(1) for part in x.split(8192)])
        mass = torch.bincount(assignment, minlength=count).to(x.dtype)
        sums = torch.zeros_like(centres).index_add_(0, assignment, x)
        centres = torch.where(mass[:, None] > 0, sums / mass.clamp_min(1)[:, None], centres)
    return centres, assignment


def joint_limits(body_pose: Float[Tensor, "N 21 3"]) -> tuple[Tensor, Tensor]:
    """The range of each angle over all but one frame in a thousand, plus three degrees."""
    ordered = body_pose.sort(0).values
    cut, margin = len(ordered) // 1000, math.radians(3)
    return ordered[cut] - margin, ordered[-cut - 1] + margin


def relaxed_pose(
    motion: Motion, index: Tensor, categories: tuple[str, ...]
) -> Float[Tensor, "21 3"]:
    """The mean pose of the frames of these categories (of all frames if there are none)."""
    kind = [motion.category[clip] for clip in motion.clip[index].tolist()]
    chosen = index[torch.tensor([k in categories for k in kind], dtype=torch.bool)]
    poses = with_mirror(motion.poses[chosen if len(chosen) else index])
    return poses[:, 1 : 1 + NUM_PRIOR_JOINTS].mean(0)


def build_bank(
    poses: Float[Tensor, "N 24 3"], body: Body, config: Config, generator: torch.Generator
) -> dict[str, Tensor]:
    """The frames nearest to the centres of clusters of joint positions, heading taken out."""
    root = without_heading(roma.rotvec_to_rotmat(poses[:, 0]))
    pose_rotmat = roma.rotvec_to_rotmat(poses)
    pose_rotmat[:, 0] = root
    none = body.restricted_to(torch.zeros(0, dtype=torch.int64))
    joints = []
    for part in pose_rotmat.split(4096):
        zeros = torch.zeros(len(part), 1)
        _, j = none.skin(zeros.expand(-1, body.num_betas), part, zeros.expand(-1, 3))
        joints.append((j - j[:, :1]).flatten(1))
    features = torch.cat(joints)
    centres, assignment = k_means(features, config.bank_size, 12, generator)
    share = torch.bincount(assignment, minlength=config.bank_size) / len(features)
    medoid = torch.stack([torch.cdist(c[None], features)[0].argmin() for c in centres])
    return {
        "bank.root_rotmat": root[medoid],
        "bank.body_pose": poses[medoid, 1 : 1 + NUM_PRIOR_JOINTS],
        "bank.weight": share,
    }


def without_heading(root_rotmat: Float[Tensor, "N 3 3"]) -> Float[Tensor, "N 3 3"]:
    """The root rotation after a turn about the vertical that brings the body's front to +z."""
    front = root_rotmat[..., :, 2]
    heading = torch.atan2(front[..., 0], front[..., 2])
    up = torch.zeros_like(front)
    up[..., 1] = -heading
    return roma.rotvec_to_rotmat(up) @ root_rotmat
