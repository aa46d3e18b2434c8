"""Key points, label maps and contact sheets, pixel by pixel."""

import numpy as np
import pytest

from meshreg.errors import InputError
from meshreg.render.annotate import (
    colorize_labels,
    contact_sheet,
    draw_keypoints,
    draw_labels,
    label_palette,
)

RED, GREEN = (255, 0, 0), (0, 255, 0)


def test_keypoints_are_centred_and_unseen_ones_left_out() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    points = np.array([[20.0, 15.0], [60.25, 40.5], [np.nan, 5.0], [-500.0, 30.0]])
    seen = np.array([1.0, 0.3, 0.0, 0.0])
    drawn = draw_keypoints(image, points, seen, [(0, 2), (1, 3)], color=RED, radius=4.0)
    red = drawn[..., 0].astype(float)
    for (x, y), rows in ((points[0], slice(0, 28)), (points[1], slice(28, 60))):
        ys, xs = np.mgrid[rows, 0:80]
        weight = red[rows]
        assert (weight * xs).sum() / weight.sum() == pytest.approx(x, abs=0.1)
        assert (weight * ys).sum() / weight.sum() == pytest.approx(y, abs=0.1)
        assert (weight > 200).sum() == pytest.approx(np.pi * 16, rel=0.15)
    assert not drawn[:, :10].any() and not drawn[50:].any()
    unseen = draw_keypoints(image, points, np.zeros(4), [(0, 1)])
    np.testing.assert_array_equal(unseen, image)


def test_bones_join_their_points_in_the_color_of_the_second() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    points = np.array([[10.0, 20.0], [70.0, 20.0]])
    drawn = draw_keypoints(image, points, np.ones(2), [(0, 1)], color=[RED, GREEN], radius=3.0)
    assert (drawn[20, 20:60].argmax(axis=1) == 1).all()
    assert drawn[20, 10].argmax() == 0
    assert not drawn[:12].any()


def test_contact_sheet_places_every_picture() -> None:
    images = [
        np.full((h, w, 3), v, np.uint8) for h, w, v in ((40, 40, 10), (20, 40, 90), (80, 40, 170))
    ]
    sheet = contact_sheet(images, height=40)
    assert sheet.shape == (40 + 12, 40 + 80 + 20 + 4 * 6, 3)
    middle = sheet[26, :, 0]
    assert [(middle == v).sum() for v in (10, 90, 170)] == [40, 80, 20]
    grid = contact_sheet(images, columns=2, height=40, titles=["a", "b", "c"])
    strip = 14
    assert grid.shape == (6 + 2 * (40 + strip + 6), 40 + 80 + 3 * 6, 3)
    assert (grid[6 : 6 + strip] < 200).any(), "a caption is visible"
    assert (grid == 170).all(axis=2).sum() == 40 * 20
    with pytest.raises(InputError, match="1 titles"):
        contact_sheet(images, titles=["only one"])
    with pytest.raises(InputError, match="0 pictures"):
        contact_sheet([])


def test_labels_take_their_palette_color() -> None:
    palette = np.array([[0, 0, 0], RED, GREEN], np.uint8)
    labels = np.array([[0, 1], [2, 1]])
    np.testing.assert_array_equal(colorize_labels(labels, palette), palette[labels])
    for wrong in (3, -1):
        with pytest.raises(InputError, match="0..2"):
            colorize_labels(np.array([[wrong]]), palette)


def test_labels_tint_the_photo_but_not_its_background() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    palette = np.array([[9, 9, 9], RED, GREEN], np.uint8)
    labels = np.zeros((6, 8), np.uint8)
    labels[1:3], labels[4, 2:] = 1, 2
    drawn = draw_labels(photo, labels, palette, alpha=0.25)
    mixed = 0.75 * photo + 0.25 * palette[labels]
    assert np.abs(drawn[labels > 0] - mixed[labels > 0]).max() <= 0.5
    np.testing.assert_array_equal(drawn[labels == 0], photo[labels == 0])
    full = draw_labels(photo, labels.astype(np.int64), palette, alpha=1.0)
    np.testing.assert_array_equal(full[labels > 0], palette[labels][labels > 0])
    np.testing.assert_array_equal(draw_labels(photo, labels, palette, alpha=0.0), photo)


def test_labels_that_do_not_fit_are_refused() -> None:
    photo, palette = np.zeros((6, 8, 3), np.uint8), np.zeros((3, 3), np.uint8)
    labels = np.ones((6, 8), np.uint8)
    with pytest.raises(InputError, match="size"):
        draw_labels(photo, labels[:, :-1], palette)
    with pytest.raises(InputError, match="0..2"):
        draw_labels(photo, 3 * labels, palette)
    with pytest.raises(InputError, match="alpha"):
        draw_labels(photo, labels, palette, alpha=1.1)


def test_the_palette_tells_labels_apart() -> None:
    palette = label_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    used = palette[[*range(1, 20), 254, 255]].astype(int)
    apart = np.abs(used[:, None] - used).sum(-1) + 999 * np.eye(len(used), dtype=int)
    assert apart.min() >= 15
    assert (np.abs(np.diff(palette[1:20].astype(int), axis=0)).sum(1) > 150).all()
    assert np.ptp(palette[255]) == 0 and palette[0].max() == 0
