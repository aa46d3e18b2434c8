"""The committed sample pictures, joints and masks fit together and fit the photographs."""

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

DEMO = Path(__file__).parents[1] / "demo"
SAMPLES = DEMO / "samples"
SCRIPT = DEMO / "annotate_samples.py"
NAMES = ["astronaut", "camera"]
HAIR, GLOVE, UPPER_CLOTHES, COAT, PANTS, NECK, FACE = 2, 3, 5, 7, 9, 10, 13
UNKNOWN = 255
LEFT_EYE, RIGHT_EYE, LEFT_SHOULDER, RIGHT_SHOULDER = 1, 2, 5, 6  # places in COCO's list


def read_photo(name: str) -> np.ndarray:  # (H, W) or (H, W, 3) uint8
    with Image.open(SAMPLES / f"{name}.jpg") as picture:
        return np.array(picture)


def read_mask(name: str, folder: Path = SAMPLES) -> np.ndarray:  # (H, W) uint8
    with Image.open(folder / f"{name}_mask.png") as picture:
        assert picture.mode == "L", "one channel of eight bits"
        return np.array(picture)


def read_joints(name: str) -> np.ndarray:  # (17, 3): x, y, visibility
    (person,) = json.loads((SAMPLES / f"{name}_keypoints.json").read_text(encoding="utf-8"))
    assert person["category_id"] == 1
    assert person["score"] == 1.0
    return np.array(person["keypoints"], float).reshape(17, 3)


def pixels_to_person(mask: np.ndarray, joints: np.ndarray) -> np.ndarray:  # (marked joints,)
    """Distance of every marked joint to the nearest pixel that belongs to the person."""
    distance = cv2.distanceTransform(
        ((mask == 0) | (mask == UNKNOWN)).astype(np.uint8), cv2.DIST_L2, 5
    )
    columns, rows = joints[joints[:, 2] > 0, :2].round().astype(int).T
    return distance[rows, columns]


@pytest.mark.parametrize("name", NAMES)
def test_picture_and_mask_have_one_size(name: str) -> None:
    photo, mask = read_photo(name), read_mask(name)
    assert photo.shape[:2] == mask.shape == (512, 512)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {*range(20), UNKNOWN}


@pytest.mark.parametrize("name", NAMES)
def test_joints_are_coco_triplets_inside_the_picture(name: str) -> None:
    joints = read_joints(name)
    marked = joints[:, 2] > 0
    assert set(joints[:, 2]) <= {0, 1, 2}
    assert (joints[~marked] == 0).all(), "an absent joint is three zeros"
    assert (joints[marked, :2] >= 0).all()
    assert (joints[marked, :2] <= 511).all()
    assert marked.sum() >= 9
    assert not marked[13:].any(), "knees and ankles are outside both pictures"


@pytest.mark.parametrize("name", NAMES)
def test_joints_lie_on_the_person(name: str) -> None:
    mask, joints = read_mask(name), read_joints(name)
    assert pixels_to_person(mask, joints).max() <= 12
    mirrored = joints.copy()
    mirrored[:, 0] = 511 - mirrored[:, 0]
    assert pixels_to_person(mask, mirrored).max() > 12, "the check must notice wrong joints"


def test_left_is_the_persons_left() -> None:
    frontal = read_joints("astronaut")
    assert frontal[LEFT_EYE, 0] > frontal[RIGHT_EYE, 0] + 30
    assert frontal[LEFT_SHOULDER, 0] > frontal[RIGHT_SHOULDER, 0] + 150
    profile = read_joints("camera")
    assert profile[RIGHT_SHOULDER, 2] == profile[RIGHT_EYE, 2] == 2, "the near side is the right"
    assert profile[LEFT_SHOULDER, 2] < 2
    assert profile[LEFT_EYE, 2] < 2


@pytest.mark.parametrize(
    ("name", "spots"),
    [
        (
            "astronaut",
            {
                (230, 30): HAIR,
                (225, 150): FACE,
                (225, 184): NECK,
                (220, 215): UPPER_CLOTHES,
                (170, 385): COAT,
                (400, 450): UNKNOWN,  # helmet
                (30, 200): 0,  # flag
            },
        ),
        (
            "camera",
            {
                (200, 90): HAIR,
                (225, 160): FACE,
                (185, 165): NECK,
                (181, 195): UPPER_CLOTHES,
                (80, 300): COAT,
                (205, 225): GLOVE,
                (320, 205): GLOVE,
                (110, 490): PANTS,
                (300, 160): UNKNOWN,  # video camera
                (292, 270): UNKNOWN,  # tripod
                (450, 60): 0,  # sky
            },
        ),
    ],
)
def test_labels_are_in_their_places(name: str, spots: dict[tuple[int, int], int]) -> None:
    mask = read_mask(name)
    assert {spot: int(mask[spot[1], spot[0]]) for spot in spots} == spots
    assert set(np.unique(mask)) == set(spots.values())


def test_the_orange_suit_is_the_coat() -> None:
    red, green, blue = read_photo("astronaut").astype(int).transpose(2, 0, 1)
    orange = (red > 190) & (green > 60) & (green < 140) & (blue < 110) & (red - blue > 110)
    orange &= np.indices(orange.shape)[0] > 200  # below the face
    in_coat = read_mask("astronaut") == COAT
    assert orange.sum() > 30_000
    assert (orange & in_coat).sum() / orange.sum() > 0.99
    assert (orange & in_coat).sum() / in_coat.sum() > 0.4


def test_the_dark_coat_ends_where_the_bright_scene_begins() -> None:
    photo, mask = read_photo("camera"), read_mask("camera")
    coat = (mask == COAT).astype(np.uint8)
    kernel = np.ones((7, 7), np.uint8)
    inner = cv2.erode(coat, kernel, borderValue=1) > 0
    outer = (cv2.dilate((mask > 0).astype(np.uint8), kernel) == 0)[:, :230]  # left of the tripod
    assert (photo[inner] < 60).mean() > 0.99
    assert (photo[:, :230][outer] > 80).mean() > 0.99


def test_script_writes_the_committed_annotations(tmp_path: Path) -> None:
    runpy.run_path(str(SCRIPT))["write_annotations"](tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(NAMES)
    for name in NAMES:
        # OpenCV's versions differ in a few pixels on the outlines of filled polygons.
        assert (read_mask(name, tmp_path) != read_mask(name)).mean() < 2e-3
        joints = f"{name}_keypoints.json"
        assert (tmp_path / joints).read_bytes() == (SAMPLES / joints).read_bytes()


def test_check_pictures_are_drawn(tmp_path: Path) -> None:
    runpy.run_path(str(SCRIPT))["draw_checks"](tmp_path)
    for name in NAMES:
        for kind in ("outline", "tint"):
            with Image.open(tmp_path / f"{name}_{kind}.png") as picture:
                assert picture.size == (1024, 1024)
