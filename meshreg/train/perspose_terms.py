"""What PersPose has to learn of a batch: joints, twists and stature, computed from known bodies."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.joint_estimate import JointEstimate
from meshreg.body.ortho_twists import LEAVES, pose_twists
from meshreg.body.regressor import JointRegressor
from meshreg.body.smpl import Body
from meshreg.data.sample import KEYPOINTS, Batch
from meshreg.losses.perspose import ANNOTATED, CAPTURED, PersPoseTruth, perspose_terms
from meshreg.losses.terms import Term
from meshreg.train.perspose_config import PersPoseLossConfig

H36M = "h36m17"
_LOG = logging.getLogger(__name__)
# Where annotated joints are among a sample's keypoints: those that people drew, not detectors
_ANNOTATED = KEYPOINTS.index(*(f"{name}_lsp" for name in ANNOTATED))
_CAPTURED = KEYPOINTS.index("pelvis_mpii", *(f"{name}_lsp" for name in CAPTURED[1:]))


class PersPoseTerms(nn.Module):
    """Calls the network on a batch and names every term of its loss."""

    def __init__(self, config: PersPoseLossConfig, body: Body) -> None:
        super().__init__()
        self.weights, self.truth = config.weights(), TruthOf(body)

    def forward(self, predict: Callable[..., Any], batch: Batch, step: int) -> Mapping[str, Term]:
        del step  # the weights stay as they are
        pred: JointEstimate = predict(batch.image, batch.K, known_camera=batch.K_weight > 0)
        return perspose_terms(pred, self.truth(batch, pred.betas.shape[1]), self.weights)


class TruthOf(nn.Module):
    """Turns what a batch says of its people into what PersPose is compared with."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body, self.pelvis = body, _pelvis_of(body)
        self.marks = None
        if self.pelvis is not None:
            self.marks = body.restricted_to(self.pelvis.vertex_indices)

    @torch.no_grad()
    def forward(self, batch: Batch, num_betas: int) -> PersPoseTruth:
        """The truth, with `num_betas` shape coefficients."""
        size = batch.image.shape[-1]
        betas = batch.betas
        known = (batch.betas_weight > 0) & (batch.pose_weight > 0).all(1)
        known = known & (batch.transl_weight > 0) & (batch.joints_weight[:, :24] > 0).all(1)
        # Somebody whose body is known needs no annotators.
        drawn = batch.keypoints_weight[:, _ANNOTATED] * ~known[:, None]
        caught = (batch.keypoints_cam_weight[:, _CAPTURED] > 0).all(1)
        return PersPoseTruth(
            K=batch.K,
            size=(size, size),
            stature=self.stature(betas),
            has_body=known,
            joints_cam=torch.cat([batch.joints_cam[:, :24], self._pelvis(batch)], 1),
            twists=pose_twists(batch.pose_rotmat, self.body.rest_joints(betas)),
            leaf_rotmat=batch.pose_rotmat[:, LEAVES],
            betas=nn.functional.pad(betas, (0, num_betas - betas.shape[1])),
            points_weight=torch.ones_like(batch.K_weight),
            annotated_px=batch.keypoints_px[:, _ANNOTATED],
            annotated=drawn,
            captured_cam=batch.keypoints_cam[:, _CAPTURED],
            captured=caught & (batch.transl_weight > 0) & ~known,
        )

    def stature(self, betas: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
        """From the soles to the top of the head of the unposed body, metres."""
        height = self.body.v_template[:, 1] + betas @ self.body.shapedirs[:, 1].T
        return height.amax(1) - height.amin(1)

    def _pelvis(self, batch: Batch) -> Float[Tensor, "B 1 3"]:
        """Human3.6M's pelvis, which lies elsewhere than the body's own."""
        if self.pelvis is None or self.marks is None:
            return batch.joints_cam[:, :1]
        marks, _ = self.marks.skin(batch.betas, batch.pose_rotmat, batch.transl)
        place = self.pelvis.skeleton.index("pelvis")
        return torch.einsum("jn,bnx->bjx", self.pelvis.weight[place], marks)


def _pelvis_of(body: Body) -> JointRegressor | None:
    if H36M in body.data.regressors:
        return JointRegressor.from_body(body.data, H36M)
    _LOG.warning(
        "%s has no regressor of Human3.6M's joints: the network's 25th joint will be the body's "
        "own pelvis.",
        body.data.name,
    )
    return None
