"""Keypoint files of films: layouts, who is who, gaps, and a sentence for each bad file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lift_people import SIZE, coco_person, walk
from smpl_files import one_sentence

from meshreg.body.skeleton import SKELETONS
from meshreg.data.keypoint_clips import read_clip
from meshreg.data.lifter_input import H36M, lifter_input
from meshreg.data.tracks import Track, chosen_track, swapped_frames, tracks_of
from meshreg.errors import InputError, MissingFileError

POINTS = walk(8).coco_px.numpy()
PEOPLE = [coco_person(p) for p in walk(8).coco_px]


def json_file(folder: Path, content: Any) -> Path:
    path = folder / "clip.json"
    path.write_text(json.dumps(content))
    return path


def only_track(path: Path, **options: Any) -> Track:
    (track,) = tracks_of(read_clip(path, **options))
    return track


def nested(person: dict[str, Any]) -> dict[str, Any]:
    rows = np.reshape(person["keypoints"], (-1, 3))
    return {"keypoints": rows[:, :2].tolist(), "keypoint_scores": rows[:, 2].tolist()}


LAYOUTS = {
    "coco results": [p | {"image_id": i} for i, p in enumerate(PEOPLE)],
    "alphapose": [p | {"image_id": f"{i}.jpg", "score": 2.9} for i, p in enumerate(PEOPLE)],
    "coco annotations": {
        "images": [
            {"id": 70 + i, "file_name": f"f_{i:03}.png", "height": SIZE[0], "width": SIZE[1]}
            for i in range(8)
        ],
        "annotations": [p | {"image_id": 70 + i} for i, p in reversed([*enumerate(PEOPLE)])],
    },
    "mmpose": {
        "meta_info": {},
        "instance_info": [{"frame_id": i, "instances": [nested(p)]} for i, p in enumerate(PEOPLE)],
    },
    "frames": {"fps": 25, "image_size": SIZE, "frames": [{"people": [p]} for p in PEOPLE]},
    "list of lists": [[p] for p in PEOPLE],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_json(tmp_path: Path, layout: str) -> None:
    clip = read_clip(json_file(tmp_path, LAYOUTS[layout]))
    (track,) = tracks_of(clip)
    np.testing.assert_allclose(track.points_px, POINTS, atol=1e-4)
    assert clip.joints.name == "coco17"
    assert clip.size == (SIZE if layout in ("coco annotations", "frames") else None)


def test_a_folder_of_openpose_keeps_frames_without_people(tmp_path: Path) -> None:
    table = np.zeros((25, 3))
    for number in (3, 4, 6):
        table[:, :2] = np.arange(50).reshape(25, 2) + number
        table[:, 2] = 0.8
        people = [{"person_id": [-1], "pose_keypoints_2d": table.ravel().tolist()}]
        content = {"version": 1.3, "people": people if number != 4 else []}
        (tmp_path / f"film_{number:012}_keypoints.json").write_text(json.dumps(content))
    clip = read_clip(tmp_path)
    assert [len(frame) for frame in clip.frames] == [1, 0, 0, 1]
    assert clip.joints.name == "openpose25"
    (track,) = tracks_of(clip)
    assert track.confidence[:, 0].tolist() == [0.8, 0, 0, 0.8]


def test_arrays(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    confidence = np.full((8, 17), 0.7)
    np.savez(
        path, keypoints=POINTS, confidence=confidence, joint_set="coco17", fps=30, image_size=SIZE
    )
    clip = read_clip(path)
    assert (clip.fps, clip.size) == (30.0, SIZE)
    np.testing.assert_allclose(only_track(path).confidence, confidence)
    np.savez(path, keypoints=POINTS)
    with pytest.raises(InputError, match="--joint-set"):
        read_clip(path)
    np.testing.assert_allclose(only_track(path, joint_set="coco17").points_px, POINTS, atol=1e-4)
    shuffled = [3, 0, 5]
    names = np.array(SKELETONS["coco17"].joints)[shuffled]
    np.savez(path, keypoints=POINTS[:, shuffled], joint_names=names)
    assert read_clip(path).joints.joints == tuple(names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"a": 1}, "laid out"),
        ([], "laid out"),
        ([{"image_id": 0, "keypoints": [1.0, 2.0, 1.0] * 5}], "5 joints"),
        ([{"image_id": 0, "keypoints": [1.0] * 50}], "for every joint"),
        ([{"image_id": 0, "keypoints": [1.0, 2.0, -1.0] * 17}], "confidences from -1"),
        ([{"image_id": 0, "keypoints": []}], "nobody"),
        ([[PEOPLE[0]], [{"keypoints": [1.0, 2.0, 1.0] * 25}]], "17, 25 joints"),
    ],
)
def test_bad_json(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_clip(json_file(tmp_path, content))
    message = str(caught.value).replace(str(tmp_path), "")
    assert words in message
    assert one_sentence(message), message


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_clip(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InputError, match="not a JSON file"):
        read_clip(tmp_path / "text.json")
    with pytest.raises(InputError, match=r"no \.json files"):
        (tmp_path / "empty").mkdir()
        read_clip(tmp_path / "empty")


# --- who is who -----------------------------------------------------------------------------------
def two_people(named: bool) -> list[list[dict[str, Any]]]:
    """Two people side by side, in changing order; the second is seen in three frames only."""
    frames = []
    for i in range(8):
        first, second = PEOPLE[i], coco_person(walk(8).coco_px[i] + 200)
        tags = ({"track_id": 7}, {"track_id": 3}) if named else ({}, {})
        pair = [first | tags[0]] + [second | tags[1]] * (2 <= i < 5)
        frames.append(pair[:: -1 if i % 2 else 1])
    return frames


@pytest.mark.parametrize("named", [True, False])
def test_people_are_told_apart(tmp_path: Path, named: bool) -> None:
    tracks = tracks_of(read_clip(json_file(tmp_path, two_people(named))))
    assert [t.person for t in tracks] == (["7", "3"] if named else ["0", "1"])
    np.testing.assert_allclose(chosen_track(tracks, None).points_px, POINTS, atol=1e-4)
    other = chosen_track(tracks, 3 if named else 1)
    assert (other.start, len(other.points_px)) == (2, 3)
    np.testing.assert_allclose(other.points_px, POINTS[2:5] + 200, atol=1e-4)
    with pytest.raises(InputError, match=r"no person 9: choose from .*\(8 frames\)"):
        chosen_track(tracks, 9)


# --- Human3.6M's joints ---------------------------------------------------------------------------
def test_limbs_are_copied_by_name_and_the_rest_is_built(tmp_path: Path) -> None:
    track = only_track(json_file(tmp_path, LAYOUTS["list of lists"]))
    known = lifter_input(track, SIZE)
    assert not known.remarks
    by_name = dict(zip(H36M.joints, known.keypoints_px[0], strict=True))
    coco = dict(zip(track.joints.joints, POINTS[0], strict=True))
    for name in H36M.joints:
        if name in coco:
            np.testing.assert_allclose(by_name[name], coco[name], atol=1e-3)
    # The body's own points, right to some centimetres; a metre is 139 pixels here.
    truth = walk(8).h36m_px[0].numpy()
    assert np.linalg.norm(known.keypoints_px[0] - truth, axis=1).max() < 0.04 * 139


def test_gaps_lie_on_straight_lines_and_are_told(tmp_path: Path) -> None:
    frames = [[nested(p)] for p in PEOPLE]
    wrist = walk(8).coco_px.numpy()[:, 9]
    for i in (3, 4):
        frames[i][0]["keypoints"][9] = [float("nan"), float("nan")]
    frames[0][0]["keypoint_scores"][10] = 0.1
    known = lifter_input(only_track(json_file(tmp_path, frames)), SIZE)
    (place,) = H36M.index("left_wrist")
    third = wrist[2] + (wrist[5] - wrist[2]) / 3
    np.testing.assert_allclose(known.keypoints_px[3, place], third, atol=1e-3)
    assert known.confidence[3, place] == 0
    np.testing.assert_allclose(known.keypoints_px[0, 16], known.keypoints_px[1, 16])
    assert "up to 2 frames in a row" in known.remarks[0]


def test_unseen_arms_stay_at_the_joint_above_and_hips_are_needed(tmp_path: Path) -> None:
    frames = [[nested(p)] for p in PEOPLE]
    for frame in frames:
        frame[0]["keypoint_scores"][9] = 0.0
    known = lifter_input(only_track(json_file(tmp_path, frames)), SIZE)
    assert "left_wrist" in known.remarks[0]
    wrist, elbow = H36M.index("left_wrist", "left_elbow")
    np.testing.assert_allclose(known.keypoints_px[:, wrist], known.keypoints_px[:, elbow])
    for frame in frames:
        frame[0]["keypoint_scores"][11] = 0.0
    with pytest.raises(InputError, match="no frame shows left_hip of person 0"):
        lifter_input(only_track(json_file(tmp_path, frames)), SIZE)


def test_a_back_without_a_face_can_be_lifted(tmp_path: Path) -> None:
    frames = [[nested(p)] for p in PEOPLE]
    for frame in frames:
        frame[0]["keypoint_scores"][:5] = [0.0] * 5
    known = lifter_input(only_track(json_file(tmp_path, frames)), SIZE)
    assert known.remarks[0].startswith("100% of the frames show no face") and known.confidence.all()
    truth = walk(8).h36m_px.numpy()
    assert np.linalg.norm(known.keypoints_px - truth, axis=2).max() < 0.12 * 139


def test_a_wrong_size_and_shares_are_noticed(tmp_path: Path) -> None:
    track = only_track(json_file(tmp_path, LAYOUTS["list of lists"]))
    with pytest.raises(InputError, match="outside the 100x80 picture"):
        lifter_input(track, (80, 100))
    shares = [[coco_person(p / 640)] for p in walk(8).coco_px]
    with pytest.raises(InputError, match="shares of its size"):
        lifter_input(only_track(json_file(tmp_path, shares)), SIZE)


def test_a_person_without_extent_is_nobody(tmp_path: Path) -> None:
    point = [[coco_person(0 * p + 300)] for p in walk(8).coco_px]
    with pytest.raises(InputError, match="lie within 0.0 px: a person must be at least 8 px"):
        lifter_input(only_track(json_file(tmp_path, point)), SIZE)


def test_empty_files_and_impossible_frame_rates_are_named(tmp_path: Path) -> None:
    (tmp_path / "clip.npz").touch()
    with pytest.raises(InputError, match="is empty"):
        read_clip(tmp_path / "clip.npz")
    np.savez(tmp_path / "film.npz", keypoints=np.zeros((3, 17, 3)), joint_set="coco17", fps=-30.0)
    with pytest.raises(InputError, match="has fps -30: expected frames per second above 0"):
        read_clip(tmp_path / "film.npz")


def test_a_planted_swap_of_sides_is_found(tmp_path: Path) -> None:
    track = only_track(json_file(tmp_path, LAYOUTS["list of lists"]))
    known = lifter_input(track, SIZE)
    assert swapped_frames(known.keypoints_px, H36M) == []
    swapped = [[nested(p)] for p in PEOPLE]
    for i in (4, 5):
        points = swapped[i][0]["keypoints"]
        swapped[i][0]["keypoints"] = [points[f] for f in track.joints.flip]
    known = lifter_input(only_track(json_file(tmp_path, swapped)), SIZE)
    assert "change places at frame 4, 6" in known.remarks[0]


def test_a_film_without_any_joint_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", keypoints=np.full((4, 17, 2), np.nan), joint_set="coco17")
    with pytest.raises(InputError, match="no frame shows a joint"):
        chosen_track(tracks_of(read_clip(tmp_path / "clip.npz")), None)
