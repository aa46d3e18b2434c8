"""The six-number form of rotations (Zhou et al. 2019), in the layout that regressors use.

The six numbers are the first two columns of the matrix written row by row, so numbers 0, 2, 4 are
the first column and 1, 3, 5 the second. Other libraries write two rows one after the other.
"""

import roma
from jaxtyping import Float
from torch import Tensor

SHORTEST = 1e-12  # a column shorter than this is not stretched to unit length


def rot6d_to_rotmat(rot6d: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation whose first two columns are nearest to the given ones, the first one first.

    Columns of zero length or in the same direction define no rotation: what comes back is finite.
    """
    return roma.special_gramschmidt(rot6d.unflatten(-1, (3, 2)), epsilon=SHORTEST)


def rotmat_to_rot6d(rotmat: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The six numbers of a rotation; `rot6d_to_rotmat` gives it back exactly."""
    return rotmat[..., :2].flatten(-2)
