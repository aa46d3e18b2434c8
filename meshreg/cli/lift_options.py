"""What `meshreg lift` can be told about the work on the skeleton."""

from dataclasses import dataclass
from typing import Literal

from meshreg.cli.options import LiftOptions


@dataclass(frozen=True)
class RefinedLiftOptions(LiftOptions):
    """Lift one person's 2D joints over time to a 3D skeleton and a moving body.

    Args:
        overlap: Windows of lifters of whole sequences overlap by two thirds and are averaged, which
            takes three times as long; "false" puts one after the other, as papers do.
        refine: "uao" moves the skeleton towards the 2D joints as far as the lifter is unsure of it;
            for lifters that tell their uncertainty, and cameras that are known.
        root: How --refine finds out where the person is: by the likeliest place in each frame,
            evened out over time ("steady") or not ("likely"), by plain least squares ("solved"), or
            from the size of the average body ("stature").
        iterations: Steps of --refine.
    """

    overlap: bool = True
    refine: Literal["none", "uao"] = "none"
    root: Literal["steady", "likely", "solved", "stature"] = "steady"
    iterations: int = 4
