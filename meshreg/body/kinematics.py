"""Rotations down a tree of joints: local to world and back, and where the joints end up."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def world_rotations(
    local_rotmat: Float[Tensor, "*batch J 3 3"], parents: Sequence[int]
) -> Float[Tensor, "*batch J 3 3"]:
    """Each joint's rotation in the world; parents must come before their children."""
    world: list[Tensor] = []
    for joint, parent in enumerate(parents):
        assert parent < joint, (joint, parent)
        local = local_rotmat[..., joint, :, :]
        world.append(local if parent < 0 else world[parent] @ local)
    return torch.stack(world, -3)


def local_rotations(
    world_rotmat: Float[Tensor, "*batch J 3 3"], parents: Sequence[int]
) -> Float[Tensor, "*batch J 3 3"]:
    """Each joint's rotation relative to its parent: undoes `world_rotations`."""
    above = world_rotmat[..., [max(parent, 0) for parent in parents], :, :]
    rootless = torch.tensor([parent < 0 for parent in parents], device=world_rotmat.device)
    relative = above.transpose(-1, -2) @ world_rotmat
    return torch.where(rootless[:, None, None], world_rotmat, relative)


def joint_positions(
    world_rotmat: Float[Tensor, "*batch J 3 3"],
    rest_offsets: Float[Tensor, "*#batch J 3"],
    parents: Sequence[int],
) -> Float[Tensor, "*batch J 3"]:
    """Where the joints are when each sits at an offset in its parent's frame.

    The offset of a joint without a parent is its position.
    """
    places: list[Tensor] = []
    for joint, parent in enumerate(parents):
        offset = rest_offsets[..., joint, :]
        if parent >= 0:
            turned = world_rotmat[..., parent, :, :] @ offset[..., None]
            offset = places[parent] + turned[..., 0]
        places.append(offset.expand(*world_rotmat.shape[:-3], 3))
    return torch.stack(places, -2)


def offsets_of(
    joints: Float[Tensor, "*batch J 3"], parents: Sequence[int]
) -> Float[Tensor, "*batch J 3"]:
    """From positions of the unposed joints to each one's offset from its parent."""
    above = joints[..., [max(parent, 0) for parent in parents], :]
    rootless = torch.tensor([parent < 0 for parent in parents], device=joints.device)
    return torch.where(rootless[:, None], joints, joints - above)
