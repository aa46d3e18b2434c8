"""The demo: the committed synthetic people fit together, and the scripts do what they say."""

import importlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from meshreg.body.assets import write_npz
from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import Body, load_body
from meshreg.data.images import read_image
from meshreg.data.keypoints import read_keypoints
from meshreg.data.labels import read_labels
from meshreg.errors import InputError
from meshreg.export import FitRecord
from meshreg.geometry.cameras import project
from meshreg.metrics import mask_iou
from meshreg.render.rasterizer import rasterizer

DEMO = Path(__file__).parents[1] / "demo"
SAMPLES = DEMO / "samples"
PEOPLE = ("synthetic_1", "synthetic_2")
SIZE = (640, 512)
LIMB_LABEL = {
    "left_elbow": 14,
    "left_wrist": 14,
    "right_elbow": 15,
    "right_wrist": 15,
    "left_ankle": 16,
    "right_ankle": 17,
}


def script(name: str) -> ModuleType:
    """A script of the demo as a module; its folder comes first, as when somebody runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def make_synthetic() -> ModuleType:
    return script("make_synthetic")


@pytest.fixture(scope="module")
def fit_samples() -> ModuleType:
    return script("fit_samples")


@pytest.fixture(scope="module")
def drawn(make_synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the second person, made anew."""
    folder = tmp_path_factory.mktemp("drawn")
    person = make_synthetic.PEOPLE["synthetic_2"]
    make_synthetic.write_person("synthetic_2", person, load_body(), folder)
    return folder


def truth_of(name: str) -> dict[str, torch.Tensor]:
    with np.load(SAMPLES / f"{name}_truth.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays if key != "topology_hash"}


def placed_joints(name: str) -> dict[str, tuple[float, float, int]]:
    """x, y and COCO's visibility flag of every joint."""
    (person,) = json.loads((SAMPLES / f"{name}_keypoints.json").read_text())
    table = np.array(person["keypoints"]).reshape(-1, 3)
    return dict(zip(SKELETONS["coco17"].joints, map(tuple, table.tolist()), strict=True))


def posed(body: Body, truth: dict[str, torch.Tensor]) -> torch.Tensor:
    pose = truth["betas"][None], truth["pose_rotmat"][None], truth["transl"][None]
    return body(*pose).vertices


# --- the committed files --------------------------------------------------------------------------
@pytest.mark.parametrize("name", PEOPLE)
def test_truth_projects_onto_the_keypoints(name: str, body: Body) -> None:
    truth = truth_of(name)
    given = read_keypoints(SAMPLES / f"{name}_keypoints.json", SIZE)
    regressor = torch.from_numpy(body.data.regressors["coco17"])
    points = regressor @ posed(body, truth)[0]
    distance = project(points, truth["K"]).numpy() - given.points_px
    assert np.linalg.norm(distance, axis=1).max() < 0.6
    assert (given.confidence == 1).all()


@pytest.mark.parametrize("name", PEOPLE)
def test_truth_agrees_with_itself(name: str, body: Body) -> None:
    truth = truth_of(name)
    pose = truth["betas"][None], truth["pose_rotmat"][None], truth["transl"][None]
    torch.testing.assert_close(body(*pose).joints[0, :24], truth["joints_cam"])
    focal = SIZE[1] / 2 / math.tan(math.radians(float(truth["fov_deg"]) / 2))
    assert float(truth["K"][0, 0]) == pytest.approx(focal)
    with np.load(SAMPLES / f"{name}_truth.npz") as arrays:
        assert str(arrays["topology_hash"]) == body.topology_hash


@pytest.mark.parametrize("name", PEOPLE)
def test_labels_cover_the_rendered_body(name: str, body: Body) -> None:
    truth = truth_of(name)
    labels = read_labels(SAMPLES / f"{name}_mask.png", SIZE)
    hit = rasterizer().fragments(posed(body, truth), body.faces, truth["K"][None], SIZE)
    covered = hit.pix_to_face[0, ..., 0] >= 0
    assert float(mask_iou(covered, torch.from_numpy(labels > 0))) > 0.99
    assert not bool(covered[0].any() | covered[-1].any() | covered[:, 0].any())  # all in view


@pytest.mark.parametrize("name", PEOPLE)
def test_limbs_carry_their_own_label(name: str) -> None:
    """Where a wrist, elbow or ankle is seen, the picture is labelled as that side's limb."""
    labels = read_labels(SAMPLES / f"{name}_mask.png", SIZE)
    seen = [joint for joint, (_, _, flag) in placed_joints(name).items() if flag == 2]
    for joint in seen:
        if joint in LIMB_LABEL:
            x, y, _ = placed_joints(name)[joint]
            assert labels[round(y), round(x)] == LIMB_LABEL[joint], joint
    assert {"right_wrist", "left_elbow", "left_ankle", "right_ankle"} <= set(seen)


def test_clothes_are_worn_where_they_belong() -> None:
    """Down the walker's middle: hair, face, neck, top, trousers, leg."""
    labels = read_labels(SAMPLES / "synthetic_1_mask.png", SIZE)
    rows = [np.nonzero(labels == part)[0].mean() for part in (2, 13, 10, 5, 9, 16)]
    assert rows == sorted(rows)
    assert set(np.unique(labels)) == {0, 2, 5, 9, 10, 13, 14, 15, 16, 17}
    assert 5 not in read_labels(SAMPLES / "synthetic_2_mask.png", SIZE)


def test_hidden_joints_are_marked() -> None:
    """Who is seen from behind hides the nose; who comes towards us shows it."""
    walker, reacher = (placed_joints(name) for name in PEOPLE)
    assert walker["nose"][2] == 2 and reacher["nose"][2] == 1
    assert walker["left_wrist"][2] == 2 and reacher["left_wrist"][2] == 1


# --- making them again ----------------------------------------------------------------------------
def test_the_picture_is_reproduced(drawn: Path) -> None:
    made, kept = (read_image(folder / "synthetic_2.jpg") for folder in (drawn, SAMPLES))
    difference = np.abs(made.astype(np.int16) - kept)
    assert difference.mean() < 0.5
    assert (difference.max(-1) > 16).mean() < 1e-3
    labels = [read_labels(f / "synthetic_2_mask.png", SIZE) for f in (drawn, SAMPLES)]
    assert (labels[0] != labels[1]).mean() < 1e-4


def test_joints_and_truth_are_reproduced(drawn: Path) -> None:
    name = "synthetic_2_keypoints.json"
    made, kept = (read_keypoints(folder / name, SIZE) for folder in (drawn, SAMPLES))
    np.testing.assert_allclose(made.points_px, kept.points_px, atol=0.02)
    with (
        np.load(drawn / "synthetic_2_truth.npz") as made_truth,
        np.load(SAMPLES / "synthetic_2_truth.npz") as kept_truth,
    ):
        assert set(made_truth) == set(kept_truth)
        for key in set(kept_truth) - {"topology_hash"}:
            np.testing.assert_allclose(made_truth[key], kept_truth[key], atol=1e-5)


def test_every_sample_file_is_small() -> None:
    for name in PEOPLE:
        files = list(SAMPLES.glob(f"{name}*"))
        assert len(files) == 4 and sum(file.stat().st_size for file in files) < 150_000
        with Image.open(SAMPLES / f"{name}.jpg") as picture:
            assert picture.size == SIZE[::-1]


# --- the table ------------------------------------------------------------------------------------
@pytest.fixture
def record() -> FitRecord:
    """A result whose three joints miss by 3, 5 and, without confidence, 100 pixels."""
    names = ("nose", "left_eye", "right_eye")
    return FitRecord(
        body="builtin",
        topology_hash="0123456789abcdef",
        betas=np.zeros(10, np.float32),
        body_pose=np.zeros((23, 3), np.float32),
        global_orient=np.zeros(3, np.float32),
        transl=np.zeros(3, np.float32),
        pose_rotmat=np.tile(np.eye(3, dtype=np.float32), (24, 1, 1)),
        vertices_cam=np.zeros((4, 3), np.float32),
        joints_cam=np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32),
        joint_names=SKELETONS["smpl24"].joints,
        K=np.eye(3, dtype=np.float32),
        K_source="given",
        image_size=SIZE,
        keypoint_names=names,
        keypoints_px=np.zeros((3, 2), np.float32),
        keypoints_confidence=np.array([1, 0.5, 0], np.float32),
        reprojection_px=np.array([[3, 0], [3, 4], [100, 0]], np.float32),
        silhouette_iou=0.9125,
    )


def test_row_reads_the_result(fit_samples: ModuleType, record: FitRecord, tmp_path: Path) -> None:
    sample = fit_samples.Sample(tmp_path, "fake")
    row = fit_samples.row_of(sample, record, 12.0)
    assert row.error_px == pytest.approx((3 + 0.5 * 5) / 1.5)
    assert row.silhouette_iou == 0.9125 and math.isnan(row.pa_mpjpe_mm)


def test_truth_is_compared_up_to_a_similarity(
    fit_samples: ModuleType, record: FitRecord, tmp_path: Path
) -> None:
    sample = fit_samples.Sample(tmp_path, "fake")
    moved = 1.3 * record.joints_cam[:, [1, 2, 0]] + np.float32(0.5)
    write_npz(sample.truth, {"topology_hash": np.array(record.topology_hash), "joints_cam": moved})
    assert fit_samples.joint_error_mm(record, sample.truth) < 0.01
    mirrored = replace(record, joints_cam=record.joints_cam * np.float32([-1, 1, 1]))
    assert fit_samples.joint_error_mm(mirrored, sample.truth) > 100
    with pytest.raises(InputError, match="topology"):
        other = replace(record, topology_hash="f" * 16)
        fit_samples.joint_error_mm(other, sample.truth)


def test_table_shows_numbers_and_dashes(fit_samples: ModuleType) -> None:
    rows = [
        fit_samples.Row("astronaut", 2.46, 0.8837, math.nan, 8.3),
        fit_samples.Row("synthetic_1", 0.9, math.nan, 30.37, 5.7),
    ]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(fit_samples.table_of(rows))
    lines = captured.get().splitlines()
    (photo,) = [line for line in lines if "astronaut" in line]
    (synthetic,) = [line for line in lines if "synthetic_1" in line]
    assert [cell.strip() for cell in photo.split("│")[2:-1]] == ["2.5", "0.884", "-", "8.3"]
    assert [cell.strip() for cell in synthetic.split("│")[2:-1]] == ["0.9", "-", "30.4", "5.7"]


def test_only_synthetic_people_come_with_a_field_of_view(
    fit_samples: ModuleType, tmp_path: Path
) -> None:
    synthetic = fit_samples.Sample(SAMPLES, "synthetic_1").arguments(tmp_path)
    assert synthetic[synthetic.index("--fov") + 1] == "45"
    photo = fit_samples.Sample(SAMPLES, "astronaut").arguments(tmp_path)
    assert "--fov" not in photo
    for words in (synthetic, photo):
        given = [words[1]] + [words[words.index(f"--{o}") + 1] for o in ("keypoints", "semantics")]
        assert all(Path(path).is_file() for path in given)


def test_a_failing_fit_stops_the_demo(
    fit_samples: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        fit_samples.fit_sample(fit_samples.Sample(tmp_path, "absent"), tmp_path / "out")
    assert stopped.value.code == 2
    assert "absent" in capsys.readouterr().err


@pytest.mark.slow
def test_demo_recovers_the_walker(
    fit_samples: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["fit_samples.py", "--only", "synthetic_1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    fit_samples.main()
    record = fit_samples.load_npz(tmp_path / "synthetic_1" / "result.npz")
    row = fit_samples.row_of(fit_samples.Sample(SAMPLES, "synthetic_1"), record, 0.0)
    assert row.pa_mpjpe_mm < 60 and row.silhouette_iou > 0.9 and row.error_px < 5
    assert read_image(tmp_path / "samples.png").shape[1] > 900
