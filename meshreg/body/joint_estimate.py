"""What a network that sees joints, not parameters, says of a body."""

from dataclasses import dataclass, fields

from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import skeleton

# The joints of PersPose: SMPL's, then the pelvis of Human3.6M, which its regressor puts elsewhere
NUM_JOINTS = 25
PELVIS = 24
FLIP = (*skeleton("smpl24").flip, PELVIS)
LEAF_FLIP = (1, 0, 3, 2, 4)  # of ortho_twists.LEAVES


@dataclass(frozen=True, eq=False)
class JointEstimate:
    """One body per picture, in the camera of the picture."""

    points_px: Float[Tensor, "B 25 2"]  # pixels of the crop
    depth: Float[Tensor, "B 25"]  # metres behind the root, which is 0
    density: Float[Tensor, "B 25"]  # metres that a pixel covers at the joint
    joints_cam: Float[Tensor, "B 25 3"]  # metres
    # Body's backward direction across each joint's bone, any length; see body.ortho_twists
    twists: Float[Tensor, "B 25 3"]
    leaf_rotmat: Float[Tensor, "B 5 3 3"]  # local rotations of hands, feet and head
    betas: Float[Tensor, "B S"]

    def __len__(self) -> int:
        return len(self.betas)

    def detach(self) -> "JointEstimate":
        """The same values without their history."""
        return JointEstimate(
            **{field.name: getattr(self, field.name).detach() for field in fields(self)}
        )
