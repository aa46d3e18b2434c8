"""Losses of lifted clips: positions, their changes in time, and bones; metres in, metres out."""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import Skeleton
from meshreg.losses.averages import weighted_mean

# MixSTE's weights, also KTPFormer's and HoT's: the farther from the trunk, the more a joint counts.
_OF_PART = {
    "knee": 2.5,
    "ankle": 2.5,
    "elbow": 4.0,
    "wrist": 4.0,
    "shoulder": 1.0,
    "hip": 1.0,
    "jaw": 1.5,
    "head": 1.5,
}
_RELEASED = {
    "h36m17": (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4),
    "humaneva15": (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4),
}


def joint_weights(joints: Skeleton) -> tuple[float, ...]:
    """How much each joint counts in MixSTE's loss.

    Lists for Human3.6M and HumanEva are those of the released code, the latter although they
    are in the order of another joint set; other sets get the same weights by what the joints are.
    """
    if joints.name in _RELEASED:
        return tuple(float(weight) for weight in _RELEASED[joints.name])
    return tuple(_by_name(name) for name in joints.joints)


def _by_name(joint: str) -> float:
    return next((weight for part, weight in _OF_PART.items() if part in joint), 1.0)


def position_loss(
    pred: Float[Tensor, "B T J 3"],
    target: Float[Tensor, "B T J 3"],
    weight: Float[Tensor, " J"],
    known: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Weighted MPJPE: the mean over joints of weight times distance (weights need not sum to 1)."""
    return weighted_mean(((pred - target).norm(dim=-1) * weight).mean(-1), known)


def uncertainty_loss(
    pred: Float[Tensor, "B T J 3"],
    log_scale: Float[Tensor, "B T J"],
    target: Float[Tensor, "B T J 3"],
    known: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Distances in units of what the network expects of them, and the price of expecting much.

    Least where exp(log_scale) is the mean distance: of all that a joint cannot be known from.
    """
    distance = (pred - target).norm(dim=-1)
    return weighted_mean((distance * torch.exp(-log_scale) + log_scale).mean(-1), known)


def smoothness_loss(
    pred: Float[Tensor, "B T J 3"], weight: Float[Tensor, " J"], known: Float[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Temporal consistency: the mean square of the prediction's own change from frame to frame."""
    change = pred.diff(dim=1).square().mean(-1)
    return weighted_mean((change * weight).mean(-1), _pairs(known))


def velocity_loss(
    pred: Float[Tensor, "B T J 3"], target: Float[Tensor, "B T J 3"], known: Float[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """MPJVE: the mean distance between predicted and true changes from frame to frame."""
    error = (pred.diff(dim=1) - target.diff(dim=1)).norm(dim=-1).mean(-1)
    return weighted_mean(error, _pairs(known))


def bone_length_loss(
    pred: Float[Tensor, "B T J 3"],
    target: Float[Tensor, "B T J 3"],
    joints: Skeleton,
    known: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """The mean difference between predicted and true lengths of bones."""
    error = (bones(pred, joints).norm(dim=-1) - bones(target, joints).norm(dim=-1)).abs()
    return weighted_mean(error.mean(-1), known)


def bone_direction_loss(
    pred: Float[Tensor, "B T J 3"],
    target: Float[Tensor, "B T J 3"],
    joints: Skeleton,
    known: Float[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """The mean distance between the ends of bones of length one that start together."""
    one, other = (_unit(bones(poses, joints)) for poses in (pred, target))
    return weighted_mean((one - other).norm(dim=-1).mean(-1), known)


def bones(poses: Float[Tensor, "*batch J 3"], joints: Skeleton) -> Float[Tensor, "*batch K 3"]:
    """Vectors from each joint's parent to the joint, without the root."""
    children, parents = (list(side) for side in zip(*joints.bones, strict=True))
    return poses[..., children, :] - poses[..., parents, :]


def _unit(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-3)


def _pairs(known: Float[Tensor, "B T"]) -> Float[Tensor, "B S"]:
    """Changes are known between two frames that are."""
    return known[:, 1:] * known[:, :-1]
