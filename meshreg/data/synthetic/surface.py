"""What a camera sees of dressed people, pixel by pixel, before any colour."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Surface:
    """The front surface of each person, alone in the picture; zeros where it is not hit."""

    hit: Bool[Tensor, "P H W"]
    label: Int[Tensor, "P H W"]  # Label of what is seen
    layer: Int[Tensor, "P H W"]  # outermost layer that covers the point; -1 on skin
    piece: Int[Tensor, "P H W"]  # 0 on the body's surface, else which loose piece
    part: Int[Tensor, "P H W"]  # the SMPL joint that moves the point most
    rest: Float[Tensor, "P H W 3"]  # the point on the average body in T-pose, metres
    normal: Float[Tensor, "P H W 3"]  # unit, camera frame, towards the camera
    depth: Float[Tensor, "P H W"]  # along the optical axis, metres
