"""Keypoint files: every layout that is understood, and a sentence for every one that is not."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from smpl_files import one_sentence

from meshreg.data.keypoints import Keypoints, read_everybody, read_keypoints
from meshreg.errors import InputError, MissingFileError

SIZE = (200, 300)  # height, width


def person(
    joints: int = 17, *, left: float = 20.0, spread: float = 5.0, flag: float = 1.0
) -> list[float]:
    """Joints on a diagonal, all with the same confidence."""
    rows = [(left + spread * j, 30.0 + spread * j, flag) for j in range(joints)]
    return [number for row in rows for number in row]


def changed(values: list[float], joint: int, column: int, value: Any) -> list[Any]:
    return [*values[: 3 * joint + column], value, *values[3 * joint + column + 1 :]]


def read(tmp_path: Path, content: Any, **options: Any) -> Keypoints:
    file = tmp_path / "people.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_keypoints(file, SIZE, **options)


def refusal(tmp_path: Path, content: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value).replace(str(tmp_path), "")
    assert one_sentence(message), message
    return message


def test_coco_results(tmp_path: Path) -> None:
    found = read(tmp_path, [{"keypoints": person(flag=0.7), "image_id": 785}])
    expected = np.array(person(flag=0.7)).reshape(17, 3)
    assert found.skeleton == "coco17"
    np.testing.assert_allclose(found.points_px, expected[:, :2])
    np.testing.assert_allclose(found.confidence, 0.7, rtol=1e-6)
    assert found.points_px.dtype == found.confidence.dtype == np.float32


def test_openpose(tmp_path: Path) -> None:
    found = read(tmp_path, {"version": 1.3, "people": [{"pose_keypoints_2d": person(25)}]})
    assert found.skeleton == "openpose25"
    assert found.points_px.shape == (25, 2)


def test_flags_become_confidences_and_unplaced_joints_zero(tmp_path: Path) -> None:
    values = person(flag=2)
    values = changed(values, 3, 2, 1)  # hidden but placed
    values = changed(values, 5, 2, 0)  # not placed, with leftovers as coordinates
    found = read(tmp_path, [{"keypoints": values}])
    assert found.confidence.tolist() == [0.0 if joint == 5 else 1.0 for joint in range(17)]
    assert found.points_px[5].tolist() == [0.0, 0.0]
    assert found.points_px[3].tolist() == [35.0, 45.0]


def test_scores_stay_scores(tmp_path: Path) -> None:
    values = changed(changed(person(flag=0.25), 4, 2, 1.04), 6, 2, 1.0)
    found = read(tmp_path, [{"keypoints": values}])
    assert found.confidence[4] == found.confidence[6] == 1.0
    assert np.allclose(np.delete(found.confidence, [4, 6]), 0.25)


# --- which person -------------------------------------------------------------------------------


def test_the_largest_person_is_taken_or_the_one_asked_for(tmp_path: Path) -> None:
    people = [{"keypoints": person(left=x, spread=s)} for x, s in [(5, 1), (40, 6), (90, 3)]]
    assert read(tmp_path, people).points_px[0, 0] == 40
    for number, left in enumerate([5, 40, 90]):
        assert read(tmp_path, people, person=number).points_px[0, 0] == left


def test_everybody_in_the_order_of_the_file(tmp_path: Path) -> None:
    nobody = [0.0] * 51
    flats = [person(spread=2.0), nobody, person(spread=6.0)]
    path = tmp_path / "keypoints.json"
    path.write_text(json.dumps([{"keypoints": flat} for flat in flats]))
    small, large = read_everybody(path, SIZE)
    assert np.ptp(small.points_px[:, 0]) < np.ptp(large.points_px[:, 0])
    path.write_text(json.dumps([{"keypoints": nobody}]))
    with pytest.raises(InputError, match="no joint"):
        read_everybody(path, SIZE)


def test_only_seen_joints_make_a_person_large(tmp_path: Path) -> None:
    unseen = person(left=5, spread=8, flag=0)
    unseen = changed(changed(unseen, 0, 2, 1), 1, 2, 1)
    people = [{"keypoints": unseen}, {"keypoints": person(left=40, spread=2)}]
    assert read(tmp_path, people).points_px[0, 0] == 40


@pytest.mark.parametrize("number", [-1, 2])
def test_a_person_who_is_not_there(tmp_path: Path, number: int) -> None:
    message = refusal(tmp_path, [{"keypoints": person()}] * 2, person=number)
    assert "2 people" in message and str(number) in message


@pytest.fixture
def annotations() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "one.jpg"}, {"id": 8, "file_name": "val/two.jpg"}],
        "annotations": [
            {"image_id": 7, "keypoints": person(left=50, spread=7)},
            {"image_id": 8, "keypoints": person(left=10, spread=2)},
            {"image_id": 8, "keypoints": person(left=70, spread=3)},
            {"image_id": 8, "keypoints": [0] * 51},
        ],
    }


def test_annotations_of_several_pictures(tmp_path: Path, annotations: dict[str, Any]) -> None:
    assert read(tmp_path, annotations, image_name="one.jpg").points_px[0, 0] == 50
    assert read(tmp_path, annotations, image_name="two.jpg").points_px[0, 0] == 70
    first_of_two = read(tmp_path, annotations, image_name="two.jpg", person=0)
    assert first_of_two.points_px[0, 0] == 10


def test_people_of_another_picture_are_not_taken(
    tmp_path: Path, annotations: dict[str, Any]
) -> None:
    assert "three.jpg" in refusal(tmp_path, annotations, image_name="three.jpg")
    refusal(tmp_path, annotations)
    results = [{"image_id": number, "keypoints": person()} for number in (1, 2)]
    assert "2 pictures" in refusal(tmp_path, results, image_name="one.jpg")


def test_a_renamed_picture_finds_its_only_annotations(
    tmp_path: Path, annotations: dict[str, Any]
) -> None:
    annotations["annotations"] = annotations["annotations"][:1]
    annotations["images"] = annotations["images"][:1]
    assert read(tmp_path, annotations, image_name="renamed.jpg").points_px[0, 0] == 50


# --- what is refused ----------------------------------------------------------------------------


BAD_VALUES = {
    "not finite": [math.nan, math.inf, -math.inf, None],
    "outside": [500.0, -40.0],
    "not numbers": ["left", [1, 2], {}, 10**400],
}


@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize(
    ("words", "value"), [(words, value) for words, some in BAD_VALUES.items() for value in some]
)
def test_bad_coordinates(tmp_path: Path, words: str, value: Any, column: int) -> None:
    values = changed(person(), 4, column, value)
    assert words in refusal(tmp_path, [{"keypoints": values}])


@pytest.mark.parametrize("value", [math.nan, math.inf, None, -1, -0.5, 3, 80])
@pytest.mark.parametrize("flag", [0.5, 2])
def test_bad_confidences(tmp_path: Path, value: Any, flag: float) -> None:
    refusal(tmp_path, [{"keypoints": changed(person(flag=flag), 4, 2, value)}])


def test_joints_a_little_over_the_edge_are_kept(tmp_path: Path) -> None:
    values = changed(changed(person(), 0, 0, -5.0), 1, 1, SIZE[0] + 5.0)
    assert read(tmp_path, [{"keypoints": values}]).points_px[0, 0] == -5.0
    far = changed(person(), 6, 0, 320.0)
    assert "joint 6 at (320, 60)" in refusal(tmp_path, [{"keypoints": far}])
    absent = changed(far, 6, 2, 0)
    assert read(tmp_path, [{"keypoints": absent}]).confidence[6] == 0


def test_nobody_was_seen(tmp_path: Path) -> None:
    assert "above 0" in refusal(tmp_path, [{"keypoints": [0] * 51}])
    assert "above 0" in refusal(tmp_path, [{"keypoints": person(flag=0)}])


@pytest.mark.parametrize("joints", [1, 16, 18, 24, 133])
def test_wrong_number_of_joints(tmp_path: Path, joints: int) -> None:
    assert str(3 * joints) in refusal(tmp_path, [{"keypoints": person(joints)}])
    assert "50 numbers" in refusal(tmp_path, [{"keypoints": person()[:-1]}])


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        "3",
        "null",
        '"keypoints"',
        [1, 2, 3],
        {"people": []},
        {"people": None},
        {"people": [3, {}, {"pose_keypoints_2d": None}, {"pose_keypoints_2d": []}]},
        {"annotations": None},
        {"annotations": [None, 5, {"keypoints": "x"}], "images": [None, {}]},
        {"images": None, "annotations": {}},
        [{"bbox": [0, 0, 1, 1]}],
        {"annotations": [{"image_id": 2}], "images": [{"id": 7, "file_name": "one.jpg"}]},
    ],
)
def test_files_without_people(tmp_path: Path, content: Any) -> None:
    assert "no person" in refusal(tmp_path, content, image_name="one.jpg")


@pytest.mark.parametrize("content", ["", "{", "x,y,c\n1,2,3", "[1,]"])
def test_not_json(tmp_path: Path, content: str) -> None:
    assert "not a JSON file" in refusal(tmp_path, content)


def test_not_text_or_not_there(tmp_path: Path) -> None:
    picture = tmp_path / "picture.json"
    picture.write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(InputError, match="not a JSON file"):
        read_keypoints(picture, SIZE)
    with pytest.raises(MissingFileError, match=r"none\.json"):
        read_keypoints(tmp_path / "none.json", SIZE)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + json.dumps([{"keypoints": person()}])).confidence.all()
