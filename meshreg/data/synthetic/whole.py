"""Whole synthetic pictures, as photographs come, rather than squares cut out around people."""

from dataclasses import replace

from meshreg.data.boxes import square_around, whole_picture
from meshreg.data.synthetic.cameras import crop_K
from meshreg.data.synthetic.scene import Planner, ScenePlan, rounded


class WholePlanner(Planner):
    """Plans the same scenes as `Planner`, but draws everything that their cameras see."""

    def plan(self, index: int) -> ScenePlan:
        """The plan of sample number `index`; its square is the whole picture, letter-boxed."""
        return whole(super().plan(index))


def whole(plan: ScenePlan) -> ScenePlan:
    """The plan with the square around the full picture instead of the one around a person."""
    box = square_around(whole_picture(plan.full_size))
    return replace(plan, box=box, K=rounded(crop_K(plan.K_full, box, plan.size)))
