"""The command line: what it prints, what it writes, and how it says no."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshreg.cli import _spell_out_switches, main
from meshreg.export import load_npz

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "demo" / "samples"
QUICK = [
    "--settings.candidates=6",
    "--settings.finalists=2",
    "--settings.coarse_px=48",
    "--settings.fine_px=64",
    "--settings.steps=[3,3,3,3,3]",
]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """A small picture of nobody, joints of a standing person in it, and a mask."""
    image = tmp_path / "photo.png"
    Image.fromarray(np.full((120, 90, 3), 128, np.uint8)).save(image)
    x = [45, 47, 43, 50, 40, 55, 35, 58, 32, 60, 30, 51, 39, 52, 38, 52, 38]
    y = [20, 18, 18, 19, 19, 30, 30, 45, 45, 58, 58, 62, 62, 84, 84, 105, 105]
    flat = [number for pair in zip(x, y, strict=True) for number in (*pair, 2)]
    keypoints = tmp_path / "keypoints.json"
    keypoints.write_text(json.dumps([{"keypoints": flat}]))
    labels = np.zeros((120, 90), np.uint8)
    labels[10:110, 30:60] = 255
    mask = tmp_path / "mask.png"
    Image.fromarray(labels).save(mask)
    return {"image": image, "keypoints": keypoints, "mask": mask, "out": tmp_path / "out"}


def arguments(inputs: dict[str, Path], *more: str) -> list[str]:
    return [
        "fit",
        str(inputs["image"]),
        f"--keypoints={inputs['keypoints']}",
        f"--semantics={inputs['mask']}",
        f"--out={inputs['out']}",
        *QUICK,
        *more,
    ]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom meshreg.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'torch', 'numpy', 'cv2', 'warp', 'smplx', 'trimesh', 'PIL', 'rich', 'roma'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for command in ("fit", "models", "prior", "doctor"):
        assert command in done.stdout


def test_a_fit_writes_three_files_and_reports(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(inputs, "--fov=60")) == 0
    out = capsys.readouterr().out
    for words in ("field of view of 60 degrees", "reprojection error", "silhouette IoU"):
        assert words in out
    assert sorted(p.name for p in inputs["out"].iterdir()) == [
        "overlay.png",
        "person.glb",
        "result.npz",
    ]
    record = load_npz(inputs["out"] / "result.npz")
    assert record.body == "builtin"
    assert record.image_size == (120, 90)
    assert record.vertices_cam.shape[0] == 7000
    assert "60 degrees" in record.K_source


def test_a_turntable_is_written_on_demand(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshreg.cli.fit.TURNTABLE_SIZE", (40, 30))
    assert main(arguments(inputs, "--turntable", "--fov=60")) == 0
    assert "turntable.gif" in capsys.readouterr().out
    with Image.open(inputs["out"] / "turntable.gif") as picture:
        assert picture.size == (30, 40) and picture.n_frames > 20


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--turntable"], ["--turntable=true"]),
        (["--turntable", "--fov", "60"], ["--turntable=true", "--fov", "60"]),
        (["--turntable", "false"], ["--turntable", "false"]),
        (["--turntable=false", "--overwrite"], ["--turntable=false", "--overwrite=true"]),
        (["--out", "turntable", "--fov"], ["--out", "turntable", "--fov"]),
    ],
)
def test_switches_need_no_value(words: list[str], expected: list[str]) -> None:
    assert _spell_out_switches(words) == expected


def bad_json(change: str) -> str:
    rows = [[45.0, 20.0 + 5 * i, 1.0] for i in range(17)]
    if change == "short":
        rows = rows[:16]
    elif change == "nan":
        rows[3][0] = float("nan")
    elif change == "outside":
        rows[3][0] = 900.0
    elif change == "blind":
        rows = [[x, y, 0.0] for x, y, _ in rows]
    flat = [number for row in rows for number in row]
    return json.dumps([{"keypoints": flat}])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("short", "17 x 3"),
        ("nan", "not finite"),
        ("outside", "outside the 90x120 picture"),
        ("blind", "confidence above 0"),
    ],
)
def test_bad_keypoints_get_one_sentence(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    inputs["keypoints"].write_text(bad_json(change))
    assert_refused(arguments(inputs), capsys, words)


def assert_refused(argv: list[str], capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Exit code 2 and exactly one line, which holds the words."""
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("meshreg: error: ")
    assert error.count("\n") == 1
    assert words in error, error


def test_a_missing_picture(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    inputs["image"].unlink()
    assert_refused(arguments(inputs), capsys, "no picture at")


def test_an_unreadable_picture(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    inputs["image"].write_bytes(b"not a picture")
    assert_refused(arguments(inputs), capsys, "cannot be read as a picture")


def test_a_mask_of_another_size(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(inputs["mask"])
    assert_refused(arguments(inputs), capsys, "50x50 pixels but the picture is 90x120")


def test_a_scheme_needs_a_label_map_and_tells_what_it_lacks(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    few = [word for word in arguments(inputs, "--scheme=atr") if "--semantics" not in word]
    assert_refused(few, capsys, "give it with --semantics, or leave out --scheme")
    assert_refused(arguments(inputs, "--scheme=atr"), capsys, "255, which means unknown in atr")
    with Image.open(inputs["mask"]) as mask:
        Image.fromarray(np.asarray(mask) // 255 * np.uint8(4)).save(inputs["mask"])
    inputs["out"].write_text("in the way: nothing is fitted")
    assert main(arguments(inputs, "--scheme=atr")) == 2
    assert "note: ATR has no classes for bare torsos" in capsys.readouterr().out


def test_no_body_file(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(arguments(inputs, "--body=smpl_neutral"), capsys, "meshreg models add")


def test_an_unknown_flag(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(arguments(inputs, "--bogus=1"), capsys, "--bogus")


def test_no_keypoints(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(["fit", str(inputs["image"])], capsys, "--keypoints")


def test_two_cameras(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(arguments(inputs, "--fov=50", "--focal=99"), capsys, "contradict")


@pytest.mark.parametrize(
    "flag", ["--fov=190", "--fov=0", "--focal=-1", "--focal=nan", "--focal=1e9"]
)
def test_impossible_cameras(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert main(arguments(inputs, flag)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_camera_file(inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    camera = inputs["image"].with_name("camera.json")
    camera.write_text(json.dumps({"fx": 111, "fy": 112, "cx": 44.5, "cy": 59.5}))
    assert main(arguments(inputs, f"--camera={camera}")) == 0
    record = load_npz(inputs["out"] / "result.npz")
    np.testing.assert_allclose(record.K, [[111, 0, 44.5], [0, 112, 59.5], [0, 0, 1]])
    assert "camera.json" in record.K_source
    camera.write_text(json.dumps({"fx": 111}))
    capsys.readouterr()
    assert_refused(arguments(inputs, f"--camera={camera}"), capsys, "not a camera file")
    camera.write_text(json.dumps({"K": [[100, 0, 0], [0, 100, 0], [0, 0, 1]], "width": 7}))
    assert_refused(arguments(inputs, f"--camera={camera}"), capsys, "is for a 7x120 picture")


def test_a_photo_that_knows_its_focal_length(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1  # Pillow writes no EXIF into a PNG unless there is a tag at the top
    exif.get_ifd(0x8769)[0xA405] = 40
    with Image.open(inputs["image"]) as opened:
        opened.save(inputs["image"], exif=exif)
    assert main(arguments(inputs)) == 0
    assert "EXIF: 40 mm" in capsys.readouterr().out
    assert load_npz(inputs["out"] / "result.npz").K[0, 0] == pytest.approx(40 / 43.2666 * 150, 1e-4)
    assert main(arguments(inputs, "--exif", "false")) == 0
    assert "guessed" in capsys.readouterr().out


def test_an_output_folder_that_cannot_be(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    inputs["out"].write_text("a file where the folder should be")
    assert_refused(arguments(inputs), capsys, "cannot write")
    assert inputs["out"].read_text() == "a file where the folder should be"


def test_the_users_own_files_stay(inputs: dict[str, Path]) -> None:
    inputs["out"].mkdir()
    (inputs["out"] / "probe.txt").write_text("mine")
    assert main(arguments(inputs)) == 0
    assert (inputs["out"] / "probe.txt").read_text() == "mine"


def test_joints_that_do_not_fit_get_a_warning(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scattered = [
        [5 + 80 * ((7 * i) % 17) / 17, 5 + 110 * ((5 * i) % 17) / 17, 1] for i in range(17)
    ]
    inputs["keypoints"].write_text(
        json.dumps([{"keypoints": [number for row in scattered for number in row]}])
    )
    assert main(arguments(inputs)) == 0
    assert "warning" in capsys.readouterr().out


def test_joints_in_shares_of_the_picture_are_refused(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flat = [number for i in range(17) for number in (0.4 + i / 100, i / 17, 1)]
    inputs["keypoints"].write_text(json.dumps([{"keypoints": flat}]))
    assert_refused(arguments(inputs), capsys, "in pixels, not in shares")


@pytest.mark.parametrize(
    "flag", ["--settings.candidates=0", "--settings.sigma=0", "--settings.steps=[1,1,-1,1,1]"]
)
def test_impossible_settings(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    assert_refused(arguments(inputs, flag), capsys, "the fit's setting")


def test_an_interrupted_run_leaves_nothing_half_written(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import trimesh

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    assert main(arguments(inputs)) == 0
    before = {p.name: p.read_bytes() for p in inputs["out"].iterdir()}
    monkeypatch.setattr(trimesh.Trimesh, "export", interrupt)
    monkeypatch.setattr(trimesh.Scene, "export", interrupt)
    assert main(arguments(inputs, "--focal=200")) == 130
    assert "interrupted" in capsys.readouterr().err
    after = {p.name: p.read_bytes() for p in inputs["out"].iterdir()}
    assert sorted(after) == sorted(before), "no temporary file is left"
    assert after["person.glb"] == before["person.glb"]


def test_a_config_file_sets_options_and_refuses_unknown_ones(
    inputs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = inputs["image"].with_name("fit.yaml")
    config.write_text("fov: 77\nsettings:\n  finalists: 1\n")
    assert main(arguments(inputs, f"--config={config}")) == 0
    assert "77 degrees" in load_npz(inputs["out"] / "result.npz").K_source
    config.write_text("settings:\n  finalist: 1\n")
    capsys.readouterr()
    assert_refused(arguments(inputs, f"--config={config}"), capsys, "finalist")


def test_models_list_and_doctor(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["models", "list", f"--folder={tmp_path}"]) == 0
    assert "builtin" in capsys.readouterr().out
    assert main(["doctor", f"--folder={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert "rasteriser works" in out
    assert "torch" in out


def test_a_licensed_file_drops_in(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from smpl_files import official_pickle, smpl_arrays, write

    path = tmp_path / "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    source = write(path, official_pickle(smpl_arrays()))
    assert main(["models", "add", str(source), f"--folder={tmp_path / 'bodies'}"]) == 0
    assert "SMPL_FEMALE.npz" in capsys.readouterr().out
    assert main(["models", "list", f"--folder={tmp_path / 'bodies'}"]) == 0
    assert "smpl_female" in capsys.readouterr().out


def test_an_evil_pickle_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps({"v_template": Evil()}, protocol=2))
    assert_refused(["models", "add", str(path), f"--folder={tmp_path}"], capsys, "system")
    assert not (tmp_path / "ran").exists()
