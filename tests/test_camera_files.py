"""Camera files of all kinds, written by the tools themselves where they are here."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from meshreg.data.camera_files import read_camera
from meshreg.errors import InputError, MissingFileError

SIZE = (480, 640)
K = np.array([[512.25, 0.0, 318.5], [0.0, 510.75, 241.5], [0.0, 0.0, 1.0]])
BENT = np.array([[0.1, -0.25, 0.001, 0.0005, 0.0]])

ROS = """image_width: 640
image_height: 480
camera_name: head
camera_matrix:
  rows: 3
  cols: 3
  data: [512.25, 0, 318.5, 0, 510.75, 241.5, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0, 0, 0, 0, 0]
"""


def written(folder: Path, content: Any, name: str = "camera.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def opencv(folder: Path, name: str, **values: Any) -> Path:
    storage = cv2.FileStorage(str(folder / name), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        storage.write(key, value)
    storage.release()
    return folder / name


@pytest.mark.parametrize("name", ["c.yml", "c.yaml", "c.json", "c.xml"])
@pytest.mark.parametrize("key", ["camera_matrix", "K", "Camera_Matrix"])
def test_files_of_opencv(tmp_path: Path, name: str, key: str) -> None:
    values: dict[str, Any] = {"image_width": 640, "image_height": 480, key: K}
    path = opencv(tmp_path, name, **values, distortion_coefficients=np.zeros((1, 5)))
    camera = read_camera(path, SIZE)
    np.testing.assert_allclose(camera.K, K)
    assert camera.source == f"camera file {name}"
    bent = read_camera(opencv(tmp_path, name, **values, distortion_coefficients=BENT), SIZE)
    assert "warning: its lens distortion is left out" in bent.source


@pytest.mark.parametrize(
    "content",
    [
        {"K": K.tolist()},
        {"fx": 512.25, "fy": 510.75, "cx": 318.5, "cy": 241.5, "width": 640},
        {"camera_matrix": K.flatten().tolist(), "height": 480},
        ROS,
        "fx: 512.25\nfy: 510.75\ncx: 318.5\ncy: 241.5\n",
    ],
)
def test_plain_files(tmp_path: Path, content: Any) -> None:
    camera = read_camera(written(tmp_path, content), SIZE)
    np.testing.assert_allclose(camera.K, K)
    assert "warning" not in camera.source and camera.K.dtype == torch.float32


REFUSED = [
    ({"R": [[1, 0, 0]], "T": [0, 0, 1]}, "no camera matrix in it, but R, T"),
    ({"K": K[:2].tolist()}, "K has 6 numbers, not 9"),
    ({"K": [*K[:2].tolist(), [0.1, 0, 1]]}, "not a matrix of intrinsics"),
    ({"K": np.diag([-500.0, 500, 1]).tolist()}, "positive focal lengths in K, found -500"),
    ({"K": np.diag([0.0, 500, 1]).tolist()}, "found 0"),
    ({"K": np.diag([5.0, 500, 1]).tolist()}, "not plausible"),
    ({"K": (K + [[0, 0, 9e3], [0, 0, 0], [0, 0, 0]]).tolist()}, "principal point"),
    ({"K": K.tolist(), "width": 1280, "height": 960}, "is for a 1280x960 picture"),
    ({"K": K.tolist(), "image_width": 1280}, "is for a 1280x480 picture"),
    ({"K": "none"}, "not a camera file"),
    ({"K": {"rows": 3}}, "not a camera file"),
    ([1, 2, 3], "no named values"),
    ("", "no named values"),
    ("{", "not a camera file"),
    ("a: [1, 2", "neither JSON nor YAML"),
    ("!!python/object/apply:os.getcwd []", "neither JSON nor YAML"),
    ("%YAML:1.0\n---\nrotation: 3\n", "no camera matrix in it, but rotation"),
    ("<svg></svg>", "XML of another kind, <svg>"),
    ("<opencv_storage>", "no XML"),
    ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><opencv_storage/>', "declarations"),
]


@pytest.mark.parametrize("content, sentence", REFUSED)
def test_files_of_the_wrong_kind(tmp_path: Path, content: Any, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        read_camera(written(tmp_path, content), SIZE)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_pictures_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="photo.png is not a camera file"):
        read_camera(path, SIZE)
    with pytest.raises(MissingFileError, match="no camera file"):
        read_camera(tmp_path / "none.yml", SIZE)


def test_skew_is_kept(tmp_path: Path) -> None:
    skewed = K + [[0, 1.5, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(
        read_camera(written(tmp_path, {"K": skewed.tolist()}), SIZE).K, skewed
    )
