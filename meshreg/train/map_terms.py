"""The terms of the loss that look at joint maps, for networks that have them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.data.sample import Batch
from meshreg.errors import InputError
from meshreg.losses.joint_maps import cell_error, depth_behind_pelvis, depth_error, doubt
from meshreg.losses.keypoints import reprojection
from meshreg.models.outputs import JointEvidence
from meshreg.train.hmr_config import LossConfig


class MapTerms:
    """Where and how deep a network saw the joints, and how well it knows its own errors."""

    def __init__(self, config: LossConfig) -> None:
        self.norm, self.knows_3d = config.norm, config.supervision == "3d"

    def __call__(
        self, evidence: JointEvidence | None, batch: Batch
    ) -> dict[str, Callable[[], Tensor]]:
        """The terms by name.

        Raises:
            InputError: if the network has no joint maps.
        """
        if evidence is None:
            raise InputError(
                "losses.map_cells, map_points, map_depth and map_doubt need a model with joint "
                "maps, such as hmr_small: set model.builder, or leave these terms out."
            )
        size = batch.image.shape[-1]
        weight = self._seen(batch, size).to(batch.K)
        points_px = evidence.points_px(size)
        target = (batch.joints_px + 0.5) / (size / 2) - 1
        return {
            "map_cells": lambda: cell_error(evidence.log_share, target, weight),
            "map_points": lambda: reprojection(
                points_px, batch.joints_px, weight, scale_px=size / 2, norm=self.norm
            ),
            "map_depth": lambda: depth_error(evidence.depth, batch.joints_cam, batch.joints_weight),
            "map_doubt": lambda: self._doubt(evidence, batch, points_px, weight),
        }

    def _doubt(
        self,
        evidence: JointEvidence,
        batch: Batch,
        points_px: Float[Tensor, "B 45 2"],
        weight: Float[Tensor, "B 45"],
    ) -> Float[Tensor, ""]:
        half_side = batch.image.shape[-1] / 2
        error = (points_px - batch.joints_px).abs().mean(-1) / half_side
        in_picture = doubt(error, evidence.log_spread, weight)
        if not self.knows_3d:
            return in_picture
        target, known = depth_behind_pelvis(batch.joints_cam, batch.joints_weight)
        return in_picture + doubt(evidence.depth - target, evidence.log_depth_spread, known)

    def _seen(self, batch: Batch, size: int) -> Bool[Tensor, "B 45"]:
        """Which joints the maps can be asked for: those in the picture that somebody knows.

        What stands behind others is known to those who know the body in 3D.
        """
        seen = batch.joints_visible
        if self.knows_3d:
            inside = ((batch.joints_px > -0.5) & (batch.joints_px < size - 0.5)).all(-1)
            seen = seen | (inside & (batch.joints_weight > 0) & _has_place(batch)[:, None])
        return seen


def _has_place(batch: Batch) -> Bool[Tensor, " B"]:
    """Whose joints are known in the camera and not only relative to each other."""
    return torch.as_tensor(batch.transl_weight > 0)
