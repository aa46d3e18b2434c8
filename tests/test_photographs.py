"""Annotated photographs in training: what is known gets there, at the place where it is seen."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from people_files import K, body, spin_columns, truth, write
from photograph_files import DOTTED, MASK_IDS, dot_color, make_photographs, write_mask
from PIL import Image

from meshreg.body.skeleton import SKELETONS, map_joints
from meshreg.body.smpl import Body
from meshreg.cli import main
from meshreg.data.augment_settings import AugmentSettings
from meshreg.data.mixture import Source
from meshreg.data.sample import KEYPOINTS, Batch
from meshreg.errors import InputError
from meshreg.geometry.cameras import project
from meshreg.train.hmr import main as train_hmr
from meshreg.train.hmr_config import DataConfig, HmrConfig, LossConfig, SourceConfig, TermConfig
from meshreg.train.hmr_data import judged_batches, make_batches, make_source
from meshreg.train.settings import RunSettings

SPIN_OF_BODY, SPIN_FOUND = map_joints(SKELETONS["smplx45"], KEYPOINTS)
KINDS = ("spin", "bedlam", "threedpw")
STILL = AugmentSettings(**dict.fromkeys(vars(AugmentSettings()), 0.0))
MOVED = replace(STILL, zoom=0.2, shift=0.05)
SIZE = 256


def config(folder: Path, *kinds: str, size: int = SIZE, **changes: Any) -> DataConfig:
    sources = {
        kind: SourceConfig(kind=kind, **make_photographs(folder / kind, kind))  # type: ignore[arg-type]
        for kind in kinds
    }
    return DataConfig(size=size, batch_size=9, sources=sources, **changes)


def batch_of(data: DataConfig, number: int = 0, model_body: Body | None = None) -> Batch:
    whole = model_body or body()
    return make_batches(data, body=whole, seed=1, rank=0, world_size=1).at(number)


def color_at(image: torch.Tensor, point: torch.Tensor) -> np.ndarray:
    x, y = point.round().long().tolist()
    return image[:, y, x].numpy().astype(int)


# --- where things are -----------------------------------------------------------------------------
@pytest.mark.parametrize("mirror", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_a_dot_at_a_joint_stays_there(tmp_path: Path, kind: str, mirror: float) -> None:
    data = config(tmp_path, kind, augment=replace(MOVED, mirror=mirror))
    batch, seen = batch_of(data), 0
    if kind == "bedlam":  # tells the body's own joints, the others what annotators say
        points, weight = batch.joints_px, batch.joints_visible
        dots, flip = list(range(45)), SKELETONS["smplx45"].flip
    else:
        points, weight = batch.keypoints_px, batch.keypoints_weight > 0
        dots, flip = SPIN_OF_BODY, KEYPOINTS.flip
    for person in range(len(batch)):
        dotted = [j for j in weight[person].nonzero()[:, 0].tolist() if dots[j] in DOTTED]
        for joint in dotted:
            place = points[person, joint]
            far = (points[person, dotted] - place).abs().amax(1)
            covered = ((far > 1) & (far < 15)).any()  # by another dot; near 0 is the same joint
            if not covered and ((place >= 0) & (place <= SIZE - 1)).all():
                # Whoever is mirrored has the left where the right was; the dots stay.
                wanted = dot_color(dots[flip[joint] if mirror else joint])
                found = color_at(batch.image[person], place)
                assert np.abs(found - wanted).max() < 30, (person, joint)
                seen += 1
    assert seen > 40


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_cameras_agree_with_the_pictures(tmp_path: Path, mirror: float) -> None:
    batch = batch_of(config(tmp_path, "bedlam", augment=replace(MOVED, mirror=mirror)))
    joints = truth()["joints"][batch.index]
    if mirror:
        joints = joints[:, list(SKELETONS["smplx45"].flip)] * torch.tensor([-1.0, 1, 1])
    pixels = project(joints, batch.K)
    assert batch.joints_visible.sum() > 200
    far = (pixels - batch.joints_px)[batch.joints_visible].abs().max()
    assert float(far) < 0.05
    # The same by the box in the full picture.
    full = project(joints, batch.K_full)
    corner = batch.box[:, None, :2] - batch.box[:, None, 2:] / 2
    again = (full - corner) * SIZE / batch.box[:, None, 2:] - 0.5
    torch.testing.assert_close(again, pixels, atol=0.05, rtol=0)


def test_label_maps_come_along(tmp_path: Path) -> None:
    batch = batch_of(config(tmp_path, "spin", augment=replace(STILL, mirror=1.0)))
    columns = torch.arange(SIZE).expand_as(batch.labels)
    left, right = (batch.labels == number for number in MASK_IDS)
    assert left.any() and right.any()
    for person in range(len(batch)):
        if left[person].any() and right[person].any():  # twice exchanged: place and side
            assert columns[person][left[person]].max() < columns[person][right[person]].min()


# --- what is known --------------------------------------------------------------------------------
def test_what_each_kind_knows(tmp_path: Path) -> None:
    data = config(tmp_path, *KINDS)
    parts = {k: make_source(s, 64, body()).take(range(3)) for k, s in data.sources.items()}
    spin, bedlam, outdoors = (parts[kind] for kind in KINDS)
    assert spin.betas_weight.tolist() == [1, 1, 0] and spin.joints_weight.amax(1).tolist() == [
        1,
        1,
        0,
    ]
    assert spin.pose_weight.amin(1).tolist() == [1, 1, 0] and spin.keypoints_cam_weight.any()
    assert not spin.joints_visible.any(), "annotated joints would count twice"
    assert bedlam.joints_visible.any() and not bedlam.keypoints_weight.any()
    assert (bedlam.pose_weight == 1).all() and not bedlam.betas_weight.any()  # SMPL's, not ours
    torch.testing.assert_close(bedlam.K_full, K.expand(3, 3, 3), atol=1e-4, rtol=0)
    assert (outdoors.pose_weight == 1).all() and (outdoors.keypoints_weight > 0).any()
    assert not outdoors.betas_weight.any() and not outdoors.joints_weight.any()
    for batch in parts.values():
        assert not batch.transl_weight.any() and not batch.vertices_cam.shape[1]
        assert all(value.isfinite().all() for value in vars(batch).values())


def test_betas_of_a_man_are_not_the_neutral_body_s(tmp_path: Path) -> None:
    """Only a body whose name says so has the shapes of a gender."""
    data = config(tmp_path, "spin").sources["spin"]
    assert data.path is not None
    write(data.path, spin_columns(), topology_hash=None, gender=np.array(["m", "f", ""]))
    built = body().data
    vertices = {"v_template": built.v_template[:6890], "weights": built.weights[:6890]}
    for name, expected in {"smpl_male": [1, 0, 0], "smpl_neutral": [0, 0, 0]}.items():
        cut = replace(
            built,
            name=name,
            **vertices,
            shapedirs=built.shapedirs[:6890],
            posedirs=built.posedirs[:6890],
            J_regressor=built.J_regressor[:, :6890],
            faces=built.faces[(built.faces < 6890).all(1)],
            regressors={},
        )
        batch = make_source(data, 32, Body(cut)).take(range(3))
        assert batch.betas_weight.tolist() == expected, name


def test_files_of_a_folder_are_one_source(tmp_path: Path) -> None:
    data = config(tmp_path, "spin", size=32).sources["spin"]
    assert data.path is not None
    other = spin_columns()
    other["pose"] = other["pose"][::-1] + 0.1
    write(data.path.with_name("z.npz"), other)
    one = make_source(data, 32, body())
    both = make_source(replace(data, path=data.path.parent), 32, body())
    assert isinstance(both, Source) and both.count == 6 and one.count == 3
    batch = both.take([4, 1])
    assert torch.equal(batch[1].pose_rotmat, one.take([1])[0].pose_rotmat)
    assert not torch.equal(batch[0].pose_rotmat, batch[1].pose_rotmat)
    few = make_source(replace(data, count=2), 32, body())
    assert few.count == 2


def test_workers_get_their_own_and_gpus_do_not_matter(tmp_path: Path) -> None:
    data, ours = config(tmp_path, "spin", size=32), Body(body().data)
    batches = make_batches(data, body=ours, seed=1, rank=0, world_size=1)
    sent = pickle.loads(pickle.dumps(batches))  # noqa: S301
    ours.to("meta")  # as training moves it to a GPU
    here, there = batches.at(3), sent.at(3)
    assert all(torch.equal(value, getattr(there, name)) for name, value in vars(here).items())


def test_drawn_people_do_not_teach_another_body(tmp_path: Path) -> None:
    other = Body(replace(body().data, name="mine", faces=body().data.faces[:-1]))
    with pytest.raises(InputError, match="drawn people have the built-in body, but .* is mine"):
        make_source(SourceConfig(), 32, other)
    data = config(tmp_path, "threedpw", size=32).sources["threedpw"]
    assert make_source(data, 32, other).take([0]).keypoints_weight.any()


def test_only_known_bodies_are_judged_by(tmp_path: Path) -> None:
    data = config(tmp_path, "spin", "threedpw", size=32)
    (judged,) = judged_batches(replace(data, judge=data.sources["spin"]), body())
    assert judged.index.tolist() == [0, 1]
    with pytest.raises(InputError, match="data.judge tells nobody's joints"):
        judged_batches(replace(data, judge=data.sources["threedpw"]), body())


# --- through the training loop --------------------------------------------------------------------
def test_two_steps_on_all_kinds_with_every_term_that_they_know(tmp_path: Path) -> None:
    data = config(tmp_path, *KINDS, size=64, judge=None)
    data = replace(data, batch_size=6, judge=data.sources["spin"], judge_count=3)
    whole = HmrConfig(
        out=tmp_path / "out",
        data=data,
        losses=LossConfig(vertices=TermConfig(1.0), silhouette=TermConfig(0.1)),
        run=RunSettings(steps=2, device="cpu", log_every=1, evaluate_every=2, picture_every=2),
    )
    assert train_hmr(whole)
    header, *rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    for name in ("keypoints2d", "joints3d", "pose", "betas", "vertices", "silhouette"):
        place = header.split(",").index(name)
        values = [row.split(",")[place] for row in rows if row.split(",")[place]]
        assert len(values) == 2 and all(float(value) > 0 for value in values), name
    assert "eval_mpjpe_mm" in header and list((tmp_path / "out" / "pictures").iterdir())


# --- settings and files that cannot be meant ------------------------------------------------------
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "spin"}, 'kind "spin" needs path'),
        ({"kind": "spin", "path": Path("a")}, 'kind "spin" needs images'),
        ({"kind": "shards", "path": Path("a"), "images": Path("b")}, "does not take images"),
        ({"masks": Path("b")}, 'kind "synthetic" does not take masks'),
        ({"kind": "bedlam", "path": Path("a"), "images": Path("b"), "scheme": "lip"}, "add masks"),
    ],
)
def test_settings_that_contradict_themselves(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SourceConfig(**settings)


def _no_image(files: dict[str, Path]) -> str:
    (files["images"] / "clip" / "1.png").unlink()
    return "row 1 of "


def _broken_image(files: dict[str, Path]) -> str:
    path = files["images"] / "clip" / "1.png"
    path.write_bytes(path.read_bytes()[:200])
    return "row 1 of "


def _no_mask(files: dict[str, Path]) -> str:
    names = np.array([f"clip/{index}.png" for index in range(3)])
    write(files["path"], spin_columns(), maskname=names)
    (files["masks"] / "clip" / "2.png").unlink()
    return "row 2 of "


def _other_mask(files: dict[str, Path]) -> str:
    write_mask(files["masks"] / "clip" / "0.png", (50, 60))
    return "60x50 pixels but the picture is 160x120"


def _other_ids(files: dict[str, Path]) -> str:
    Image.fromarray(np.full((120, 160), 77, np.uint8)).save(files["masks"] / "clip" / "0.png")
    return "row 0 of "


def _column(name: str, value: Any, words: str) -> Any:
    def change(files: dict[str, Path]) -> str:
        write(files["path"], spin_columns(), **{name: value})
        return words

    return change


def _text(content: bytes, words: str) -> Any:
    def change(files: dict[str, Path]) -> str:
        files["path"].write_bytes(content)
        return words

    return change


CAMERA = np.tile(np.eye(3), (3, 1, 1))
CAMERA[1] = 0
BAD = {
    "missing image": _no_image,
    "broken image": _broken_image,
    "missing mask": _no_mask,
    "mask of another size": _other_mask,
    "mask of another scheme": _other_ids,
    "no centre": _column("center", None, "lacks center"),
    "NaN": _column("pose", np.full((3, 72), np.nan), "row 0 is not finite"),
    "singular camera": _column("K", CAMERA, "camera of row 1 has focal lengths 0 and 0"),
    "nobody": _column("imgname", np.array([], "U3"), "describes nobody"),
    "empty file": _text(b"", "is damaged or no .npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_end_training_in_a_sentence(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_photographs(tmp_path / "photographs", "spin")
    words = BAD[name](files)
    told = refused(tmp_path, files, capsys)
    assert words in told and (not words.startswith("row") or "spin.npz: " in told), told


def test_bad_words_end_training_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = make_photographs(tmp_path / "photographs", "spin")
    assert "no annotations at" in refused(tmp_path, files | {"path": tmp_path / "no.npz"}, capsys)
    assert "no folder of pictures" in refused(tmp_path, files | {"images": tmp_path / "no"}, capsys)
    assert "label scheme" in refused(tmp_path, files | {"scheme": "atrr"}, capsys)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no .npz of annotations in" in refused(tmp_path, files | {"path": empty}, capsys)


def refused(tmp_path: Path, files: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence with which `meshreg train` ends."""
    settings = ", ".join(f"{name}: {value}" for name, value in files.items())
    (tmp_path / "config.yaml").write_text(
        f"out: {tmp_path / 'out'}\n"
        f"data: {{size: 32, batch_size: 3, sources: {{a: {{kind: spin, {settings}}}}}}}\n"
        "model: {builder: hmr_small, weights: null}\n"
        "run: {steps: 2, device: cpu}\n"
    )
    capsys.readouterr()
    assert main(["train", "--config", str(tmp_path / "config.yaml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("meshreg: error") or "error" in line]
    assert len(told) == 1, lines
    return told[0]
