"""Label maps in files: colours, schemes, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smpl_files import one_sentence

from meshreg.clothing.labels import PALETTE, PERSON_LABEL
from meshreg.clothing.schemes import SCHEMES
from meshreg.data.labels import read_labels
from meshreg.errors import InputError


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 20, (12, 20), dtype=np.uint8)


def colored(labels: np.ndarray) -> np.ndarray:
    return np.array(PALETTE, np.uint8)[labels]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_colour_maps_become_ids(tmp_path: Path, labels: np.ndarray, mode: str, suffix: str) -> None:
    path = tmp_path / f"labels.{suffix}"
    Image.fromarray(colored(labels)).convert(mode).save(path, lossless=True)
    found = read_labels(path, labels.shape)
    assert found.dtype == np.uint8 and (found == labels).all()
    assert (read_labels(path, None) == labels).all()


def test_a_palette_of_cihp_colours_speaks_by_its_colours(
    tmp_path: Path, labels: np.ndarray
) -> None:
    """Programs that reduce colours number them as they like."""
    order = np.random.default_rng(2).permutation(20)
    numbers = np.argsort(order)[labels].astype(np.uint8)
    picture = Image.frombytes("P", labels.shape[::-1], numbers.tobytes())
    picture.putpalette(np.array(PALETTE, np.uint8)[order].tobytes())
    picture.save(tmp_path / "p.png")
    assert (numbers != labels).any()
    assert (read_labels(tmp_path / "p.png", labels.shape) == labels).all()


@pytest.mark.parametrize("scheme", ["atr", "sapiens", "fashionpedia"])
def test_ids_of_other_schemes(tmp_path: Path, scheme: str) -> None:
    known = SCHEMES[scheme]
    ids = np.array([[*range(len(known)), 255]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    found = read_labels(tmp_path / "ids.png", ids.shape, scheme)
    assert found.tolist() == [[*known.cihp, 255]]


def test_only_cihp_takes_two_values_for_a_silhouette(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    assert (read_labels(tmp_path / "ids.png", ids.shape) == PERSON_LABEL * ids).all()
    assert (read_labels(tmp_path / "ids.png", ids.shape, "atr") == ids).all()


@pytest.mark.parametrize("colors", [(0, 1), (0, 128), (255, 0), (9, 0)])
def test_the_brighter_of_two_palette_colours_is_the_person(
    tmp_path: Path, colors: tuple[int, int]
) -> None:
    """Dark red, which many programs draw class 1 in, is brighter than black."""
    ids = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)
    picture = Image.frombytes("P", (3, 2), ids.tobytes())
    picture.putpalette([level for red in colors for level in (red, 0, 0)])
    picture.save(tmp_path / "mask.png")
    person = ids if colors[1] > colors[0] else 1 - ids
    assert (read_labels(tmp_path / "mask.png", (2, 3)) == PERSON_LABEL * person).all()


def test_masks_that_would_be_read_as_hats_are_refused(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [0, 255, 1]], np.uint8)
    for values in (ids, ids.clip(min=1)):
        Image.fromarray(values).save(tmp_path / "ids.png")
        assert "looks like a 0/1 mask: save it with 0 and 255" in refusal(tmp_path / "ids.png")
    Image.fromarray(colored(ids.clip(max=1))).save(tmp_path / "red.png")
    assert "looks like a 0/1 mask" in refusal(tmp_path / "red.png")
    Image.fromarray(ids + (ids == 0) * np.uint8(2)).save(tmp_path / "ids.png")
    assert read_labels(tmp_path / "ids.png", (2, 3)).tolist() == [[2, 1, 1], [2, 255, 1]]


def test_a_plain_mask_has_no_scheme(tmp_path: Path) -> None:
    ids = np.array([[0, 255, 255], [0, 0, 255]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "mask.png")
    said = refusal(tmp_path / "mask.png", "atr")
    assert "255, which means unknown in atr: leave out --scheme" in said
    assert (read_labels(tmp_path / "mask.png", (2, 3)) == PERSON_LABEL * (ids > 0)).all()


def refusal(path: Path, scheme: str = "cihp") -> str:
    with pytest.raises(InputError) as caught:
        read_labels(path, None, scheme)
    message = str(caught.value).replace(str(path.parent), "")
    assert one_sentence(message), message
    return message


def test_unknown_colours_are_counted_and_named(tmp_path: Path, labels: np.ndarray) -> None:
    picture = colored(labels)
    picture[0, :3], picture[1, 0] = (1, 2, 3), (85, 86, 0)
    Image.fromarray(picture).save(tmp_path / "p.png")
    message = refusal(tmp_path / "p.png")
    assert "4 pixels in 2 colours" in message and "such as (1, 2, 3), (85, 86, 0):" in message


def test_smoothed_colours_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    picture = Image.fromarray(colored(labels))
    picture.resize((40, 24), Image.Resampling.BILINEAR).save(tmp_path / "p.png")
    assert "not CIHP's" in refusal(tmp_path / "p.png")


def test_colours_in_other_schemes_are_refused(tmp_path: Path, labels: np.ndarray) -> None:
    Image.fromarray(colored(labels)).save(tmp_path / "p.png")
    assert "only CIHP's colours" in refusal(tmp_path / "p.png", "atr")
    assert "not a label scheme" in refusal(tmp_path / "p.png", "art")


def test_ids_beyond_the_scheme(tmp_path: Path, labels: np.ndarray) -> None:
    labels[0, 0] = 19
    Image.fromarray(labels).save(tmp_path / "p.png")
    assert "0..17 of atr" in refusal(tmp_path / "p.png", "atr")
