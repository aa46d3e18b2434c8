"""How far predicted joints are from the known ones: the body's own, and those people annotated."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.annotated import AnnotatedJoints
from meshreg.body.smpl import Body, BodyOutput
from meshreg.data.sample import Batch
from meshreg.geometry.cameras import project
from meshreg.losses.keypoints import Norm, from_middle, from_root, mean_size, reprojection


class JointTerms(nn.Module):
    """The terms of joints; each is one mean over both kinds, so that what is known decides."""

    def __init__(self, body: Body, norm: Norm) -> None:
        super().__init__()
        self.annotated, self.norm = AnnotatedJoints(body), norm

    def in_picture(self, posed: BodyOutput, batch: Batch) -> Float[Tensor, ""]:
        """In half sides of the picture."""
        keypoints = self.annotated(posed.vertices, posed.joints)
        points = project(torch.cat([posed.joints, keypoints], 1), batch.K)
        known = batch.keypoints_weight * self.annotated.known
        return reprojection(
            points,
            torch.cat([batch.joints_px, batch.keypoints_px], 1),
            torch.cat([batch.joints_visible.to(known), known], 1),
            scale_px=batch.image.shape[-1] / 2,
            norm=self.norm,
        )

    def in_space(self, posed: BodyOutput, batch: Batch) -> Float[Tensor, ""]:
        """In metres; joints from the pelvis, annotated ones from the middle of those known."""
        keypoints = self.annotated(posed.vertices, posed.joints)
        known = batch.keypoints_cam_weight * self.annotated.known
        parts = (
            from_root(posed.joints, batch.joints_cam, batch.joints_weight),
            from_middle(keypoints, batch.keypoints_cam, known),
        )
        difference, weight = (torch.cat(both, 1) for both in zip(*parts, strict=True))
        return mean_size(difference, weight, self.norm)
