"""How large the person is whose joints were seen: betas from distances between joints."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.joint_placing import place_joints
from meshreg.body.kinematics import offsets_of
from meshreg.body.rest_skeleton import PARENTS, RestSkeleton, check_joints

# What PersPose tries for the first beta
CANDIDATES = tuple(step / 10 for step in range(-20, 20))
JOINT_NOISE = 0.005  # metres per axis
ITERATIONS = 4
AT_ONCE = 128  # bodies whose candidates are tried together: more would not fit into caches


def betas_from_bones(
    skeleton: RestSkeleton,
    joints: Float[Tensor, "B 24 3"],
    betas: Float[Tensor, "B S"],
    *,
    free: int | None = 1,
    noise: float = JOINT_NOISE,
) -> Float[Tensor, "B S"]:
    """The betas whose bones are as long as the seen ones, by damped least squares.

    The first `free` betas are found (None: all), the others kept. `noise` is the error of the
    joints in metres per axis: it makes bones look longer, which is taken off, and says how far
    bones are believed against betas of unit variance. Differentiable.

    Raises:
        InputError: if a joint is not finite, or the body has fewer shape columns than `betas`.
    """
    check_joints(joints)
    skeleton = skeleton.like(joints)
    free = betas.shape[1] if free is None else free
    seen = _lengths(joints)
    # E |b + e| = |b| + (variance across the bone) / |b|; both ends of a bone are noisy.
    seen = seen - 2 * noise**2 / seen.clamp_min(10 * max(noise, 1e-6))
    directions = skeleton.shapedirs[..., :free]
    along = directions[1:] - directions[list(PARENTS[1:])]  # how a bone's vector changes
    damping = 2 * noise**2 * torch.eye(free).to(joints)
    kept, found = betas[:, free:].to(joints), torch.zeros_like(joints[:, 0, :1]).repeat(1, free)
    for _ in range(ITERATIONS):
        bones = _bones(skeleton.joints(torch.cat([found, kept], 1)))
        length = bones.norm(dim=-1)
        slope = torch.einsum("bjx,jxs->bjs", bones / length[..., None], along)
        missing = (seen - length)[..., None] + slope @ found[..., None]
        found = torch.linalg.solve(slope.mT @ slope + damping, slope.mT @ missing)[..., 0]
    return torch.cat([found, kept], 1)


def searched_first_beta(
    skeleton: RestSkeleton,
    joints: Float[Tensor, "B 24 3"],
    betas: Float[Tensor, "B S"],
    *,
    candidates: Sequence[float] = CANDIDATES,
) -> Float[Tensor, "B S"]:
    """The betas with the first one replaced by the candidate that fits the picture plane best.

    As released with PersPose: the skeleton of each candidate is placed keeping x and y, and the
    least mean error in x and y wins. Joints with errors of a centimetre push it upwards, often to
    the end of its range; `betas_from_bones` does not have that fault. No gradient.

    Raises:
        InputError: if a joint is not finite, or the body has fewer shape columns than `betas`.
    """
    errors = candidate_errors(skeleton, joints, betas, candidates=candidates)
    values = torch.tensor(candidates, dtype=betas.dtype, device=betas.device)
    return torch.cat([values[errors.argmin(1)][:, None], betas[:, 1:]], 1)


@torch.no_grad()
def candidate_errors(
    skeleton: RestSkeleton,
    joints: Float[Tensor, "B 24 3"],
    betas: Float[Tensor, "B S"],
    *,
    candidates: Sequence[float] = CANDIDATES,
) -> Float[Tensor, "B C"]:
    """How far each candidate leaves the joints from their seen x and y, metres on average."""
    check_joints(joints)
    skeleton = skeleton.like(joints)
    values = torch.tensor(candidates, dtype=joints.dtype, device=joints.device)[:, None, None]
    steps = values * skeleton.shapedirs[..., 0]
    errors = []
    for some, their in zip(joints.split(AT_ONCE), betas.to(joints).split(AT_ONCE), strict=True):
        rest = skeleton.joints(torch.cat([torch.zeros_like(their[:, :1]), their[:, 1:]], 1))
        rest = rest[:, None] + steps
        target = some[:, None].expand_as(rest)
        placed = place_joints(rest, target, max_drift=None, keep_xy=True).joints
        errors.append((placed - target)[..., :2].norm(dim=-1).mean(-1))
    return torch.cat(errors) if errors else joints.new_zeros(0, len(candidates))


def _bones(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 23 3"]:
    return offsets_of(joints, PARENTS)[..., 1:, :]


def _lengths(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 23"]:
    return _bones(joints).norm(dim=-1)
