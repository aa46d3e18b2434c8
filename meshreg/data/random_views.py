"""Random views of annotated people: each is cut out of its full picture turned, mirrored, resized.

What is done to whole batches of ready-cut pictures instead, in training, is in `augment`.
"""

import math
from dataclasses import dataclass

import numpy as np

from meshreg.data.crops import View


@dataclass(frozen=True)
class RandomViews:
    """How much chance to add; the defaults are those usual since SPIN (Kolotouros et al. 2019).

    Args:
        flip: How often pictures are mirrored, 0 to 1.
        roll_share: How often the camera is rolled, 0 to 1.
        roll_spread: Standard deviation of the roll in degrees; twice that is the most.
        scale_spread: Standard deviation of the box's relative size; once that is the most.
        shift_spread: Standard deviation of the box's place, in box sides; twice that is the most.
        gain_spread: Colour channels are multiplied by up to this much more or less.
    """

    flip: float = 0.5
    roll_share: float = 0.4
    roll_spread: float = 30.0
    scale_spread: float = 0.25
    shift_spread: float = 0.0
    gain_spread: float = 0.4

    def __post_init__(self) -> None:
        assert 0 <= self.flip <= 1 and 0 <= self.roll_share <= 1, self
        assert 0 <= self.scale_spread < 1 and 0 <= self.gain_spread <= 1, self

    def view(self, rng: np.random.Generator) -> View:
        """Draw one change of view."""
        flip, rolled = rng.random(2) < (self.flip, self.roll_share)
        roll, scale, right, down = rng.standard_normal(4)
        return View(
            scale=1 + self.scale_spread * float(scale.clip(-1, 1)),
            roll=math.radians(self.roll_spread) * float(roll.clip(-2, 2)) * bool(rolled),
            flip=bool(flip),
            shift=(
                self.shift_spread * float(right.clip(-2, 2)),
                self.shift_spread * float(down.clip(-2, 2)),
            ),
        )

    def recolored(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # (H, W, 3)
        """The picture, uint8, with every channel brighter or darker."""
        gains = 1 + self.gain_spread * rng.uniform(-1, 1, 3)
        return (image * gains).round().clip(0, 255).astype(np.uint8)
