"""Joint sets against the orders, flips and index maps that the field has published."""

import pytest
import torch

from meshreg.body.skeleton import (
    SKELETONS,
    Skeleton,
    joints_by_name,
    map_joints,
    mirrored_name,
    remap_joints,
    skeleton,
)
from meshreg.errors import InputError

ALL = list(SKELETONS)
OPENPOSE_FROM_SMPL = (
    [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7] + list(range(25, 35))
)  # fmt: skip
SPIN_TAIL_FROM_SMPL54 = [
    8,
    5,
    45,
    46,
    4,
    7,
    21,
    19,
    17,
    16,
    18,
    20,
    *range(47, 54),
    24,
    26,
    25,
    28,
    27,
]


@pytest.mark.parametrize("name", ALL)
def test_flip_is_its_own_inverse_and_keeps_the_tree(name: str) -> None:
    joints = skeleton(name)
    assert [joints.flip[i] for i in joints.flip] == list(range(len(joints)))
    for child, parent in joints.bones:
        assert joints.parents[joints.flip[child]] == joints.flip[parent], joints.joints[child]
    sided = [joint.startswith(("left_", "right_")) for joint in joints.joints]
    assert sided == [joints.flip[i] != i for i in range(len(joints))]


@pytest.mark.parametrize("name", ALL)
def test_parents_form_one_tree(name: str) -> None:
    joints = skeleton(name)
    assert joints.name == name
    assert len(set(joints.joints)) == len(joints.joints) == len(joints.parents)
    assert joints.parents.count(-1) == 1
    for start in range(len(joints)):
        seen, here = set(), start
        while here >= 0:
            assert here not in seen, f"{name} has a loop at {joints.joints[here]}"
            seen.add(here)
            here = joints.parents[here]
    assert len(joints.bones) == len(joints) - 1


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("smpl24", 24),
        ("smplx45", 45),
        ("spin49", 49),
        ("openpose25", 25),
        ("smpl54", 54),
        ("extra9", 9),
    ],
)
def test_sizes(name: str, size: int) -> None:
    assert len(skeleton(name)) == size


def test_published_flips() -> None:
    smpl = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
    body = [
        0,
        1,
        5,
        6,
        7,
        2,
        3,
        4,
        8,
        12,
        13,
        14,
        9,
        10,
        11,
        16,
        15,
        18,
        17,
        22,
        23,
        24,
        19,
        20,
        21,
    ]
    tail = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, *range(12, 19), 19, 21, 20, 23, 22]
    assert list(skeleton("smpl24").flip) == smpl
    assert list(skeleton("openpose25").flip) == body
    assert list(skeleton("spin49").flip) == body + [25 + i for i in tail]


def test_published_parents() -> None:
    # fmt: off
    assert skeleton("smpl24").parents == (
        -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    assert skeleton("h36m17").parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert skeleton("mpi_inf_3dhp17").parents == (
        1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1)
    assert skeleton("humaneva15").parents == (-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1)
    # fmt: on


def test_published_sides() -> None:
    def side(name: str, which: str) -> list[int]:
        return [i for i, joint in enumerate(skeleton(name).joints) if joint.startswith(which)]

    assert side("h36m17", "left_") == [4, 5, 6, 11, 12, 13]
    assert side("h36m16", "left_") == [4, 5, 6, 10, 11, 12]
    assert side("mpi_inf_3dhp17", "left_") == [5, 6, 7, 11, 12, 13]
    assert side("humaneva15", "left_") == [2, 3, 4, 8, 9, 10]
    assert side("coco17", "left_") == [1, 3, 5, 7, 9, 11, 13, 15]
    assert side("lsp14", "left_") == [3, 4, 5, 9, 10, 11]


def test_openpose_and_spin_from_smpl_by_name() -> None:
    index, found = map_joints(skeleton("smplx45"), skeleton("openpose25"))
    assert index == OPENPOSE_FROM_SMPL
    assert all(found)
    index, found = map_joints(skeleton("smpl54"), skeleton("spin49"))
    assert index == OPENPOSE_FROM_SMPL + SPIN_TAIL_FROM_SMPL54
    assert all(found)


def test_reductions_of_mpi_inf_3dhp() -> None:
    pick = [4, 18, 19, 20, 23, 24, 25, 3, 5, 6, 7, 9, 10, 11, 14, 15, 16]
    reorder = [14, 11, 12, 13, 8, 9, 10, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
    full, reduced = skeleton("mpi_inf_3dhp28").joints, skeleton("mpi_inf_3dhp17").joints
    assert [full[i] for i in pick] == [reduced[i] for i in reorder]


def test_near_joints_stand_in_only_on_request() -> None:
    smpl, lsp = skeleton("smplx45"), skeleton("lsp14")
    strict = map_joints(smpl, lsp)
    near = map_joints(smpl, lsp, approximate=True)
    missing = [name for name, found in zip(lsp.joints, strict.found, strict=True) if not found]
    assert missing == ["right_hip_lsp", "left_hip_lsp", "neck_lsp", "head_top"]
    assert [lsp.joints[i] for i, found in enumerate(near.found) if not found] == ["head_top"]
    assert near.places[3] == smpl.index("left_hip")[0]
    for one, other in zip(strict.places, strict.found, strict=True):
        assert other or one == 0


def test_annotated_sets_agree_with_the_spin_superset() -> None:
    spin = skeleton("spin49")
    superset = Skeleton("tail", spin.joints[25:], (-1,) * 24)
    assert map_joints(superset, skeleton("lsp14")) == (list(range(14)), [True] * 14)
    coco = [19, 20, 21, 22, 23, 9, 8, 10, 7, 11, 6, 3, 2, 4, 1, 5, 0]
    assert map_joints(superset, skeleton("coco17"), approximate=True) == (coco, [True] * 17)
    taken = [14, 2, 1, 0, 3, 4, 5, 16, 15, 18, 9, 10, 11, 8, 7, 6]
    index, _ = map_joints(superset, skeleton("h36m16"), approximate=True)
    # Neck or thorax: both are near, the first wins.
    assert [i for i in index if i not in (12, 15)] == [i for i in taken if i not in (12, 15)]


def test_mapping_to_itself_is_the_identity() -> None:
    for joints in SKELETONS.values():
        for approximate in (False, True):
            index, found = map_joints(joints, joints, approximate=approximate)
            assert index == list(range(len(joints)))
            assert all(found)


def test_round_trip_of_coordinates() -> None:
    smpl, openpose = skeleton("smplx45"), skeleton("openpose25")
    points = torch.randn(2, 3, 25, 3)
    there, weight = remap_joints(points, openpose, smpl)
    assert weight.sum() == 25
    assert (there[..., weight == 0, :] == 0).all()
    back, weight = remap_joints(there, smpl, openpose)
    assert (weight == 1).all()
    assert torch.equal(back, points)


def test_garbage_of_absent_joints_does_not_leak() -> None:
    points = torch.full((24, 2), float("nan"))
    filled, weight = remap_joints(points, skeleton("smpl24"), skeleton("coco17"))
    assert weight[0] == 0
    assert (filled[0] == 0).all()


def test_joints_by_name() -> None:
    points = torch.randn(4, 17, 2)
    picked = joints_by_name(points, skeleton("coco17"), "left_ankle", "nose")
    assert torch.equal(picked, points[:, [15, 0]])


def test_mirrored_name() -> None:
    assert mirrored_name("left_hip_lsp") == "right_hip_lsp"
    assert mirrored_name("right_eye") == "left_eye"
    assert mirrored_name("nose") == "nose"


def test_unknown_names_are_refused_with_a_hint() -> None:
    with pytest.raises(
        InputError, match=r"'left_hipp' is not a joint of smpl24: did you mean left_hip"
    ):
        skeleton("smpl24").index("pelvis", "left_hipp")
    with pytest.raises(InputError, match=r"'h36m' is not a joint set: did you mean h36m1"):
        skeleton("h36m")
    with pytest.raises(InputError, match="choose from smpl24"):
        skeleton("zzzzzz")
