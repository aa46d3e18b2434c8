"""`meshreg predict`: what it writes and says, and how it says no."""

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from stub_detectors import BOXES, STANDING_X, STANDING_Y, install

from meshreg.body.smpl import load_body
from meshreg.cli import main
from meshreg.export import load_npz
from meshreg.models.architecture import ARCHITECTURES
from meshreg.models.builders import build_hmr
from meshreg.models.checkpoint import save_model
from meshreg.models.detectors import Found, PersonDetector
from meshreg.predictor import regress

SIZE = (120, 160)
QUICK = ["--settings.start_steps=[2,2,2,2,2]", "--settings.fine_px=64", "--settings.coarse_px=48"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    architecture = replace(
        ARCHITECTURES["hmr_small"], width=16, conditioned=True, image_size=64, depth=1
    )
    save_model(path, build_hmr(architecture, body=load_body()))
    return path


@pytest.fixture(autouse=True)
def nothing_is_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no_cache"))
    monkeypatch.setattr("meshreg.models.pretrained.hub_answers", lambda: False)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return draw(tmp_path / "photo.png")


def draw(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def standing(shift: int = 0) -> dict[str, object]:
    """A COCO person."""
    pairs = zip(STANDING_X, STANDING_Y, strict=True)
    return {"keypoints": [n for x, y in pairs for n in (x + shift, y, 2)]}


def run(
    capsys: pytest.CaptureFixture[str], image: Path, model: Path, *more: str
) -> tuple[int, str, str]:
    out = image.parent / "out"
    code = main(["predict", str(image), f"--model={model}", f"--out={out}", *more])
    said = capsys.readouterr()
    return code, said.out, said.err


def refused(capsys: pytest.CaptureFixture[str], image: Path, model: Path, *more: str) -> str:
    """The one sentence with which bad input is refused."""
    code, _, err = run(capsys, image, model, *more)
    assert code == 2
    assert err.startswith("meshreg: error: ") and err.count("\n") == 1
    return err


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what is written ------------------------------------------------------------------------------
def test_boxes_give_everybody_an_overlay_a_scene_and_numbers(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = write(tmp_path / "boxes.json", BOXES)
    code, said, _ = run(capsys, photo, model, f"--boxes={boxes}", "--fov=60")
    assert code == 0
    for words in ("photo.png: 2 people, boxes from boxes.json", "field of view of 60 degrees"):
        assert words in said
    assert "warning" not in said
    out = tmp_path / "out"
    assert names(out) == ["photo.glb", "photo_0.npz", "photo_1.npz", "photo_overlay.png"]
    records = [load_npz(out / f"photo_{number}.npz") for number in (0, 1)]
    scene = trimesh.load(out / "photo.glb")
    assert sorted(scene.geometry) == ["person_0", "person_1"]
    for number, record in enumerate(records):
        flipped = record.vertices_cam * [1, -1, -1]
        bounds = scene.geometry[f"person_{number}"].bounds
        np.testing.assert_allclose(bounds, [flipped.min(0), flipped.max(0)], atol=1e-4)
        assert record.image_size == SIZE and "60 degrees" in record.K_source
    with Image.open(out / "photo_overlay.png") as overlay:
        assert overlay.size == SIZE[::-1]


def test_without_boxes_the_whole_picture_is_taken_with_a_warning(
    photo: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = run(capsys, photo, model)
    assert code == 0
    assert "warning" in said and "--boxes" in said and "--detect" in said
    assert "guessed: focal length = image diagonal" in said


def test_the_focal_length_is_taken_from_exif_unless_told_otherwise(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = draw(tmp_path / "phone.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright
    exif.get_ifd(0x8769)[0xA405] = 26
    with Image.open(photo) as opened:
        opened.save(photo, exif=exif)
    code, said, _ = run(capsys, photo, model)
    assert code == 0 and "focal length 120, 120 px; EXIF: 26 mm" in said
    record = load_npz(tmp_path / "out" / "phone_0.npz")
    assert record.K[0, 0] == pytest.approx(26 / 43.2666 * 200, rel=1e-4)
    assert record.image_size == SIZE[::-1] and record.K_source.startswith("EXIF")
    for option, words in (
        ("--exif=false", "guessed"),
        ("--focal=150", "as given"),
        ("--fov=60", "as given"),
    ):
        assert words in run(capsys, photo, model, option)[1]


def test_a_folder_goes_on_after_broken_pictures(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    draw(folder / "a.png")
    draw(folder / "a.jpg")
    draw(folder / "c.png")
    (folder / "b.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("nothing")
    boxes = {name: BOXES[:1] for name in ("a.png", "a.jpg", "b.png")} | {
        "c.png": [[500, 1, 600, 9]]
    }
    file = write(tmp_path / "boxes.json", boxes)
    out = tmp_path / "results"
    code, said, _ = run(capsys, folder, model, f"--boxes={file}", f"--out={out}")
    assert code == 0
    skipped = [line for line in said.splitlines() if line.startswith("skipped")]
    assert len(skipped) == 2
    assert "b.png" in skipped[0] and "cannot be read" in skipped[0]
    assert "c.png" in skipped[1] and "lies outside the picture" in skipped[1]
    assert names(out) == [
        "a_jpg.glb", "a_jpg_0.npz", "a_jpg_overlay.png",
        "a_png.glb", "a_png_0.npz", "a_png_overlay.png",
    ]  # fmt: skip


def test_keypoints_say_where_people_are_and_refine_them(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "joints.json", [standing(), standing(60)])
    code, said, _ = run(capsys, photo, model, f"--keypoints={file}", "--refine", *QUICK)
    assert code == 0 and "boxes around the given joints" in said
    record = load_npz(tmp_path / "out" / "photo_1.npz")
    np.testing.assert_allclose(record.keypoints_px[0], [105, 20])
    assert np.isfinite(record.reprojection_px).all()


def test_people_without_joints_stay_as_predicted(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = write(tmp_path / "boxes.json", BOXES)
    folder = tmp_path / "joints"
    folder.mkdir()
    write(folder / "photo_keypoints.json", [standing()])
    more = (f"--boxes={boxes}", f"--keypoints={folder}", "--refine", *QUICK)
    code, said, _ = run(capsys, photo, model, *more)
    assert code == 0 and "person 1 was not refined: no joints lie in that box" in said
    assert len(load_npz(tmp_path / "out" / "photo_0.npz").keypoints_px) == 17
    assert len(load_npz(tmp_path / "out" / "photo_1.npz").keypoints_px) == 0


# --- detectors ------------------------------------------------------------------------------------
@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Detectors that find two people; what they were asked."""
    return install(monkeypatch)


def test_everything_found_by_detectors(
    photo: Path, model: Path, stub: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, said, _ = run(
        capsys, photo, model, "--detect", "--threshold=0.7", "--parse", "--refine", *QUICK
    )
    assert code == 0
    assert stub == ["people above 0.7", "clothes", "clothes", "joints of 2"]
    assert "2 people, found by RT-DETR" in said and "warning" not in said
    out = photo.parent / "out"
    assert "photo_clothes.png" in names(out)
    record = load_npz(out / "photo_0.npz")
    assert 0 < record.silhouette_iou <= 1


def test_a_detector_that_is_at_hand_is_used(
    photo: Path,
    model: Path,
    stub: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(PersonDetector, "cached", classmethod(lambda cls: True))
    assert "found by RT-DETR" in run(capsys, photo, model)[1]


def test_a_picture_of_nobody(
    photo: Path,
    model: Path,
    stub: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nobody = Found(torch.zeros(0, 4), torch.zeros(0))
    monkeypatch.setattr(PersonDetector, "__call__", lambda self, image, *, threshold: nobody)
    code, said, _ = run(capsys, photo, model, "--detect")
    assert code == 0 and "0 people" in said
    assert names(photo.parent / "out") == []


@pytest.mark.parametrize(
    ("option", "repository"),
    [
        ("--detect", "PekingU/rtdetr_r50vd_coco_o365"),
        ("--parse", "mattmdjaga/segformer_b2_clothes"),
        ("--refine", "usyd-community/vitpose-base-simple"),
    ],
)
def test_offline_the_weights_to_get_are_named(
    option: str, repository: str, photo: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert repository in refused(capsys, photo, model, option)


# --- bad input ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[[500, 10, 600, 90]]", "lies outside the picture"),
        ("[[NaN, 10, 60, 90]]", "not finite"),
        ("[[60, 10, 10, 90]]", "ends before it begins"),
        ("{", "is no file of boxes"),
        ('{"people": 3}', "is no file of boxes"),
        ('{"other.png": [[1, 2, 30, 40]]}', "no boxes for photo.png"),
    ],
)
def test_boxes_that_are_none(
    content: str,
    words: str,
    photo: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(content)
    assert words in refused(capsys, photo, model, f"--boxes={file}")


def test_pictures_that_are_none(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no pictures in" in refused(capsys, empty, model)
    assert "no picture or folder" in refused(capsys, tmp_path / "none.png", model)
    photo.write_bytes(photo.read_bytes()[:60])
    assert "cannot be read as a picture" in refused(capsys, photo, model)
    (empty / "a.png").write_bytes(b"nothing")
    assert "none of the 1 pictures" in refused(capsys, empty, model)


def test_one_list_of_boxes_for_many_pictures(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "second.png")
    boxes = write(tmp_path / "boxes.json", BOXES)
    assert "list them by file name" in refused(capsys, tmp_path, model, f"--boxes={boxes}")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--fov=60", "--focal=200"], "contradict each other"),
        (["--fov=200"], "between 0 and 180"),
        (["--device=tpu"], '"cpu" or "cuda"'),
        (["--boxes=none.json"], "no file of boxes"),
        (["--keypoints=none.json"], "no keypoint file"),
        (["--detector=none", "--detect"], "no folder of weights"),
    ],
)
def test_options_that_do_not_work(
    more: Sequence[str],
    words: str,
    photo: Path,
    model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert words in refused(capsys, photo, model, *more)


def test_models_that_are_none(
    photo: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    assert "no model at" in refused(capsys, photo, bad)
    bad.write_bytes(model.read_bytes()[:-100])
    assert "cut off" in refused(capsys, photo, bad)
    bad.write_bytes(pickle.dumps({"weights": 1}))
    assert "file of torch.save" in refused(capsys, photo, bad)
    torch.save({"weights": torch.zeros(3)}, bad)
    assert "file of torch.save" in refused(capsys, photo, bad)
    content = model.read_bytes()
    here = content.index(b"topology")
    digits = content.index(b'"', content.index(b":", here)) + 3
    bad.write_bytes(content[:digits] + b"zzzz" + content[digits + 4 :])
    assert "belongs to a body with topology" in refused(capsys, photo, bad)


def test_no_shipped_weights(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(regress, "DEFAULT_MODEL", tmp_path / "default.safetensors")
    assert main(["predict", str(photo), f"--out={tmp_path / 'out'}"]) == 2
    assert "comes without trained weights" in capsys.readouterr().err
