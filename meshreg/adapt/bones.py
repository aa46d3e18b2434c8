"""Poses as bones: which there are, what belongs together, and the way there and back."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import Skeleton, mirrored_name
from meshreg.errors import InputError

_NEEDED = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")


@dataclass(frozen=True, eq=False)
class BoneTree:
    """The bones of a joint set, parents before children; joint sets need hips and shoulders."""

    joints: Skeleton
    children: tuple[int, ...]  # joint at the outer end of each bone
    parents: tuple[int, ...]  # joint at its inner end
    root: int
    trunk: tuple[int, ...]  # bones from the root to where the shoulders begin
    parts: tuple[tuple[int, ...], ...]  # bones of left arm, right arm, right leg, left leg, torso
    length_of: tuple[int, ...]  # for each bone the number of its length; both sides share one
    fixed_length: int  # number of the length that stays: the upper end of the trunk
    ancestry: Float[Tensor, "J K"]  # one where a bone lies between the root and a joint

    def __len__(self) -> int:
        return len(self.children)

    @property
    def num_lengths(self) -> int:
        return max(self.length_of) + 1


@lru_cache(maxsize=16)
def bone_tree(joints: Skeleton) -> BoneTree:
    """The bones of a joint set.

    Raises:
        InputError: if it has no hips or shoulders, or they are not outside the trunk.
    """
    root = joints.parents.index(-1)
    missing = [name for name in _NEEDED if name not in joints.joints]
    if missing:
        raise InputError(f"{joints.name} has no {', '.join(missing)}: choose a set such as h36m16.")
    children = _parents_first(joints, root)
    paths = {child: _path(joints, child) for child in range(len(joints))}
    left, right = (paths[place] for place in joints.index("left_shoulder", "right_shoulder"))
    trunk = tuple(children.index(j) for j in left if j in right)
    if not trunk:
        raise InputError(f"{joints.name} has no bone from hips to shoulders: choose h36m16.")
    ancestry = torch.zeros(len(joints), len(children))
    for joint, path in paths.items():
        ancestry[joint, [children.index(j) for j in path]] = 1.0
    numbers = _shared_lengths([joints.joints[child] for child in children])
    return BoneTree(
        joints=joints,
        children=children,
        parents=tuple(joints.parents[child] for child in children),
        root=root,
        trunk=trunk,
        parts=_parts(joints, children, paths, trunk),
        length_of=numbers,
        fixed_length=numbers[trunk[-1]],
        ancestry=ancestry,
    )


def bone_vectors(poses: Float[Tensor, "*batch J 3"], tree: BoneTree) -> Float[Tensor, "*batch K 3"]:
    """From the outer end of each bone to its inner end, which is PoseAug's direction."""
    return poses[..., list(tree.parents), :] - poses[..., list(tree.children), :]


def pose_of_bones(
    bones: Float[Tensor, "*batch K 3"], tree: BoneTree
) -> Float[Tensor, "*batch J 3"]:
    """The pose with these bones, measured from the root joint."""
    return -(tree.ancestry.to(bones) @ bones)


def unit(vectors: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Vectors of length one; those without a direction stay short."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-6)


def _parents_first(joints: Skeleton, root: int) -> tuple[int, ...]:
    placed, children = {root}, []
    while len(placed) < len(joints):
        for child, parent in joints.bones:
            if parent in placed and child not in placed:
                placed.add(child)
                children.append(child)
    return tuple(children)


def _path(joints: Skeleton, joint: int) -> list[int]:
    """The joints from below the root to this one."""
    path: list[int] = []
    while joints.parents[joint] >= 0:
        path.insert(0, joint)
        joint = joints.parents[joint]
    return path


def _shared_lengths(names: list[str]) -> tuple[int, ...]:
    """Numbers in order of appearance; a bone on the other side has the number of its image."""
    numbers: dict[str, int] = {}
    for name in names:
        number = numbers.get(mirrored_name(name), len(set(numbers.values())))
        numbers.setdefault(name, number)
    return tuple(numbers[name] for name in names)


def _parts(
    joints: Skeleton, children: tuple[int, ...], paths: dict[int, list[int]], trunk: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    def limb(name: str) -> list[int]:
        (start,) = joints.index(name)
        return [bone for bone, child in enumerate(children) if start in paths[child]]

    hips = {side: limb(f"{side}_hip") for side in ("left", "right")}
    arms = {side: limb(f"{side}_shoulder") for side in ("left", "right")}
    middle = [
        b for b, c in enumerate(children) if mirrored_name(joints.joints[c]) == joints.joints[c]
    ]
    firsts = [limb_bones[0] for limb_bones in (*hips.values(), *arms.values())]
    return (
        tuple(sorted([trunk[-1], *arms["left"]])),
        tuple(sorted([trunk[-1], *arms["right"]])),
        tuple(sorted([*hips["right"], hips["left"][0], trunk[0]])),
        tuple(sorted([*hips["left"], hips["right"][0], trunk[0]])),
        tuple(sorted({*middle, *firsts})),
    )
