"""Errors of movement, along one sequence of frames at a steady rate."""

from jaxtyping import Float
from torch import Tensor

from meshreg.metrics.joints import joint_errors


def mpjve(
    pred: Float[Tensor, "*batch T J 3"], target: Float[Tensor, "*batch T J 3"], fps: float = 1.0
) -> Float[Tensor, "*batch"]:
    """Mean error of the joints' velocities, per frame or, with `fps`, per second."""
    _check_length(pred, 2)
    return joint_errors(pred.diff(dim=-3), target.diff(dim=-3)).mean((-1, -2)) * fps


def acceleration_error(
    pred: Float[Tensor, "*batch T J 3"], target: Float[Tensor, "*batch T J 3"], fps: float = 1.0
) -> Float[Tensor, "*batch"]:
    """Mean error of the joints' accelerations, per frame (or with `fps` per second) squared.

    Kanazawa et al. (2019) give it in mm per frame squared.
    """
    _check_length(pred, 3)
    errors = joint_errors(pred.diff(n=2, dim=-3), target.diff(n=2, dim=-3))
    return errors.mean((-1, -2)) * fps**2


def _check_length(poses: Float[Tensor, "*batch T J 3"], shortest: int) -> None:
    frames = poses.shape[-3]
    assert frames >= shortest, f"{frames} frames: this needs {shortest} or more"
