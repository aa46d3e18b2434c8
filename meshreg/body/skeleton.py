"""Named joint sets: their order, their tree, which joints mirror each other, how sets map.

Joints are found by name. Two joints share a name only if they are meant to be the same point of
the body; where annotators or regressors mean another point, the name says whose: `neck` is SMPL's
joint, `neck_lsp` the one of LSP, `thorax` Human3.6M's. Plain hips differ a little between sets all
the same (SMPL's and OpenPose's sit deeper than those of LSP, COCO and Human3.6M, by up to some
centimetres); they keep one name except where a set holds both kinds (`left_hip`, `left_hip_lsp`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of named joints that form a tree."""

    name: str  # key in `SKELETONS`
    joints: tuple[str, ...]  # unique names, in the order of the arrays
    parents: tuple[int, ...]  # index of each joint's parent; -1 for the root

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, *names: str) -> list[int]:
        """Where the named joints are.

        Raises:
            InputError: if a name is not in this set.
        """
        for name in names:
            if name not in self.joints:
                raise InputError(_unknown(f"joint of {self.name}", name, self.joints))
        return [self.joints.index(name) for name in names]

    @property
    def flip(self) -> tuple[int, ...]:
        """For each joint its mirror image: `joints[flip]` undoes the mirroring of a picture."""
        return tuple(self.joints.index(mirrored_name(name)) for name in self.joints)

    @property
    def bones(self) -> list[tuple[int, int]]:
        """Pairs of (child, parent), one for every joint but the root."""
        return [(child, parent) for child, parent in enumerate(self.parents) if parent >= 0]


class JointMap(NamedTuple):
    """Where to find the joints of one set in another; unpacks as (places, found)."""

    places: list[int]  # for each target joint its place in the source; 0 if it has none
    found: list[bool]  # false: the source has no such joint, so its weight must be zero


def mirrored_name(name: str) -> str:
    """The name of the joint on the other side of the body."""
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)


def _unknown(what: str, name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(known)}."
    return f"{name!r} is not a {what}: {hint}"


def _tree(name: str, text: str) -> Skeleton:
    """Build a set from words `joint<parent`, in the order of the joints; the root has no parent."""
    pairs = [word.partition("<") for word in text.split()]
    joints = tuple(joint for joint, _, _ in pairs)
    assert len(set(joints)) == len(joints), f"{name}: a joint is named twice"
    parents = tuple(joints.index(parent) if parent else -1 for _, _, parent in pairs)
    return Skeleton(name=name, joints=joints, parents=parents)


_SMPL = """
    pelvis left_hip<pelvis right_hip<pelvis spine1<pelvis left_knee<left_hip right_knee<right_hip
    spine2<spine1 left_ankle<left_knee right_ankle<right_knee spine3<spine2
    left_foot<left_ankle right_foot<right_ankle neck<spine3 left_collar<spine3 right_collar<spine3
    head<neck left_shoulder<left_collar right_shoulder<right_collar left_elbow<left_shoulder
    right_elbow<right_shoulder left_wrist<left_elbow right_wrist<right_elbow
    left_hand<left_wrist right_hand<right_wrist
"""
# The vertices that smplx reports after the 24 joints.
_SMPLX_LANDMARKS = """
    nose<head right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye
    left_big_toe<left_foot left_small_toe<left_foot left_heel<left_ankle
    right_big_toe<right_foot right_small_toe<right_foot right_heel<right_ankle
    left_thumb<left_hand left_index<left_hand left_middle<left_hand left_ring<left_hand
    left_pinky<left_hand right_thumb<right_hand right_index<right_hand right_middle<right_hand
    right_ring<right_hand right_pinky<right_hand
"""
# What the rows of the published J_regressor_extra.npy are.
_EXTRA = """
    right_hip_lsp<pelvis_mpii left_hip_lsp<pelvis_mpii neck_lsp<thorax_mpii head_top<head_h36m
    pelvis_mpii{root} thorax_mpii<spine_h36m spine_h36m<pelvis_mpii jaw_h36m<neck_lsp
    head_h36m<jaw_h36m
"""
_OPENPOSE = """
    nose<neck_openpose neck_openpose<mid_hip right_shoulder<neck_openpose
    right_elbow<right_shoulder right_wrist<right_elbow left_shoulder<neck_openpose
    left_elbow<left_shoulder left_wrist<left_elbow mid_hip right_hip<mid_hip right_knee<right_hip
    right_ankle<right_knee left_hip<mid_hip left_knee<left_hip left_ankle<left_knee
    right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye left_big_toe<left_ankle
    left_small_toe<left_big_toe left_heel<left_ankle right_big_toe<right_ankle
    right_small_toe<right_big_toe right_heel<right_ankle
"""
# The superset of annotated joints after the 25 of OpenPose: LSP's 14, the rest of `extra9`, a face.
_SPIN_ANNOTATED = """
    right_ankle_lsp<right_knee_lsp right_knee_lsp<right_hip_lsp right_hip_lsp<pelvis_mpii
    left_hip_lsp<pelvis_mpii left_knee_lsp<left_hip_lsp left_ankle_lsp<left_knee_lsp
    right_wrist_lsp<right_elbow_lsp right_elbow_lsp<right_shoulder_lsp
    right_shoulder_lsp<thorax_mpii left_shoulder_lsp<thorax_mpii left_elbow_lsp<left_shoulder_lsp
    left_wrist_lsp<left_elbow_lsp neck_lsp<thorax_mpii head_top<head_h36m pelvis_mpii<mid_hip
    thorax_mpii<spine_h36m spine_h36m<pelvis_mpii jaw_h36m<neck_lsp head_h36m<jaw_h36m
    nose_coco<jaw_h36m left_eye_coco<nose_coco right_eye_coco<nose_coco
    left_ear_coco<left_eye_coco right_ear_coco<right_eye_coco
"""
_COCO = """
    nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye
    left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder right_elbow<right_shoulder
    left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder right_hip<right_shoulder
    left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee
"""
_H36M = """
    pelvis right_hip<pelvis right_knee<right_hip right_ankle<right_knee
    left_hip<pelvis left_knee<left_hip left_ankle<left_knee spine_h36m<pelvis thorax<spine_h36m
    {neck} left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow
    right_shoulder<thorax right_elbow<right_shoulder right_wrist<right_elbow
"""
_LSP = """
    right_ankle<right_knee right_knee<right_hip_lsp right_hip_lsp<neck_lsp left_hip_lsp<neck_lsp
    left_knee<left_hip_lsp left_ankle<left_knee right_wrist<right_elbow right_elbow<right_shoulder
    right_shoulder<neck_lsp left_shoulder<neck_lsp left_elbow<left_shoulder left_wrist<left_elbow
    neck_lsp head_top<neck_lsp
"""
# Of the two 17-joint orders in use for MPI-INF-3DHP, the one of the official test annotations, to
# which the lifting literature also reduces the 28 training joints.
_MPI_17 = """
    head_top_3dhp<neck_3dhp neck_3dhp<spine_3dhp right_shoulder<neck_3dhp
    right_elbow<right_shoulder right_wrist<right_elbow left_shoulder<neck_3dhp
    left_elbow<left_shoulder left_wrist<left_elbow right_hip<pelvis right_knee<right_hip
    right_ankle<right_knee left_hip<pelvis left_knee<left_hip left_ankle<left_knee pelvis
    spine_3dhp<pelvis head_3dhp<neck_3dhp
"""
_MPI_28 = """
    spine3_3dhp<spine2_3dhp spine4_3dhp<spine3_3dhp spine2_3dhp<spine_3dhp spine_3dhp<pelvis pelvis
    neck_3dhp<spine4_3dhp head_3dhp<neck_3dhp head_top_3dhp<head_3dhp left_collar_3dhp<spine4_3dhp
    left_shoulder<left_collar_3dhp left_elbow<left_shoulder left_wrist<left_elbow
    left_hand_3dhp<left_wrist right_collar_3dhp<spine4_3dhp right_shoulder<right_collar_3dhp
    right_elbow<right_shoulder right_wrist<right_elbow right_hand_3dhp<right_wrist left_hip<pelvis
    left_knee<left_hip left_ankle<left_knee left_foot_3dhp<left_ankle left_toe_3dhp<left_foot_3dhp
    right_hip<pelvis right_knee<right_hip right_ankle<right_knee right_foot_3dhp<right_ankle
    right_toe_3dhp<right_foot_3dhp
"""
_HUMANEVA = """
    pelvis thorax<pelvis left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow
    right_shoulder<thorax right_elbow<right_shoulder right_wrist<right_elbow
    left_hip<pelvis left_knee<left_hip left_ankle<left_knee
    right_hip<pelvis right_knee<right_hip right_ankle<right_knee head_humaneva<thorax
"""

SKELETONS: dict[str, Skeleton] = {
    name: _tree(name, text)
    for name, text in {
        "smpl24": _SMPL,
        "smplx45": _SMPL + _SMPLX_LANDMARKS,
        "smpl54": _SMPL + _SMPLX_LANDMARKS + _EXTRA.format(root="<pelvis"),
        "extra9": _EXTRA.format(root=""),
        "openpose25": _OPENPOSE,
        "spin49": _OPENPOSE + _SPIN_ANNOTATED,
        "coco17": _COCO,
        "h36m17": _H36M.format(neck="jaw_h36m<thorax head_h36m<jaw_h36m"),
        "h36m16": _H36M.format(neck="head_h36m<thorax"),
        "lsp14": _LSP,
        "mpi_inf_3dhp17": _MPI_17,
        "mpi_inf_3dhp28": _MPI_28,
        "humaneva15": _HUMANEVA,
    }.items()
}

# What published conversions between sets treat as the same joint: each name and what it stands for.
_SAME: dict[str, str] = {"mid_hip": "pelvis", "neck_openpose": "neck"} | {
    f"{side}_{joint}_lsp": f"{side}_{joint}"
    for side in ("left", "right")
    for joint in ("ankle", "knee", "wrist", "elbow", "shoulder")
}
_SAME |= {
    f"{joint}_coco": joint for joint in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
}
# Points that lie within some centimetres of each other; used only on request.
_NEAR: dict[str, str] = {
    "left_hip_lsp": "left_hip",
    "right_hip_lsp": "right_hip",
    "pelvis_mpii": "pelvis",
    "spine2": "spine_h36m",
    "spine_3dhp": "spine_h36m",
    "neck": "thorax",
    "neck_lsp": "thorax",
    "thorax_mpii": "thorax",
    "neck_3dhp": "thorax",
    "head_3dhp": "jaw_h36m",
    "head_top": "head_h36m",
    "head_top_3dhp": "head_h36m",
}


def skeleton(name: str) -> Skeleton:
    """The joint set of that name.

    Raises:
        InputError: if there is no such set.
    """
    if name not in SKELETONS:
        raise InputError(_unknown("joint set", name, tuple(SKELETONS)))
    return SKELETONS[name]


def _exact(name: str) -> str:
    return name


def _same(name: str) -> str:
    return _SAME.get(name, name)


def _near(name: str) -> str:
    return _NEAR.get(_same(name), _same(name))


def map_joints(source: Skeleton, target: Skeleton, *, approximate: bool = False) -> JointMap:
    """Find every joint of `target` in `source`: by its name, then by names that mean the same.

    With `approximate`, joints that are only near each other may stand in for one another.
    """
    readings = [_exact, _same, _near] if approximate else [_exact, _same]
    places = [_find(name, source, readings) for name in target.joints]
    return JointMap([max(place, 0) for place in places], [place >= 0 for place in places])


def _find(name: str, source: Skeleton, readings: Sequence[Callable[[str], str]]) -> int:
    for reading in readings:
        meanings = [reading(joint) for joint in source.joints]
        if reading(name) in meanings:
            return meanings.index(reading(name))
    return -1


def remap_joints(
    joints: Float[Tensor, "*batch J D"],
    source: Skeleton,
    target: Skeleton,
    *,
    approximate: bool = False,
) -> tuple[Float[Tensor, "*batch K D"], Float[Tensor, "K"]]:
    """Joints in the order of another set, with weight zero (and zeros) for those it cannot fill."""
    assert joints.shape[-2] == len(source), (joints.shape, source.name)
    places, found = map_joints(source, target, approximate=approximate)
    weight = torch.tensor(found, dtype=joints.dtype, device=joints.device)
    filled = torch.where(
        weight[:, None] > 0, joints[..., places, :], torch.zeros_like(joints[..., :1, :])
    )
    return filled, weight


def joints_by_name(
    joints: Float[Tensor, "*batch J D"], source: Skeleton, *names: str
) -> Float[Tensor, "*batch K D"]:
    """The named joints, in the order asked for."""
    assert joints.shape[-2] == len(source), (joints.shape, source.name)
    return joints[..., source.index(*names), :]
