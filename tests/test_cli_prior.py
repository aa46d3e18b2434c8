"""`meshreg prior learn`: what it reads, what it writes, and how it says no."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from PIL import Image

from meshreg.body.smpl import Body, load_body
from meshreg.cli import _spell_out_lists, main
from meshreg.clothing.counting import labels_from_joints
from meshreg.clothing.labels import PALETTE, Label
from meshreg.clothing.prior import load_semantic_prior
from meshreg.clothing.schemes import SCHEMES
from meshreg.data.fitted import read_fitted
from meshreg.export import FitRecord, save_mesh, save_npz
from meshreg.render.rasterizer import rasterizer

SIZE = (120, 90)
K = np.array([[130.0, 0, 44.5], [0, 130.0, 59.5], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


class View:
    """A body in front of the camera, and labels painted on it by its joints."""

    def __init__(self, body: Body, azimuth_deg: float) -> None:
        self.body = body
        turn = roma.rotvec_to_rotmat(torch.tensor([0.0, math.radians(azimuth_deg), 0.0]))
        upright = roma.rotvec_to_rotmat(torch.tensor([math.pi, 0.0, 0.0]))
        self.orient = roma.rotmat_to_rotvec(upright @ turn).numpy()
        self.transl = np.array([0.0, -0.25, 2.9], np.float32)
        self.betas = np.array([0.5, -1.0], np.float32)
        pose = torch.zeros(1, 24, 3)
        pose[0, 0] = torch.from_numpy(self.orient)
        betas = torch.zeros(1, 10)
        betas[0, :2] = torch.from_numpy(self.betas)
        out = body(betas, roma.rotvec_to_rotmat(pose), torch.from_numpy(self.transl)[None])
        self.vertices, self.joints = out.vertices[0].numpy(), out.joints[0].numpy()
        planted = labels_from_joints(body.weights).argmax(1)
        hit = rasterizer().fragments(out.vertices, body.faces, torch.from_numpy(K)[None], SIZE)
        face = hit.pix_to_face[0, ..., 0]
        labels = torch.where(face >= 0, planted[body.faces[face.clamp_min(0), 0]], 0)
        self.labels = labels.numpy().astype(np.uint8)

    def record(self) -> FitRecord:
        empty = np.zeros((0, 2), np.float32)
        return FitRecord(
            body=self.body.data.name,
            topology_hash=self.body.topology_hash,
            betas=np.pad(self.betas, (0, 8)),
            body_pose=np.zeros((23, 3), np.float32),
            global_orient=self.orient,
            transl=self.transl,
            pose_rotmat=np.tile(np.eye(3, dtype=np.float32), (24, 1, 1)),
            vertices_cam=self.vertices,
            joints_cam=self.joints,
            joint_names=(),
            K=K,
            K_source="known",
            image_size=SIZE,
            keypoint_names=(),
            keypoints_px=empty,
            keypoints_confidence=empty[:, 0],
            reprojection_px=empty,
        )

    def parameters(self, path: Path) -> None:
        np.savez(
            path,
            betas=self.betas,
            body_pose=np.zeros(69),
            global_orient=self.orient[None],
            transl=self.transl[None],
            K=K,
        )


@pytest.fixture(scope="module")
def views(body: Body) -> list[View]:
    return [View(body, azimuth) for azimuth in (0.0, 120.0, 240.0)]


@pytest.fixture
def folders(tmp_path: Path, views: list[View]) -> dict[str, Path]:
    """One subject seen three times, each view kept in another kind of file."""
    fits, masks = tmp_path / "fits", tmp_path / "masks"
    (fits / "anna_1").mkdir(parents=True)
    masks.mkdir()
    save_npz(fits / "anna_1" / "result.npz", views[0].record())
    views[1].parameters(fits / "anna_2.npz")
    save_mesh(fits / "anna_3.ply", views[2].vertices, views[2].body.data.faces)
    (fits / "anna_3.json").write_text(json.dumps({"K": K.tolist()}))
    Image.fromarray(views[0].labels).save(masks / "anna_1.png")
    Image.fromarray(views[1].labels).save(masks / "anna_2_mask.png")
    Image.fromarray(np.array(PALETTE, np.uint8)[views[2].labels]).save(masks / "anna_3_labels.png")
    return {"fits": fits, "masks": masks, "out": tmp_path / "prior.safetensors"}


def arguments(folders: dict[str, Path], *more: str) -> list[str]:
    paths = [f"--masks={folders['masks']}", f"--out={folders['out']}"]
    return ["prior", "learn", "--fits", str(folders["fits"]), *paths, *more]


def assert_refused(argv: list[str], capsys: pytest.CaptureFixture[str], words: str) -> None:
    """Exit code 2 and exactly one line, which holds the words."""
    capsys.readouterr()
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("meshreg: error: ")
    assert error.count("\n") == 1
    assert words in error, error


def test_three_views_in_three_kinds_of_files(
    folders: dict[str, Path], body: Body, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(folders, "--licence", "CC0, mine", "--smoothing=0.1")) == 0
    out = capsys.readouterr().out
    assert "3 views show" in out and "wrote" in out
    prior = load_semantic_prior(folders["out"], body=body)
    assert prior.licence == "CC0, mine" and "3 views, scheme cihp" in prior.recipe
    planted = labels_from_joints(body.weights)
    sure = planted.amax(1) > 0.9
    assert (prior.probs.argmax(1) == planted.argmax(1))[sure].float().mean() > 0.95
    assert prior.probs[:, Label.BACKGROUND].max() < 1e-3


def test_every_kind_of_file_gives_the_same_body(
    folders: dict[str, Path], views: list[View], tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    for view in views:
        body = view.body
        view.parameters(path)
        found = [read_fitted(path, body)]
        for suffix in ("obj", "ply"):
            save_mesh(tmp_path / f"m.{suffix}", view.vertices, body.data.faces)
            found.append(read_fitted(tmp_path / f"m.{suffix}", body))
        rows = "\n".join(f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in view.vertices)
        (tmp_path / "cam.obj").write_text(f"# in OpenCV's axes\n{rows}\nf 1 2 3\n")
        found.append(read_fitted(tmp_path / "cam.obj", body))
        for fitted in found:
            np.testing.assert_allclose(fitted.vertices_cam, view.vertices, atol=1e-5)


def test_a_pose_may_come_in_one_piece(views: list[View], tmp_path: Path) -> None:
    view = views[1]
    pose = np.zeros(72)
    pose[:3] = view.orient
    options = {"betas": view.betas, "pose": pose, "transl": view.transl, "K": K}
    np.savez(tmp_path / "a.npz", **options, image_size=np.array(SIZE))
    fitted = read_fitted(tmp_path / "a.npz", view.body)
    np.testing.assert_allclose(fitted.vertices_cam, view.vertices, atol=1e-5)
    assert fitted.size == SIZE


def test_files_may_be_named_one_by_one(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    two = [str(folders["fits"] / "anna_1" / "result.npz"), str(folders["fits"] / "anna_2.npz")]
    assert main(["prior", "learn", "--fits", *two, *arguments(folders)[4:]]) == 0
    assert "2 views show" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--fits", "a", "b", "--out=c"], ['--fits=["a", "b"]', "--out=c"]),
        (["--fits=a", "b"], ['--fits=["a", "b"]']),
        (['--fits=["a"]', "--masks", "m"], ['--fits=["a"]', "--masks", "m"]),
        (["--masks", "a", "b"], ["--masks", "a", "b"]),
        (["--fits", '["a"]'], ["--fits", '["a"]']),
    ],
)
def test_lists_need_no_brackets(words: list[str], expected: list[str]) -> None:
    assert _spell_out_lists(words) == expected


def test_other_schemes_say_what_they_lack(
    folders: dict[str, Path], views: list[View], capsys: pytest.CaptureFixture[str]
) -> None:
    cihp = SCHEMES["sapiens"].cihp
    sapiens = np.array([cihp.index(i) if i in cihp else 255 for i in range(20)], np.uint8)
    Image.fromarray(sapiens[views[0].labels]).save(folders["masks"] / "anna_1.png")
    one = ["prior", "learn", "--fits", str(folders["fits"] / "anna_1"), *arguments(folders)[4:]]
    assert main([*one, "--scheme=sapiens"]) == 0
    assert "note: Sapiens tells" in capsys.readouterr().out
    assert_refused([*one, "--scheme=fit"], capsys, "scheme")


def test_background_is_counted_on_demand(folders: dict[str, Path], views: list[View]) -> None:
    holed = views[0].labels.copy()
    holed[50:70] = 0  # something without a label stands in front
    Image.fromarray(holed).save(folders["masks"] / "anna_1.png")
    one = ["prior", "learn", f"--fits={folders['fits'] / 'anna_1'}", *arguments(folders)[4:]]
    for more, low, high in (([], 0.0, 1e-3), (["--background"], 0.5, 1.0)):
        assert main([*one, *more]) == 0
        share = load_semantic_prior(folders["out"]).probs[:, Label.BACKGROUND].max()
        assert low <= share <= high


# --- refusals -------------------------------------------------------------------------------------


def test_a_mask_of_another_size(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.ones((50, 50), np.uint8)).save(folders["masks"] / "anna_1.png")
    assert_refused(arguments(folders), capsys, "50x50 pixels but the picture is 90x120")


def test_no_mask_of_that_name(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders["masks"] / "anna_2_mask.png").unlink()
    assert_refused(arguments(folders), capsys, "expected anna_2.png or anna_2_mask.png")
    assert not folders["out"].exists()


def test_unknown_ids(
    folders: dict[str, Path], views: list[View], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = views[0].labels.copy()
    wrong[0, 0] = 77
    Image.fromarray(wrong).save(folders["masks"] / "anna_1.png")
    assert_refused(arguments(folders), capsys, "[77]")


def test_plain_masks_teach_nothing(
    folders: dict[str, Path], views: list[View], capsys: pytest.CaptureFixture[str]
) -> None:
    for mask in folders["masks"].iterdir():
        Image.fromarray(np.where(views[0].labels > 0, 255, 0).astype(np.uint8)).save(mask)
    assert_refused(arguments(folders), capsys, "none of the 3 pictures")


def test_a_mesh_with_other_vertices(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders["fits"] / "anna_3.ply").unlink()
    (folders["fits"] / "anna_3.obj").write_text("v 0 0 2\nv 1 0 2\nv 0 1 2\nf 1 2 3\n")
    assert_refused(arguments(folders), capsys, "3 vertices but the body builtin has 7000")


def test_a_mesh_without_a_camera(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    camera = folders["fits"] / "anna_3.json"
    elsewhere = camera.rename(folders["masks"] / "camera.json")
    assert_refused(arguments(folders), capsys, "or give --camera")
    assert main(arguments(folders, f"--camera={elsewhere}")) == 0
    np.savez(folders["fits"] / "anna_3.npz", K=K)
    assert main(arguments(folders)) == 0, "the camera beside a mesh is no fit of its own"
    np.savez(folders["fits"] / "anna_3.npz", f=K)
    assert_refused(arguments(folders), capsys, "holds no camera")


@pytest.mark.parametrize("name", ["anna_2.npz", "anna_3.ply", "anna_1/result.npz"])
def test_files_that_hold_something_else(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = folders["fits"] / name
    path.write_bytes(b"nonsense")
    assert_refused(arguments(folders), capsys, path.name)
    if path.suffix == ".npz":
        np.savez(path, betas=np.zeros(10), transl=np.zeros(3), K=K)
        assert_refused(arguments(folders), capsys, "body_pose with global_orient")


def test_the_fit_of_another_body(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], views: list[View]
) -> None:
    from dataclasses import replace

    other = replace(views[0].record(), topology_hash="0" * 16)
    save_npz(folders["fits"] / "anna_1" / "result.npz", other)
    assert_refused(arguments(folders), capsys, "topology")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--fits=nowhere"], "check --fits"),
        (["--fits=[]"], "found none"),
        (["--masks=nowhere"], "no folder of label maps"),
        (["--out=prior.npz"], ".safetensors"),
        (["--smoothing=0"], "above 0"),
        (["--body=smpl_neutral"], "meshreg models add"),
    ],
)
def test_impossible_options(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert_refused(arguments(folders, *more), capsys, words)


def test_a_fit_reads_other_schemes(
    folders: dict[str, Path], views: list[View], capsys: pytest.CaptureFixture[str]
) -> None:
    """The label map is read, and refused, before anything is fitted."""
    image = folders["masks"] / "photo.png"
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(image)
    joints = folders["masks"] / "joints.json"
    joints.write_text(json.dumps([{"keypoints": [20.0, 30.0, 2] * 16 + [50.0, 90.0, 2]}]))
    command = ["fit", str(image), f"--keypoints={joints}", "--scheme=atr"]
    wrong = np.full(SIZE, 19, np.uint8)
    Image.fromarray(wrong).save(folders["masks"] / "wrong.png")
    semantics = f"--semantics={folders['masks'] / 'wrong.png'}"
    assert_refused([*command, semantics], capsys, "0..17 of atr")
