"""The terms of the loss that look at joint maps, for networks that have them."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.data.sample import Batch
from meshreg.errors import InputError
from meshreg.losses.joint_maps import cell_error, depth_behind_pelvis, depth_error, doubt
from meshreg.losses.keypoints import reprojection
from meshreg.models.outputs import JointEvidence
from meshreg.train.hmr_config import LossConfig

_SHARED = set(SKELETONS["smplx45"].joints) & set(SKELETONS["spin49"].joints)
OWN = SKELETONS["smplx45"].index(*sorted(_SHARED))
ANNOTATED = SKELETONS["spin49"].index(*sorted(_SHARED))


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
        places_px, weight = self._places(batch, size)
        points_px = evidence.points_px(size)
        target = (places_px + 0.5) / (size / 2) - 1
        return {
            "map_cells": lambda: cell_error(evidence.log_share, target, weight),
            "map_points": lambda: reprojection(
                points_px, places_px, weight, scale_px=size / 2, norm=self.norm
            ),
            "map_depth": lambda: depth_error(evidence.depth, batch.joints_cam, batch.joints_weight),
            "map_doubt": lambda: self._doubt(evidence, batch, points_px - places_px, weight),
        }

    def _doubt(
        self,
        evidence: JointEvidence,
        batch: Batch,
        error_px: Float[Tensor, "B 45 2"],
        weight: Float[Tensor, "B 45"],
    ) -> Float[Tensor, ""]:
        half_side = batch.image.shape[-1] / 2
        error = error_px.abs().mean(-1) / half_side
        in_picture = doubt(error, evidence.log_spread, weight)
        if not self.knows_3d:
            return in_picture
        target, known = depth_behind_pelvis(batch.joints_cam, batch.joints_weight)
        return in_picture + doubt(evidence.depth - target, evidence.log_depth_spread, known)

    def _places(
        self, batch: Batch, size: int
    ) -> tuple[Float[Tensor, "B 45 2"], Float[Tensor, "B 45"]]:
        """Where joints appear, and how much that counts.

        Of joints that the body does not tell, what annotators call by the same name counts.
        """
        told = self._seen(batch, size)
        drawn_px = batch.keypoints_px[:, ANNOTATED]
        weight = batch.keypoints_weight[:, ANNOTATED] * _inside(drawn_px, size)
        places_px, weights = batch.joints_px.clone(), told.to(batch.K)
        places_px[:, OWN] = torch.where(told[:, OWN, None], places_px[:, OWN], drawn_px)
        weights[:, OWN] = torch.where(told[:, OWN], weights[:, OWN], weight)
        return places_px, weights

    def _seen(self, batch: Batch, size: int) -> Bool[Tensor, "B 45"]:
        """Which of the body's joints the maps can be asked for: those in the picture.

        What stands behind others is known to those who know the body in 3D.
        """
        seen = batch.joints_visible
        if self.knows_3d:
            known = (batch.joints_weight > 0) & (batch.transl_weight > 0)[:, None]
            seen = seen | (_inside(batch.joints_px, size) & known)
        return seen


def _inside(points_px: Float[Tensor, "B J 2"], size: int) -> Bool[Tensor, "B J"]:
    return ((points_px > -0.5) & (points_px < size - 0.5)).all(-1)
