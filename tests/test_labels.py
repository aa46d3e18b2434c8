"""The label taxonomy: ids, names, colours, mirrors and groups."""

import numpy as np
import pytest
import torch
from smpl_files import one_sentence

from meshreg.clothing.groups import DSR_CLOTHING, MINIMALLY_CLOTHED, minimally_clothed
from meshreg.clothing.labels import (
    FLIP,
    NUM_LABELS,
    PALETTE,
    PERSON_LABEL,
    UNKNOWN_LABEL,
    Label,
    cihp_palette,
    flip_labels,
    swap_sides,
)
from meshreg.errors import InputError
from meshreg.render.annotate import colorize_labels

SIDES = [(14, 15), (16, 17), (18, 19)]


def test_every_label_has_its_own_colour() -> None:
    assert len(PALETTE) == len(set(PALETTE)) == NUM_LABELS == 20
    assert PALETTE[Label.FACE] == (0, 0, 255) and PALETTE[Label.RIGHT_SHOE] == (255, 170, 0)
    palette = cihp_palette()
    assert [tuple(color) for color in palette[:20].tolist()] == list(PALETTE)
    grey = colorize_labels(np.array([[PERSON_LABEL, UNKNOWN_LABEL]]), palette)[0]
    assert (grey == grey[:, :1]).all() and grey[0, 0] != grey[1, 0]


def test_names_in_words() -> None:
    assert Label.LEFT_ARM.title == "left arm" and Label(10).title == "torso skin"
    assert Label.RIGHT_SHOE.mirrored is Label.LEFT_SHOE and Label.HAT.mirrored is Label.HAT


def test_sides_are_swapped_and_nothing_else() -> None:
    expected = list(range(20))
    for left, right in SIDES:
        expected[left], expected[right] = right, left
    assert list(FLIP) == expected


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_flipped_twice_is_the_same(kind: torch.dtype, batch: tuple[int, ...]) -> None:
    labels = torch.randint(0, 22, (*batch, 5, 7))
    labels[labels == 20], labels[labels == 21] = PERSON_LABEL, UNKNOWN_LABEL
    labels = labels.to(kind)
    before = labels.clone()
    flipped = flip_labels(labels)
    assert flipped.dtype == kind and (labels == before).all()
    assert (flip_labels(flipped) == labels).all()
    assert (swap_sides(swap_sides(labels)) == labels).all()
    for row in np.ndindex(*batch, 5):
        for x in range(7):
            here, there = int(labels[row][x]), int(flipped[row][6 - x])
            assert there == (FLIP[here] if here < 20 else here)


def test_arrays_take_part_through_torch() -> None:
    labels = np.array([[14, 255], [0, 19]], np.uint8)
    found = flip_labels(torch.from_numpy(labels)).numpy()
    assert found.dtype == np.uint8 and found.tolist() == [[255, 15], [18, 0]]


# --- groups ---------------------------------------------------------------------------------------


def test_what_counts_as_bare() -> None:
    assert minimally_clothed().members("minimally_clothed") == (10, 13, 14, 15, 16, 17)
    assert minimally_clothed("dsr_paper").members("minimally_clothed") == (13, 14, 15, 18, 19)
    assert minimally_clothed([Label.FACE]).members("minimally_clothed") == (Label.FACE,)
    assert set(MINIMALLY_CLOTHED) == {"default", "dsr_paper"}


def test_the_merged_classes_of_dsr() -> None:
    merged = {
        0: {0},
        1: {1, 2, 4, 11, 13},
        2: {3, 5, 6, 7, 10},
        3: {8, 9, 12},
        4: {14},
        5: {15},
        6: {16, 18},
        7: {17, 19},
    }
    for group, name in enumerate(DSR_CLOTHING.names):
        assert set(DSR_CLOTHING.members(name)) == merged[group]
    assert DSR_CLOTHING.names[4:] == ("left_arm", "right_arm", "left_leg", "right_leg")


@pytest.mark.parametrize("grouping", [DSR_CLOTHING, minimally_clothed()])
def test_maps_and_memberships_agree(grouping) -> None:
    labels = torch.arange(20, dtype=torch.uint8).reshape(4, 5)
    groups = grouping.group(labels)
    assert groups.dtype == torch.uint8 and groups.shape == (4, 5)
    assert (grouping.membership.argmax(1) == groups.flatten()).all()
    assert (grouping.membership.sum(1) == 1).all()
    others = torch.tensor([PERSON_LABEL, UNKNOWN_LABEL])
    assert grouping.group(others).tolist() == [UNKNOWN_LABEL, UNKNOWN_LABEL]


@pytest.mark.parametrize(
    ("which", "words"), [("skin", "dsr_paper"), ([Label.BACKGROUND], "label 0")]
)
def test_impossible_groups(which: object, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        minimally_clothed(which)
    assert one_sentence(str(caught.value))
