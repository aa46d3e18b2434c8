"""The loss of a lifter: what it says of windows against how people really moved."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton
from meshreg.data.lifting import LiftingBatch
from meshreg.geometry.windows import middle
from meshreg.lifters.gla_gcn import LocalGlobal
from meshreg.lifters.hot import KeptPoses
from meshreg.lifters.uao import UncertainPoses
from meshreg.losses.lifting import (
    bone_direction_loss,
    bone_length_loss,
    joint_weights,
    position_loss,
    smoothness_loss,
    uncertainty_loss,
    velocity_loss,
)
from meshreg.losses.terms import Term
from meshreg.train.lifter_config import LifterLossConfig


class LifterTerms(nn.Module):
    """Calls the network on a batch and names every term of its loss, with its weight."""

    weight: Tensor  # (J,)

    def __init__(self, config: LifterLossConfig, joints: Skeleton) -> None:
        super().__init__()
        self.config, self.joints = config, joints
        weights = joint_weights(joints) if config.joints == "weighted" else (1.0,) * len(joints)
        self.register_buffer("weight", torch.tensor(weights), persistent=False)

    def forward(
        self, predict: Callable[..., Any], batch: LiftingBatch, step: int
    ) -> Mapping[str, Term]:
        """The terms; they measure the frames that the network predicts."""
        wants_more = max(self.config.sequence, self.config.uncertainty) > 0
        whole = {"whole": True} if wants_more else {}
        output = predict(batch.x, **whole)
        values: dict[str, Callable[[], Tensor]] = {}
        if isinstance(output, LocalGlobal):
            poses = output.sequence
            values["sequence"] = lambda: position_loss(poses, batch.poses, self.weight, batch.known)
            output = output.centre
        log_scale = output.log_scale if isinstance(output, UncertainPoses) else None
        output = output.poses if isinstance(output, UncertainPoses) else output
        pred, target, known = matched(output, batch)
        if log_scale is not None:
            values["uncertainty"] = lambda: uncertainty_loss(pred, log_scale, target, known)
        values |= {
            "position": lambda: position_loss(pred, target, self.weight, known),
            "smoothness": lambda: smoothness_loss(pred, self.weight, known),
            "velocity": lambda: velocity_loss(pred, target, known),
            "bone_length": lambda: bone_length_loss(pred, target, self.joints, known),
            "bone_direction": lambda: bone_direction_loss(pred, target, self.joints, known),
        }
        weights = self.config.terms()
        return {name: Term(weights[name], value) for name, value in values.items()}


def matched(
    output: Any, batch: LiftingBatch
) -> tuple[Float[Tensor, "B S J 3"], Float[Tensor, "B S J 3"], Float[Tensor, "B S"]]:
    """Predicted poses, the true ones of the same frames, and the frames' weights."""
    if isinstance(output, KeptPoses):
        rows = torch.arange(len(batch), device=output.frames.device)[:, None]
        return output.poses, batch.poses[rows, output.frames], batch.known[rows, output.frames]
    if output.shape[1] == batch.poses.shape[1]:
        return output, batch.poses, batch.known
    centre = slice(middle(batch.poses.shape[1]), middle(batch.poses.shape[1]) + 1)
    return output, batch.poses[:, centre], batch.known[:, centre]
