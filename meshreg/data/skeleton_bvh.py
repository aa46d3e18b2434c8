"""A skeleton of joint positions as BVH: bones of constant length, and rotations that turn them.

In the zero pose the bones lie as in a body with its arms out (y up, facing +z, left = +x), each as
long as it is on average. A bone turns about itself as little as it can.
"""

from functools import cache

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.kinematics import joint_positions, local_rotations, offsets_of, world_rotations
from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import Skeleton
from meshreg.body.smpl import load_body
from meshreg.data.bvh import Bvh
from meshreg.data.skeleton_sequence import JOINT_SET, SkeletonSequence, check_sequence

# From x right, y down, z away to y up, z towards the viewer: half a turn about x.
R_UP_CAM = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def bvh_of_skeleton(sequence: SkeletonSequence) -> Bvh:
    """The motion as a hierarchy with rotations; metres, y up, the camera at the origin.

    Raises:
        InputError: if the sequence is none (see `check_sequence`).
    """
    check_sequence(sequence)
    tree = sequence.skeleton
    placed = torch.from_numpy(sequence.placed_cam.astype(np.float64)) @ R_UP_CAM.T
    bones = offsets_of(placed, tree.parents)
    rest = _rest_directions() * bones.norm(dim=-1).mean(0)[:, None]
    rest[0] = 0
    world = _world_rotations(bones, rest, tree)
    position = rest.repeat(len(placed), 1, 1)
    position[:, 0] = placed[:, 0]
    return Bvh(
        joints=tree.joints,
        parents=tree.parents,
        offsets=rest,
        local_rotmat=local_rotations(world, tree.parents),
        local_position=position,
        frame_time=1.0 / sequence.fps,
    )


def positions_of_bvh(bvh: Bvh) -> Float[Tensor, "T J 3"]:
    """Where the joints of a BVH file are, in its own axes and unit."""
    world = world_rotations(bvh.local_rotmat, bvh.parents)
    return joint_positions(world, bvh.local_position, bvh.parents)


@cache
def _rest_directions() -> Float[Tensor, "17 3"]:
    """Unit vectors of the bones of the built-in body, which stands upright with its arms out."""
    body = load_body()
    joints = JointRegressor.from_body(body.data, JOINT_SET)(body.v_template).double()
    tree = JointRegressor.from_body(body.data, JOINT_SET).skeleton
    return torch.nn.functional.normalize(offsets_of(joints, tree.parents), dim=-1)


def _world_rotations(
    bones: Float[Tensor, "T J 3"], rest: Float[Tensor, "J 3"], tree: Skeleton
) -> Float[Tensor, "T J 3 3"]:
    """Joints with several bones turn to fit all of them, others as little as theirs demands."""
    world: list[Tensor] = []
    for joint, parent in enumerate(tree.parents):
        children = [child for child, above in enumerate(tree.parents) if above == joint]
        above = world[parent] if parent >= 0 else torch.eye(3).to(bones).expand(len(bones), 3, 3)
        if len(children) > 1:
            world.append(roma.special_procrustes(bones[:, children].mT @ rest[children]))
        elif children:
            (child,) = children
            world.append(_smallest_turn(above @ rest[child], bones[:, child]) @ above)
        else:
            world.append(above)
    return torch.stack(world, 1)


def _smallest_turn(
    start: Float[Tensor, "T 3"], end: Float[Tensor, "T 3"]
) -> Float[Tensor, "T 3 3"]:
    """The smallest rotation from one direction to another; half a turn where they are opposite."""
    start, end = (torch.nn.functional.normalize(v, dim=-1) for v in (start, end))
    across = torch.linalg.cross(start, end, dim=-1)
    # Any direction across serves for opposite ones: that with the axis least along them.
    least = torch.eye(3).to(start)[start.abs().argmin(-1)]
    spare = torch.nn.functional.normalize(torch.linalg.cross(start, least, dim=-1), dim=-1)
    sine, cosine = across.norm(dim=-1), (start * end).sum(-1)
    axis = torch.where(sine[:, None] > 1e-9, across / sine.clamp_min(1e-9)[:, None], spare)
    return roma.rotvec_to_rotmat(torch.atan2(sine, cosine)[:, None] * axis)
