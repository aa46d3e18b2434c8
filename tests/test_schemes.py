"""Other label sets in terms of CIHP's, against the lists that their makers publish."""

import typing

import pytest
import torch
from smpl_files import one_sentence

from meshreg.cli.options import Scheme
from meshreg.clothing.labels import PERSON_LABEL, UNKNOWN_LABEL, Label
from meshreg.clothing.schemes import SCHEMES, to_cihp
from meshreg.errors import InputError

SIDED_SCHEMES = ("cihp", "lip", "atr", "sapiens", "sapiens2")


@pytest.mark.parametrize(
    ("scheme", "count", "some"),
    [
        ("cihp", 20, {10: "torso skin", 13: "face"}),
        ("lip", 20, {10: "jumpsuits", 13: "face", 19: "right shoe"}),
        ("atr", 18, {3: "sunglasses", 8: "belt", 9: "left-shoe", 13: "right-leg", 17: "scarf"}),
        ("fashionpedia", 47, {1: "shirt, blouse", 16: "headband, head covering, hair accessory"}),
        ("fashionpedia", 47, {23: "sock", 24: "shoe", 34: "neckline", 46: "tassel"}),
        ("sapiens", 28, {1: "apparel", 2: "face_neck", 12: "lower_clothing", 21: "torso"}),
        ("sapiens", 28, {22: "upper_clothing", 23: "lower_lip", 27: "tongue"}),
        ("sapiens2", 29, {2: "eyeglass", 3: "face_neck", 22: "torso", 28: "tongue"}),
    ],
)
def test_the_order_of_the_classes(scheme: str, count: int, some: dict[int, str]) -> None:
    known = SCHEMES[scheme]
    assert len(known) == count == len(known.cihp)
    assert {i: known.classes[i] for i in some} == some


def test_cihp_means_itself() -> None:
    assert SCHEMES["cihp"].cihp == tuple(range(20))
    differing = [
        i for i, (a, b) in enumerate(zip(SCHEMES["lip"].cihp, range(20), strict=True)) if a != b
    ]
    assert differing == [10] and SCHEMES["lip"].cihp[10] == Label.DRESS


@pytest.mark.parametrize("scheme", SIDED_SCHEMES)
def test_sides_stay_on_their_side(scheme: str) -> None:
    known = SCHEMES[scheme]
    seen = 0
    for name, ours in zip(known.classes, known.cihp, strict=True):
        for side in ("left", "right"):
            if name.startswith(side) and "sock" not in name:
                assert Label(ours).title.startswith(side), name
                seen += 1
    assert seen >= 6


def test_what_has_no_class_is_said_to_have_none() -> None:
    fashionpedia = dict(
        zip(SCHEMES["fashionpedia"].classes, SCHEMES["fashionpedia"].cihp, strict=True)
    )
    assert fashionpedia["unlabelled"] == UNKNOWN_LABEL, "skin, hair and the room alike"
    assert fashionpedia["shoe"] == PERSON_LABEL and fashionpedia["bag, wallet"] == UNKNOWN_LABEL
    assert (
        dict(zip(SCHEMES["atr"].classes, SCHEMES["atr"].cihp, strict=True))["bag"] == UNKNOWN_LABEL
    )


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_maps_are_translated(scheme: str, kind: torch.dtype) -> None:
    ids = torch.tensor([[*range(len(SCHEMES[scheme])), 255]] * 2).to(kind)
    found = to_cihp(ids, scheme)
    assert found.dtype == kind and found.shape == ids.shape
    assert found[1].tolist() == [*SCHEMES[scheme].cihp, 255]


@pytest.mark.parametrize("wrong", [18, 200, -1, 1000])
def test_ids_beyond_the_scheme_are_named(wrong: int) -> None:
    with pytest.raises(InputError) as caught:
        to_cihp(torch.tensor([0, wrong, 255, wrong]), "atr")
    assert f"[{wrong}]" in str(caught.value) and "0..17 of atr" in str(caught.value)
    assert one_sentence(str(caught.value))


def test_an_unknown_scheme_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean sapiens") as caught:
        to_cihp(torch.tensor([0]), "sapien")
    assert one_sentence(str(caught.value))


def test_the_command_line_offers_every_scheme() -> None:
    assert typing.get_args(Scheme) == tuple(SCHEMES)
