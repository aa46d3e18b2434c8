"""Joints of mirrored pictures and scenes."""

from jaxtyping import Float
from torch import Tensor


def mirror(x: Float[Tensor, "*batch J C"], flip: tuple[int, ...]) -> Float[Tensor, "*batch J C"]:
    """The joints seen in a mirror: x negated, each joint in the place of its counterpart.

    `flip` is that of the joint set; x must be measured from the middle of the picture or the root.
    """
    turned = x[..., list(flip), :].clone()
    turned[..., 0] = -turned[..., 0]
    return turned
