"""Every number of the fit in one place; imports nothing, so that a command line can read it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Every number of the fit. Energies are negative log likelihoods in nats."""

    candidates: int = 96  # starting poses
    finalists: int = 12  # different bodies that meet the coarse mask
    last: int = 5  # of them that are adjusted to the end; the lowest energy wins
    coarse_px: int = 128  # longer side of the mask that chooses between the finalists
    fine_px: int = 224  # longer side of the mask for the final adjustment
    coarse_sigma: float = 0.03  # keypoint noise in shares of the person's size, first stage
    sigma: float = 0.01  # the same while choosing
    fine_sigma: float = 0.006  # the same at the end
    pose_weight: float = 0.3  # below one: mocap does not hold every pose
    fine_pose_weight: float = 0.15
    limit_weight: float = 50.0  # per rad^2 beyond the range seen in mocap
    unseen_weight: float = 4.0  # per rad^2 off a relaxed pose, for rotations no keypoint shows
    mask_weight: float = 600.0  # if all of the person's area were wrong
    part_weight: float = 600.0  # if all of it were skin under the wrong part
    outside_weight: float = 2000.0  # if the mean vertex were one person's size outside the mask
    steps: tuple[int, int, int, int, int] = (30, 80, 80, 50, 150)

    @property
    def total_steps(self) -> int:
        return sum(self.steps)
