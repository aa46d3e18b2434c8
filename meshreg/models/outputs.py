"""What regressors say: raw parameters inside a head, a body in front of a camera outside."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class JointEvidence:
    """Where a network saw each joint, before any body explains it, and how sure it was.

    The spreads are those of Laplace distributions, whose mean absolute error they are.
    """

    points: Float[Tensor, "B J 2"]  # in the crop, whose borders are at -1 and 1; x right, y down
    depth: Float[Tensor, "B J"]  # metres behind the pelvis
    log_spread: Float[Tensor, "B J"]  # of each coordinate of `points`, log of half sides
    log_depth_spread: Float[Tensor, "B J"]  # log of metres
    log_share: Float[Tensor, "B J h w"]  # of each cell of the map, log; the shares sum to one

    def points_px(self, image_size: int) -> Float[Tensor, "B J 2"]:
        """The points in pixels of the crop; the centre of its first pixel is (0, 0)."""
        return (self.points + 1) * (image_size / 2) - 0.5

    def detach(self) -> "JointEvidence":
        """The same values without their history."""
        return JointEvidence(**{name: value.detach() for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class BodyState:
    """The numbers that a head starts from and refines; one row serves a whole batch."""

    pose_rot6d: Float[Tensor, "B 144"]  # 24 rotations, the root first; see geometry.rotations
    betas: Float[Tensor, "B S"]
    cam: Float[Tensor, "B 3"]  # weak perspective in the box: scale, shift x, shift y
    evidence: JointEvidence | None = None  # of heads that look for joints

    def expand(self, batch_size: int) -> "BodyState":
        """The same row for every sample of a batch, unless there is a row for each already."""
        return BodyState(
            pose_rot6d=self.pose_rot6d.expand(batch_size, -1),
            betas=self.betas.expand(batch_size, -1),
            cam=self.cam.expand(batch_size, -1),
        )


@dataclass(frozen=True, eq=False)
class BodyPrediction:
    """One body per picture, in the frame of the camera that the regressor was told about."""

    betas: Float[Tensor, "B S"]
    pose_rotmat: Float[Tensor, "B 24 3 3"]  # the root's rotation is in the camera frame
    # Weak perspective in the box whose half side is 1: scale, then shift in metres of the body
    cam: Float[Tensor, "B 3"]
    transl: Float[
        Tensor, "B 3"
    ]  # metres; in the camera of K_full, or of the crop if none was given
    steps: tuple["BodyPrediction", ...] = ()  # every refinement, the last one too; empty: not kept
    evidence: JointEvidence | None = None  # of networks that look for joints first

    def __len__(self) -> int:
        return len(self.betas)

    def detach(self) -> "BodyPrediction":
        """The same values without their history."""
        return BodyPrediction(
            betas=self.betas.detach(),
            pose_rotmat=self.pose_rotmat.detach(),
            cam=self.cam.detach(),
            transl=self.transl.detach(),
            steps=tuple(step.detach() for step in self.steps),
            evidence=self.evidence.detach() if self.evidence else None,
        )
