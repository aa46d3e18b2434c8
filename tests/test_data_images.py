"""Pictures and label maps: orientation, depth, modes; and resizing against brute force."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smpl_files import one_sentence

from meshreg.clothing.labels import PERSON_LABEL
from meshreg.data.images import distance_outside, read_image, resize_labels, shrink_mask
from meshreg.data.labels import read_labels
from meshreg.errors import InputError, MissingFileError

ORIENTATION = 0x0112  # the EXIF tag


def saved(folder: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    path = folder / "picture.png"
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path, **options)
    return path


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 20, (12, 20), dtype=np.uint8)


# --- pictures -----------------------------------------------------------------------------------


def test_a_picture_comes_back_as_it_was(tmp_path: Path, rgb: np.ndarray) -> None:
    found = read_image(saved(tmp_path, rgb))
    assert found.dtype == np.uint8 and found.flags.writeable
    assert (found == rgb).all()


@pytest.mark.parametrize(
    ("tag", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, 1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a, -1)),
    ],
)
def test_exif_orientation_is_undone(tmp_path: Path, rgb: np.ndarray, tag: int, turned) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = tag
    path = saved(tmp_path, np.ascontiguousarray(turned(rgb)), exif=exif)
    assert (read_image(path) == rgb).all()


def test_label_maps_turn_like_pictures(tmp_path: Path, labels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = saved(tmp_path, np.ascontiguousarray(np.rot90(labels)), exif=exif)
    assert (read_labels(path, labels.shape) == labels).all()


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path, rgb: np.ndarray) -> None:
    grey = read_image(saved(tmp_path, rgb[..., 0]))
    assert (grey == rgb[..., :1]).all() and grey.shape == rgb.shape
    see_through = np.dstack([rgb, rgb[..., 0]])
    assert (read_image(saved(tmp_path, see_through)) == rgb).all()
    assert (read_image(saved(tmp_path, see_through[..., [0, 3]])) == rgb[..., :1]).all()


def test_palette_pictures_with_transparency(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    picture.save(tmp_path / "p.png", transparency=bytes([0, 255]))
    found = read_image(tmp_path / "p.png")
    assert {tuple(c) for c in found.reshape(-1, 3).tolist()} <= {(10, 20, 30), (200, 100, 50)}


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 240).reshape(12, 20).astype(np.uint16)
    found = read_image(saved(tmp_path, deep))
    assert found.shape == (12, 20, 3)
    assert (found == (deep // 256)[..., None]).all()


@pytest.mark.parametrize("kept", [0, 4, 30, 45, 300])
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "webp", "gif"])
def test_truncated_pictures(tmp_path: Path, kind: str, kept: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{kind}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="cannot be read as a picture") as caught:
        read_image(path)
    assert one_sentence(str(caught.value))


def test_pictures_that_are_not_there_or_not_pictures(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.png"):
        read_image(tmp_path / "none.png")
    with pytest.raises(MissingFileError, match="label map"):
        read_labels(tmp_path / "none.png", (2, 2))
    text = tmp_path / "text.png"
    text.write_text("hello")
    with pytest.raises(InputError, match="PNG or JPEG"):
        read_image(text)


# --- label maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "P", "RGB", "LA", "I;16"])
def test_ids_survive_every_way_of_storing_them(
    tmp_path: Path, labels: np.ndarray, mode: str | None
) -> None:
    labels[0, :5] = 255
    found = read_labels(saved(tmp_path, labels, None if mode == "P" else mode), labels.shape)
    assert found.dtype == np.uint8
    assert (found == labels).all()


def test_a_palette_gives_ids_not_colours(tmp_path: Path, labels: np.ndarray) -> None:
    picture = Image.frombytes("P", labels.shape[::-1], labels.tobytes())
    picture.putpalette(np.random.default_rng(2).integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(tmp_path / "p.png")
    assert (read_labels(tmp_path / "p.png", labels.shape) == labels).all()


@pytest.mark.parametrize("white", [1, 255])
def test_a_mask_of_two_values_is_a_plain_person(tmp_path: Path, white: int) -> None:
    mask = np.zeros((12, 20), np.uint8)
    mask[3:9, 5:9] = white
    found = read_labels(saved(tmp_path, mask), mask.shape)
    assert (found == np.where(mask > 0, PERSON_LABEL, 0)).all()


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    mask = np.zeros((12, 20), bool)
    mask[3:9, 5:9] = True
    found = read_labels(saved(tmp_path, mask), mask.shape)
    assert (found == np.where(mask, PERSON_LABEL, 0)).all()


def test_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    empty = np.zeros((12, 20), np.uint8)
    assert not read_labels(saved(tmp_path, empty), empty.shape).any()


def refusal(path: Path, size: tuple[int, int]) -> str:
    with pytest.raises(InputError) as caught:
        read_labels(path, size)
    message = str(caught.value).replace(str(path.parent), "")
    assert one_sentence(message), message
    return message


def test_label_maps_that_are_refused(tmp_path: Path, labels: np.ndarray, rgb: np.ndarray) -> None:
    path = saved(tmp_path, labels)
    message = refusal(path, (20, 12))
    assert "20x12" in message and "12x20" in message
    assert "colour" in refusal(saved(tmp_path, rgb), (12, 20))
    labels[2, 3] = 20
    assert "[20]" in refusal(saved(tmp_path, labels), labels.shape)
    deep = labels.astype(np.uint16)
    deep[2, 3] = 300
    assert "[300]" in refusal(saved(tmp_path, deep), labels.shape)


# --- resizing and distances ---------------------------------------------------------------------


def test_distances_against_brute_force() -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        mask = random.random((17, 23)) > 0.97
        mask[4, 5] = True
        rows, columns = np.mgrid[:17, :23]
        there = np.argwhere(mask)
        expected = np.min([np.hypot(rows - r, columns - c) for r, c in there], axis=0)
        found = distance_outside(mask)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not distance_outside(np.zeros((5, 6), bool)).any()
    assert not distance_outside(np.ones((5, 6), bool)).any()


def area_average(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Every source pixel split exactly among the target pixels that it overlaps."""

    def shares(n: int, m: int) -> np.ndarray:  # (m, n), rows sum to one
        edges = np.linspace(0, n, m + 1)
        low, high = edges[:-1, None], edges[1:, None]
        start = np.arange(n)[None]
        overlap = np.clip(np.minimum(high, start + 1) - np.maximum(low, start), 0, None)
        return overlap / (n / m)

    return shares(mask.shape[0], size[0]) @ mask @ shares(mask.shape[1], size[1]).T


@pytest.mark.parametrize("size", [(12, 20), (6, 10), (5, 7), (1, 1), (12, 3)])
def test_shrinking_keeps_the_covered_area(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random((12, 20)) > 0.5
    found = shrink_mask(mask, size)
    np.testing.assert_allclose(found, area_average(mask, size), atol=1e-5)
    assert found.mean() == pytest.approx(mask.mean(), abs=1e-5)


@pytest.mark.parametrize("size", [(12, 20), (6, 10), (5, 7), (24, 60), (1, 1), (13, 19)])
def test_resized_labels_come_from_the_nearest_pixel_centre(size: tuple[int, int]) -> None:
    labels = np.random.default_rng(0).permutation(240).reshape(12, 20).astype(np.int64)
    found = resize_labels(labels, size)
    assert found.shape == size
    for row, column in np.ndindex(size):
        y = (row + 0.5) * 12 / size[0] - 0.5
        x = (column + 0.5) * 20 / size[1] - 0.5
        here = np.argwhere(labels == found[row, column])[0]
        assert np.abs(here - [y, x]).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("white_first", [True, False])
def test_a_mask_of_two_palette_colours_is_read_by_its_colours(
    tmp_path: Path, white_first: bool
) -> None:
    person = np.zeros((6, 4), bool)
    person[1:4, 1:3] = True
    picture = Image.fromarray((person != white_first).astype(np.uint8), mode="P")
    colours = [255, 255, 255, 0, 0, 0] if white_first else [0, 0, 0, 255, 255, 255]
    picture.putpalette(colours + [0] * (768 - 6))
    picture.save(tmp_path / "mask.png")
    assert ((read_labels(tmp_path / "mask.png", (6, 4)) > 0) == person).all()
