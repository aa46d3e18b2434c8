"""Files are read back by an independent reader and compared with what went in."""

import json
import struct
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
import trimesh
from PIL import Image

from meshreg.errors import InputError, MissingFileError
from meshreg.export import FitRecord, load_npz, save_glb, save_image, save_mesh, save_npz


def record() -> FitRecord:
    rng = np.random.default_rng(3)
    pose = rng.normal(size=(24, 3)).astype(np.float32)
    names = tuple(f"joint_{i}" for i in range(24))
    return FitRecord(
        body="builtin",
        topology_hash="0123456789abcdef",
        betas=rng.normal(size=10).astype(np.float32),
        body_pose=pose[1:],
        global_orient=pose[0],
        transl=np.array([0.1, 0.2, 3.0], np.float32),
        pose_rotmat=roma.rotvec_to_rotmat(torch.from_numpy(pose)).numpy(),
        vertices_cam=rng.normal(size=(40, 3)).astype(np.float32),
        joints_cam=rng.normal(size=(24, 3)).astype(np.float32),
        joint_names=names,
        K=np.array([[500.0, 0, 99.5], [0, 500, 149.5], [0, 0, 1]]),
        K_source="given",
        image_size=(300, 200),
        keypoint_names=names[:17],
        keypoints_px=rng.uniform(0, 200, (17, 2)),
        keypoints_confidence=rng.uniform(size=17),
        reprojection_px=rng.uniform(0, 200, (17, 2)),
        silhouette_iou=0.83,
    )


def tall_body() -> tuple[np.ndarray, np.ndarray]:
    """An upright box, 1.8 m tall, 3 m away, with a nose towards the camera; outward faces."""
    box = trimesh.creation.box(extents=(0.5, 1.8, 0.3))
    nose = trimesh.creation.box(extents=(0.1, 0.1, 0.2))
    nose.apply_translation((0.0, -0.7, -0.25))
    both = trimesh.util.concatenate([box, nose])
    return np.asarray(both.vertices + (0.2, 0.1, 3.0)), np.asarray(both.faces)


def read_glb(path: Path) -> trimesh.Trimesh:
    """The only mesh of the file, with the normals of the file."""
    (mesh,) = trimesh.load(path, process=False).geometry.values()
    return mesh


def glb_json(path: Path) -> dict:
    content = path.read_bytes()
    magic, _, _, length, kind = struct.unpack("<4sIII4s", content[:20])
    assert magic == b"glTF" and kind == b"JSON"
    return json.loads(content[20 : 20 + length])


def test_a_result_survives_the_round_trip(tmp_path: Path) -> None:
    before = record()
    save_npz(tmp_path / "new" / "result.npz", before)
    after = load_npz(tmp_path / "new" / "result.npz")
    for field in fields(FitRecord):
        old, new = getattr(before, field.name), getattr(after, field.name)
        assert type(old) is type(new), field.name
        if isinstance(old, np.ndarray):
            assert old.dtype == new.dtype
            np.testing.assert_array_equal(old, new, err_msg=field.name)
        else:
            assert old == new, field.name
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["result.npz"]


def test_a_result_needs_no_pickle_and_is_reproducible(tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", record())
    save_npz(tmp_path / "b.npz", record())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {field.name for field in fields(FitRecord)}
        assert arrays["joint_names"].shape == (24,)


def test_an_absent_mask_is_nan(tmp_path: Path) -> None:
    save_npz(tmp_path / "a.npz", replace(record(), silhouette_iou=float("nan")))
    assert np.isnan(load_npz(tmp_path / "a.npz").silhouette_iou)


def test_broken_results_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    with pytest.raises(MissingFileError, match="result.npz"):
        load_npz(path)
    save_npz(path, record())
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{key: value for key, value in content.items() if key not in ("K", "transl")})
    with pytest.raises(InputError, match="transl, K"):
        load_npz(path)
    np.savez(path, **content | {"schema_version": np.int64(99)})
    with pytest.raises(InputError, match="found 99"):
        load_npz(path)
    for garbage in (b"not a zip file", b"", b"PK\x03\x04 cut short"):
        path.write_bytes(garbage)
        with pytest.raises(InputError, match="damaged"):
            load_npz(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(InputError, match="damaged"):
        load_npz(path)
    with pytest.raises(InputError, match="npz"):
        save_npz(tmp_path / "result.pkl", record())


def test_glb_is_upright_metric_and_outward(tmp_path: Path) -> None:
    vertices, faces = tall_body()
    save_glb(str(tmp_path / "person.glb"), vertices, faces)
    scene = trimesh.load(tmp_path / "person.glb", process=False)
    assert list(scene.geometry) == ["person"]
    mesh = scene.to_geometry()
    assert mesh.vertices.shape == vertices.shape
    np.testing.assert_allclose(mesh.vertices, vertices * (1, -1, -1), atol=1e-6)
    np.testing.assert_allclose(mesh.extents, (0.5, 1.8, 0.5), atol=1e-6)
    assert mesh.volume > 0.25
    # The nose is high and towards the viewer: up is +y, the viewer at +z.
    nose = mesh.vertices[8:].mean(axis=0) - mesh.vertices[:8].mean(axis=0)
    np.testing.assert_allclose(nose, (0, 0.7, 0.25), atol=1e-6)


def test_several_people_share_a_glb_each_with_a_name_and_a_colour(tmp_path: Path) -> None:
    vertices, faces = tall_body()
    people = np.stack([vertices, vertices + [1.0, 0, 0], vertices + [0, 0, 2.0]])
    colors = [(255, 0, 0), (0, 255, 0)]
    save_glb(tmp_path / "people.glb", people, faces, color=colors)
    scene = trimesh.load(tmp_path / "people.glb", process=False)
    assert list(scene.geometry) == ["person_0", "person_1", "person_2"]
    for number, mesh in enumerate(scene.geometry.values()):
        np.testing.assert_allclose(mesh.vertices, people[number] * [1, -1, -1], atol=1e-5)
        painted = mesh.visual.material.baseColorFactor[:3]
        np.testing.assert_array_equal(painted, colors[number % 2])
    with pytest.raises(InputError, match="one person, not 3"):
        save_mesh(tmp_path / "people.ply", people, faces)


def test_glb_material_and_normals(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3)
    save_glb(
        tmp_path / "ball.glb", np.asarray(ball.vertices), np.asarray(ball.faces), color=(255, 0, 0)
    )
    header = glb_json(tmp_path / "ball.glb")
    (material,) = header["materials"]
    assert not material.get("doubleSided", False)
    assert material["pbrMetallicRoughness"]["baseColorFactor"] == [1.0, 0.0, 0.0, 1.0]
    assert "NORMAL" in header["meshes"][0]["primitives"][0]["attributes"]
    mesh = read_glb(tmp_path / "ball.glb")
    assert (mesh.vertex_normals * mesh.vertices).sum(axis=1).min() > 0.999


def test_texture_seams_are_split_and_stay_smooth(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    faces = np.asarray(ball.faces)
    uv = np.random.default_rng(0).uniform(size=(3 * len(faces), 2))
    uv_faces = np.arange(3 * len(faces)).reshape(-1, 3)  # every triangle is an island
    save_glb(tmp_path / "a.glb", np.asarray(ball.vertices), faces, uv=uv, uv_faces=uv_faces)
    mesh = read_glb(tmp_path / "a.glb")
    assert len(mesh.vertices) == 3 * len(faces)
    assert (mesh.vertex_normals * mesh.vertices).sum(axis=1).min() > 0.99
    expected = ball.vertices[faces] * (1, -1, -1)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], expected, atol=1e-6)
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], uv[uv_faces], atol=1e-6)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".PLY"])
def test_every_mesh_format_agrees(tmp_path: Path, suffix: str) -> None:
    vertices, faces = tall_body()
    path = tmp_path / f"person{suffix}"
    save_mesh(path, vertices, faces)
    mesh = trimesh.load(path, process=False, force="mesh", maintain_order=True)
    np.testing.assert_allclose(mesh.vertices, vertices * (1, -1, -1), atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, faces)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_unknown_mesh_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=".glb or .obj or .ply"):
        save_mesh(tmp_path / "person.stl", *tall_body())
    with pytest.raises(InputError, match=".glb"):
        save_glb(tmp_path / "person.obj", *tall_body())
    assert not list(tmp_path.iterdir())


def test_images_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    save_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)
    save_image(str(tmp_path / "flat.JPG"), np.full((20, 30, 3), 90, np.uint8))
    with Image.open(tmp_path / "flat.JPG") as picture:
        assert picture.format == "JPEG"
    before = sorted(tmp_path.iterdir())

    def fail(_: object, file: Path, *__: object, **___: object) -> None:
        file.write_bytes(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_image(tmp_path / "a.png", image // 2)
    assert sorted(tmp_path.iterdir()) == before
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)


def test_wrong_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float64"):
        save_image(tmp_path / "a.png", np.zeros((4, 4, 3)))
    with pytest.raises(InputError, match="a.webp"):
        save_image(tmp_path / "a.webp", np.zeros((4, 4, 3), np.uint8))
