"""Boxes from files of every layout, and files that are none."""

import json
from pathlib import Path

import numpy as np
import pytest

from meshreg.data.boxes import read_boxes, square_around, whole_picture
from meshreg.errors import InputError, MissingFileError


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        [[10, 20, 30, 60]],
        {"boxes": [[10, 20, 30, 60]]},
        {"a.jpg": [[10, 20, 30, 60]], "b.jpg": []},
        {"boxes": {"folder/a.jpg": [[10, 20, 30, 60]]}},
        [{"bbox": [10.5, 20.5, 20, 40], "score": 0.5}, {"bbox": [0, 0, 9, 9], "category_id": 3}],
        {
            "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
            "annotations": [
                {"image_id": 7, "bbox": [10.5, 20.5, 20, 40], "category_id": 1},
                {"image_id": 8, "bbox": [1, 2, 3, 4], "category_id": 1},
            ],
        },
    ],
)
def test_layouts(tmp_path: Path, content: object) -> None:
    boxes = read_boxes(written(tmp_path, content)).of("a.jpg")
    np.testing.assert_allclose(boxes.corners, [[10, 20, 30, 60]])
    assert boxes.scores.tolist() == [0.5 if "score" in json.dumps(content) else 1.0]


def test_pictures_that_are_not_in_the_file(tmp_path: Path) -> None:
    boxes = read_boxes(written(tmp_path, {"a.jpg": [[10, 20, 30, 60]], "b.jpg": []}))
    assert boxes.of("b.jpg").corners.shape == (0, 4)
    with pytest.raises(InputError, match="no boxes for c.jpg"):
        boxes.of("c.jpg")


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[[1, 2, 3",
        "7",
        "null",
        "[]",
        "{}",
        '[[1, 2, 3, "a"]]',
        "[[1, 2, 3]]",
        "[[1, 2, 3, 4], [1, 2]]",
        "[[[1, 2, 3, 4]]]",
        "[1, 2, 3, 4]",
        '{"a.jpg": 3}',
        '[{"box": [1, 2, 3, 4]}]',
        '[{"bbox": [1, 2, 3]}]',
        '[{"bbox": [1, 2, 3, 4], "image_id": 1}, {"bbox": [1, 2, 3, 4], "image_id": 2}]',
        '{"annotations": 5}',
    ],
)
def test_files_without_boxes(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="boxes"):
        read_boxes(written(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file of boxes"):
        read_boxes(tmp_path / "none.json")


def test_squares() -> None:
    np.testing.assert_allclose(whole_picture((20, 30)), [-0.5, -0.5, 29.5, 19.5])
    np.testing.assert_allclose(square_around(np.array([10, 20, 30, 60]), 1.5), [20, 40, 60])
