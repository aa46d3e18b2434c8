"""Every number of the fit in one place; imports nothing heavy, for the command line's sake."""

import math
from dataclasses import dataclass, fields, replace

from meshreg.errors import InputError


@dataclass(frozen=True)
class FitSettings:
    """Every number of the fit. Energies are negative log likelihoods in nats.

    Args:
        candidates: Starting poses.
        neighbours: The same where a body is given to start from, which is one of them.
        finalists: Different bodies that meet the coarse mask.
        last: How many of them are adjusted to the end; the lowest energy wins.
        coarse_px: Longer side of the mask that chooses between the finalists.
        fine_px: Longer side of the mask for the final adjustment.
        coarse_sigma: Keypoint noise in shares of the person's size, first stage.
        sigma: The same while choosing, and to the end without a mask.
        fine_sigma: The same at the end with a mask.
        pose_weight: Of the pose prior; below one, for mocap does not hold every pose.
        fine_pose_weight: The same at the end with a mask, which says more than the prior.
        limit_weight: Per rad^2 beyond the range seen in mocap.
        unseen_weight: Per rad^2 off a relaxed pose, for rotations no keypoint shows.
        start_weight: Per rad^2 off the pose of a given start.
        mask_weight: If all of the person's area were wrong.
        part_weight: If all of it were skin under the wrong part.
        outside_weight: If the mean vertex were one person's size outside the mask.
        steps: Optimisation steps of the stages place, pose, pose, mask and adjust.
        start_steps: The same where a body is given to start from.
    """

    candidates: int = 96
    neighbours: int = 6
    finalists: int = 12
    last: int = 5
    coarse_px: int = 128
    fine_px: int = 224
    coarse_sigma: float = 0.03
    sigma: float = 0.01
    fine_sigma: float = 0.006
    pose_weight: float = 0.5
    fine_pose_weight: float = 0.15
    limit_weight: float = 50.0
    unseen_weight: float = 4.0
    start_weight: float = 4.0
    mask_weight: float = 600.0
    part_weight: float = 600.0
    outside_weight: float = 2000.0
    steps: tuple[int, int, int, int, int] = (30, 80, 80, 50, 150)
    start_steps: tuple[int, int, int, int, int] = (0, 40, 40, 50, 100)

    @property
    def total_steps(self) -> int:
        return sum(self.steps)

    def from_start(self) -> "FitSettings":
        """The settings of a fit that is given a body to start from."""
        return replace(self, candidates=self.neighbours, steps=self.start_steps)

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check(field.name)

    def _check(self, name: str) -> None:
        """Counts and sizes are at least one, noise is positive, weights and steps not negative."""
        value = getattr(self, name)
        numbers = value if isinstance(value, tuple) else (value,)
        lowest = (
            1
            if name in ("candidates", "neighbours", "finalists", "last", "coarse_px", "fine_px")
            else 0
        )
        above = "sigma" in name
        if not all(math.isfinite(n) and (n > 0 if above else n >= lowest) for n in numbers):
            wanted = "more than 0" if above else f"at least {lowest}"
            raise InputError(f"the fit's setting {name} must be {wanted}, not {value}.")
