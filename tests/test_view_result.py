"""The interactive viewer: what it shows lies where the result says, and the page is served."""

import importlib
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.errors import InputError
from meshreg.export import FitRecord, save_npz

DEMO = Path(__file__).parents[1] / "demo"
SIZE = (120, 90)
K = np.array([[150, 0, 44.5], [0, 150, 59.5], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def view_result() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        return importlib.import_module("view_result")


@pytest.fixture(scope="module")
def record() -> FitRecord:
    """The body at rest, 4 m away; the last of its 17 key points was not seen."""
    data = load_body().data
    place = np.array([0, 0, 4], np.float32)
    joints = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32) * 0.3 + place
    names = SKELETONS["coco17"].joints
    points = np.random.default_rng(1).uniform(20, 80, (len(names), 2)).astype(np.float32)
    return FitRecord(
        body="builtin",
        topology_hash=data.topology_hash,
        betas=np.zeros(10, np.float32),
        body_pose=np.zeros((23, 3), np.float32),
        global_orient=np.zeros(3, np.float32),
        transl=place,
        pose_rotmat=np.tile(np.eye(3, dtype=np.float32), (24, 1, 1)),
        vertices_cam=(data.v_template * [1, -1, -1] + place).astype(np.float32),
        joints_cam=joints,
        joint_names=SKELETONS["smpl24"].joints,
        K=K,
        K_source="given",
        image_size=SIZE,
        keypoint_names=names,
        keypoints_px=points,
        keypoints_confidence=np.array([1] * (len(names) - 1) + [0], np.float32),
        reprojection_px=points,
    )


def run_main(view_result: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The sentence with which the script ends."""
    monkeypatch.setattr(sys, "argv", ["view_result.py", *words])
    with pytest.raises(SystemExit) as stopped:
        view_result.main()
    sentence = str(stopped.value.code)
    assert sentence.startswith("view_result.py: error: ") and "\n" not in sentence
    return sentence


def test_lines_of_sight_meet_their_pixels(view_result: ModuleType, record: FitRecord) -> None:
    ends = view_result.ray_ends(record)
    assert ends.shape == (16, 3), "the point that nobody saw has none"
    np.testing.assert_allclose(ends[:, 2], record.joints_cam[0, 2], rtol=1e-5)
    projected = ends @ K.T
    pixels = projected[:, :2] / projected[:, 2:]
    np.testing.assert_allclose(pixels, record.keypoints_px[:-1], atol=1e-3)


def test_bones_join_parent_and_child(view_result: ModuleType, record: FitRecord) -> None:
    bones = view_result.bone_ends(record)
    assert bones.shape == (23, 2, 3)
    names = SKELETONS["smpl24"].joints
    elbow, wrist = (record.joints_cam[names.index(f"left_{n}")] for n in ("elbow", "wrist"))
    assert sum(np.allclose(np.sort(bone, 0), np.sort([elbow, wrist], 0)) for bone in bones) == 1


def test_without_viser_one_sentence_says_so(
    view_result: ModuleType, record: FitRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_npz(tmp_path / "result.npz", record)
    monkeypatch.setitem(sys.modules, "viser", None)
    sentence = run_main(view_result, monkeypatch, str(tmp_path / "result.npz"))
    assert "pip install 'meshreg[demo]'" in sentence


def test_wrong_files_are_refused(
    view_result: ModuleType, record: FitRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "result.npz"
    assert "no result file" in run_main(view_result, monkeypatch, str(result))
    save_npz(result, record)
    Image.new("RGB", (50, 60)).save(tmp_path / "other.png")
    words = str(result), "--image", str(tmp_path / "other.png")
    assert "60 rows" in run_main(view_result, monkeypatch, *words)
    with pytest.raises(InputError, match="topology"):
        view_result.faces_of(replace(record, topology_hash="f" * 16), None)


@pytest.fixture
def server(view_result: ModuleType) -> Iterator[object]:
    pytest.importorskip("viser")
    server = view_result.start_server("127.0.0.1", 18431)
    yield server
    server.stop()


def test_the_viewer_serves_the_scene(
    view_result: ModuleType, record: FitRecord, server: object
) -> None:
    image = np.full((*SIZE, 3), 128, np.uint8)
    faces = view_result.faces_of(record, None)
    nodes = view_result.build_scene(server, record, faces, image)
    np.testing.assert_array_equal(nodes["body"].vertices, record.vertices_cam)
    assert nodes["camera"].aspect == pytest.approx(90 / 120)
    assert nodes["camera"].fov == pytest.approx(2 * np.arctan(60 / 150))
    assert nodes["lines of sight"].points.shape == (16, 2, 3)
    assert not nodes["skeleton"].visible and nodes["body"].visible
    with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=20) as page:
        assert page.status == 200
        assert b"<html" in page.read(2000)
