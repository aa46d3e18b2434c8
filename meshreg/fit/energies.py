"""The energies of the fit: what makes one candidate body better than another, in nats."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from meshreg.body.keypoints import BodyKeypoints
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body
from meshreg.fit.evidence import MaskTarget, Target2D
from meshreg.fit.settings import FitSettings
from meshreg.fit.variables import BodyVariables
from meshreg.geometry.cameras import project
from meshreg.losses.keypoints import joint_spread, robust_reprojection
from meshreg.losses.priors import PosePrior, shape_prior
from meshreg.losses.semantic import mask_mismatch, outside_distance, part_mismatch, soft_parts
from meshreg.render.rasterizer import Rasterizer


@dataclass(frozen=True, eq=False)
class Problem:
    """The 2D target and the body points that must meet it."""

    target: Target2D
    points: BodyKeypoints
    start: BodyVariables | None = None  # one body known to be roughly right

    @cached_property
    def spread(self) -> Float[Tensor, " J"]:
        """Noise of each keypoint relative to an average one."""
        return joint_spread(self.points.skeleton.joints)

    @cached_property
    def unseen(self) -> Float[Tensor, " 23"]:
        """For each joint but the root: 1 if no given keypoint turns with it, down to 0."""
        shown = (self.target.confidence[:, None] * self.points.shows()).sum(0)
        return (1 - shown[1:]).clamp(0, 1)


class Energies:
    """The terms of one candidate batch; settings, body, prior and rasteriser are its parts."""

    def __init__(
        self, *, body: Body, prior: PosePrior, rasterizer: Rasterizer, settings: FitSettings
    ) -> None:
        self.body, self.prior, self.rasterizer, self.settings = body, prior, rasterizer, settings
        self.parts = soft_parts(body.weights, SKELETONS["smpl24"].joints)

    def of_keypoints(
        self, v: BodyVariables, problem: Problem, sigma: float, pose_weight: float
    ) -> dict[str, Float[Tensor, " B"]]:
        s, target = self.settings, problem.target
        points, _ = problem.points(v.betas, v.pose_rotmat(), v.transl(self.body))
        return {
            "keypoints": robust_reprojection(
                project(points, target.K.expand(len(points), 3, 3)),
                target.points_px,
                target.confidence,
                sigma_px=sigma * target.scale_px * problem.spread,
            ),
            "pose": pose_weight * self.prior(v.body_pose),
            "limits": s.limit_weight * self.prior.beyond_limits(v.body_pose),
            "shape": shape_prior(v.betas),
        } | self._of_unseen(v, problem)

    def _of_unseen(self, v: BodyVariables, problem: Problem) -> dict[str, Float[Tensor, " B"]]:
        """What no keypoint shows stays as the start has it; without one, it is relaxed."""
        s, unseen = self.settings, problem.unseen
        if problem.start is None:
            return {"unseen": s.unseen_weight * self.prior.from_relaxed(v.body_pose, unseen)}
        away = (v.body_pose - problem.start.body_pose).square().sum(-1)
        return {
            "unseen": s.unseen_weight * (away * unseen).sum(-1),
            "start": s.start_weight * away.sum(-1),
        }

    def of_picture(
        self,
        v: BodyVariables,
        problem: Problem,
        mask: MaskTarget | None,
        sigma: float,
        pose_weight: float,
    ) -> dict[str, Float[Tensor, " B"]]:
        s = self.settings
        terms = self.of_keypoints(v, problem, sigma, pose_weight)
        if mask is None:
            return terms
        vertices, _ = self.body.skin(v.betas, v.pose_rotmat(), v.transl(self.body))
        K = mask.camera.K.expand(len(vertices), 3, 3)
        image = self.rasterizer.edge_semantic(
            vertices, self.body.faces, K, mask.camera.size, self.parts[None], cull_backfaces=True
        )
        outside = outside_distance(project(vertices, K), mask.target, scale_px=mask.scale_px)
        return terms | {
            "mask": s.mask_weight * mask_mismatch(image.alpha, mask.target),
            "parts": s.part_weight * part_mismatch(image.classes, mask.target),
            "outside": s.outside_weight * outside,
        }
