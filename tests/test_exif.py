"""The camera that a picture's EXIF data tell: focal lengths, turned pictures, contradictions."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from meshreg.data.exif import picture_camera, upright_intrinsics
from meshreg.data.images import read_image
from meshreg.geometry.cameras import image_centre, intrinsics, project

SIZE = (300, 400)  # height, width
TAGS = ExifTags.Base


def photo(folder: Path, size: tuple[int, int] = SIZE, orientation: int = 0, **tags: Any) -> Path:
    """A JPEG whose EXIF data hold these tags of Pillow's names."""
    exif = Image.Exif()
    if orientation:
        exif[TAGS.Orientation] = orientation
    exif.get_ifd(ExifTags.IFD.Exif).update({getattr(TAGS, name): tags[name] for name in tags})
    path = folder / "photo.jpg"
    Image.new("RGB", size[::-1], (90, 60, 30)).save(path, exif=exif)
    return path


def focal_of(path: Path) -> tuple[float, float, str]:
    image = read_image(path)
    camera = picture_camera(path, (image.shape[0], image.shape[1]))
    assert camera.size == image.shape[:2]
    centre = torch.tensor(image_centre(camera.size))
    torch.testing.assert_close(camera.K[:2, 2], centre)
    return float(camera.K[0, 0]), float(camera.K[1, 1]), camera.source


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_diagonal_rule_holds_however_the_camera_was_held(
    tmp_path: Path, orientation: int
) -> None:
    fx, fy, source = focal_of(photo(tmp_path, orientation=orientation, FocalLengthIn35mmFilm=26))
    expected = 26 / math.hypot(36, 24) * 500
    assert fx == fy == pytest.approx(expected, rel=1e-6)
    assert source.startswith("EXIF: 26 mm") and "warning" not in source


def test_the_known_portrait_of_a_phone(tmp_path: Path) -> None:
    """26 mm on 3000 x 4000: 3005 pixels; going by the width would give 2167."""
    path = photo(tmp_path, (3000, 4000), 6, FocalLengthIn35mmFilm=26)
    assert read_image(path).shape[:2] == (4000, 3000)
    assert focal_of(path)[0] == pytest.approx(3004.6, abs=0.1)


def test_pictures_without_a_focal_length_are_guessed_at(tmp_path: Path) -> None:
    for tags in ({}, {"FocalLengthIn35mmFilm": 0}, {"FocalLength": 4.2}, {"ExifImageWidth": 400}):
        fx, _, source = focal_of(photo(tmp_path, **tags))
        assert fx == pytest.approx(500) and source.startswith("guessed") and "EXIF" not in source
    plain = tmp_path / "plain.png"
    Image.new("RGB", (40, 30)).save(plain)
    assert focal_of(plain)[2].startswith("guessed")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_millimetres_and_the_sensors_pixels(tmp_path: Path, orientation: int) -> None:
    """A sensor of 4000 x 3000 pixels, 500 and 480 per mm; the file was made ten times smaller."""
    path = photo(
        tmp_path,
        orientation=orientation,
        FocalLength=7.5,
        FocalPlaneXResolution=5000.0,
        FocalPlaneYResolution=4800.0,
        FocalPlaneResolutionUnit=3,
        ExifImageWidth=4000,
        ExifImageHeight=3000,
    )
    fx, fy, source = focal_of(path)
    expected = (375.0, 360.0) if orientation in (1, 3) else (360.0, 375.0)
    assert (fx, fy) == pytest.approx(expected, rel=1e-5)
    assert "7.5 mm and the sensor" in source


@pytest.mark.parametrize("unit, per_mm", [(2, 25.4), (3, 10.0), (4, 1.0), (None, 25.4)])
def test_units_of_the_sensor(tmp_path: Path, unit: int | None, per_mm: float) -> None:
    units = {} if unit is None else {"FocalPlaneResolutionUnit": unit}
    path = photo(tmp_path, FocalLength=8.0, FocalPlaneXResolution=50 * per_mm, **units)
    assert focal_of(path)[:2] == pytest.approx((400, 400), rel=1e-3)


@pytest.mark.parametrize("taken", [(4000, 3000), (3000, 4000), (403, 301)])
def test_resized_and_turned_pictures_keep_their_angle(
    tmp_path: Path, taken: tuple[int, int]
) -> None:
    tags = {"ExifImageWidth": taken[0], "ExifImageHeight": taken[1]}
    fx, _, source = focal_of(photo(tmp_path, FocalLengthIn35mmFilm=50, **tags))
    assert fx == pytest.approx(50 / 43.2666 * 500, rel=1e-4) and "warning" not in source


def test_pictures_cut_out_of_others_are_not_believed(tmp_path: Path) -> None:
    tags = {"ExifImageWidth": 4000, "ExifImageHeight": 3000}
    fx, _, source = focal_of(photo(tmp_path, (300, 300), FocalLengthIn35mmFilm=50, **tags))
    assert fx == pytest.approx(300 * math.sqrt(2)) and source.startswith("guessed")
    assert "warning: EXIF's focal length was not used" in source
    assert "4000x3000 pixels and this picture of 300x300" in source


def test_focal_lengths_that_no_lens_has_are_not_believed(tmp_path: Path) -> None:
    fx, _, source = focal_of(photo(tmp_path, FocalLengthIn35mmFilm=60000))
    assert fx == pytest.approx(500) and "warning" in source and "not plausible" in source
    assert ". " not in source


@pytest.mark.parametrize(
    "value", ["26", (26, 1), float("nan"), b"\x00\xff"], ids=["text", "pair", "nan", "bytes"]
)
def test_nonsense_in_the_tags_is_no_reason_to_stop(tmp_path: Path, value: Any) -> None:
    class Odd(Image.Image):
        def getexif(self) -> Any:
            exif = Image.Exif()
            exif.get_ifd(ExifTags.IFD.Exif)[TAGS.FocalLengthIn35mmFilm] = value
            return exif

    odd = Odd()
    camera = picture_camera(odd, SIZE)
    assert camera.source.startswith("EXIF: 26 mm" if value == "26" else "guessed")


def test_damaged_exif_is_no_reason_to_stop(tmp_path: Path) -> None:
    path = photo(tmp_path, FocalLengthIn35mmFilm=26)
    content = bytearray(path.read_bytes())
    start = content.index(b"Exif") + 6
    for damage in (
        slice(start, start + 4),
        slice(start + 4, start + 8),
        slice(start + 8, start + 30),
    ):
        broken = bytearray(content)
        broken[damage] = b"\xff" * len(broken[damage])
        (tmp_path / "broken.jpg").write_bytes(broken)
        assert picture_camera(tmp_path / "broken.jpg", SIZE).source.startswith("guessed")
    assert picture_camera(tmp_path / "none.jpg", SIZE).source.startswith("guessed")


def test_pictures_in_memory_tell_the_same(tmp_path: Path) -> None:
    path = photo(tmp_path, orientation=6, FocalLengthIn35mmFilm=26)
    with Image.open(path) as picture:
        found, expected = (picture_camera(p, SIZE[::-1]) for p in (picture, path))
    torch.testing.assert_close(found.K, expected.K)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_intrinsics_turn_with_the_pixels(tmp_path: Path, orientation: int) -> None:
    """A dot drawn where the file's camera sees a point is where the upright camera sees it."""
    stored = intrinsics(90.0, 110.0, 31.0, 47.0)
    upright_camera = upright_intrinsics(stored, (80, 120), orientation)
    point = torch.tensor([[0.3, -0.2, 1.0]])
    column, row = project(point, stored)[0].round().int().tolist()
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[row, column] = 255
    exif = Image.Exif()
    exif[TAGS.Orientation] = orientation
    Image.fromarray(pixels).save(tmp_path / "dot.png", exif=exif)
    upright = read_image(tmp_path / "dot.png")
    y, x = (int(i[0]) for i in np.nonzero(upright[..., 0]))
    # In that camera the point is elsewhere: axes swapped and mirrored as the picture was.
    rays = torch.linalg.inv(upright_camera) @ torch.tensor([x, y, 1.0])
    assert sorted(rays[:2].abs().tolist()) == pytest.approx([0.2, 0.3], abs=1e-5)
    assert bool((upright_camera.diagonal() > 0).all()) and upright_camera[0, 1] == 0
