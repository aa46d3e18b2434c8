"""The body file that ships with the package: sound mesh, SMPL's conventions, right joints."""

from collections import Counter

import numpy as np
import pytest
import smplx
import torch

from meshreg.body.assets import BUILTIN_PATH, BodyData, read_body_data
from meshreg.body.bake.landmarks import LANDMARK_SLOTS
from meshreg.body.bake.population import mesh_volume
from meshreg.body.bake.rotations import rotvec_to_rotmat
from meshreg.body.bake.shape_space import vertex_areas
from meshreg.body.bake.skinning import Skin, linear_blend
from tests.reference.lbs import smpl_forward

# fmt: off
NAMES = [
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee",
    "spine2", "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot",
    "neck", "left_collar", "right_collar", "head", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
]
PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
OTHER_SIDE = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
# fmt: on
JOINT = {name: index for index, name in enumerate(NAMES)}
FLIP = np.array([-1, 1, 1])


@pytest.fixture(scope="module")
def body() -> BodyData:
    return read_body_data(BUILTIN_PATH)


@pytest.fixture(scope="module")
def joints(body: BodyData) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, body.J_regressor @ body.v_template, strict=True))


def shaped(body: BodyData, beta: int, amount: float) -> np.ndarray:
    return body.v_template + amount * body.shapedirs[..., beta]


def mirrored_faces(faces: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    return mirror[faces][:, ::-1]


def face_set(faces: np.ndarray) -> set[tuple[int, ...]]:
    """Faces as they are oriented, whichever corner comes first."""
    return {tuple(np.roll(face, -int(face.argmin())).tolist()) for face in faces}


def test_file_is_small_and_says_what_it_is(body: BodyData) -> None:
    assert BUILTIN_PATH.stat().st_size < 6_000_000
    assert body.name == "builtin"
    assert "CC0" in body.licence and "MakeHuman" in body.licence
    assert "meshreg models bake" in body.recipe and "seed 0" in body.recipe


def test_sizes(body: BodyData) -> None:
    V = len(body.v_template)
    assert V != 6890, "files made for SMPL's vertices must not fit"
    assert max(LANDMARK_SLOTS.values()) < V
    assert body.shapedirs.shape == (V, 3, 10)
    assert body.posedirs.shape == (V, 3, 207)
    assert body.weights.shape == (V, 24)
    assert body.J_regressor.shape == (24, V)
    assert body.parents.tolist() == PARENTS
    assert body.vertex_part.shape == body.mirror.shape == (V,)
    for array in (body.v_template, body.shapedirs, body.posedirs, body.weights):
        assert np.isfinite(array).all()


def test_mesh_is_one_closed_surface_without_handles(body: BodyData) -> None:
    half_edges = Counter(
        (int(face[i]), int(face[(i + 1) % 3])) for face in body.faces for i in range(3)
    )
    assert set(half_edges.values()) == {1}
    assert all((b, a) in half_edges for a, b in half_edges)
    assert len(body.v_template) - len(half_edges) // 2 + len(body.faces) == 2
    reached, front = {0}, [0]
    neighbours: dict[int, list[int]] = {}
    for a, b in half_edges:
        neighbours.setdefault(a, []).append(b)
    while front:
        new = [v for v in neighbours[front.pop()] if v not in reached]
        reached.update(new)
        front.extend(new)
    assert len(reached) == len(body.v_template), "vertices in no face, or several pieces"


def test_faces_look_outwards_and_none_is_flat(body: BodyData) -> None:
    assert 0.05 < mesh_volume(body.v_template, body.faces) < 0.1  # cubic metres
    corners = body.v_template[body.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(normals, axis=1).min() > 1e-8


def test_left_and_right_are_alike(body: BodyData) -> None:
    mirror = body.mirror
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_array_equal(body.v_template[mirror] * FLIP, body.v_template)
    np.testing.assert_array_equal(body.shapedirs[mirror] * FLIP[:, None], body.shapedirs)
    np.testing.assert_allclose(body.weights[mirror][:, OTHER_SIDE], body.weights, atol=1e-6)
    np.testing.assert_allclose(body.J_regressor[OTHER_SIDE][:, mirror], body.J_regressor, atol=1e-7)
    assert face_set(mirrored_faces(body.faces, mirror)) == face_set(body.faces)
    off_midline = mirror != np.arange(len(mirror))
    other_part = np.array(OTHER_SIDE)[body.vertex_part]
    np.testing.assert_array_equal(other_part[mirror], body.vertex_part)
    assert (np.abs(body.v_template[~off_midline, 0]) == 0).all()


def test_symmetric_correctives(body: BodyData) -> None:
    """A mirrored pose gives the mirrored offsets."""
    rotvecs = np.random.default_rng(0).normal(0, 0.5, (24, 3))
    feature, image_feature = (
        (rotvec_to_rotmat(turns)[1:] - np.eye(3)).reshape(-1)
        for turns in (rotvecs, rotvecs[OTHER_SIDE] * [1, -1, -1])
    )
    offsets, image = body.posedirs @ feature, body.posedirs @ image_feature
    assert np.abs(offsets).max() > 5e-3
    np.testing.assert_allclose(image, offsets[body.mirror] * FLIP, atol=1e-6)


def test_rows_sum_to_one(body: BodyData) -> None:
    np.testing.assert_allclose(body.weights.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(body.J_regressor.sum(1), 1, atol=1e-5)
    assert (body.weights >= 0).all() and (body.J_regressor >= 0).all()
    assert (body.weights > 0).sum(1).max() <= 5
    assert {"h36m17", "coco17", "lsp14"} <= body.regressors.keys()
    for name, rows in body.regressors.items():
        assert (rows >= 0).all(), name
        np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5, err_msg=name)


def test_every_part_has_vertices_near_its_joint(
    body: BodyData, joints: dict[str, np.ndarray]
) -> None:
    for part, name in enumerate(NAMES):
        vertices = body.v_template[body.vertex_part == part]
        assert len(vertices) >= 20, name
        assert np.linalg.norm(vertices - joints[name], axis=1).min() < 0.15, name


def test_stands_in_a_t_pose_facing_forward(body: BodyData, joints: dict[str, np.ndarray]) -> None:
    height = np.ptp(body.v_template[:, 1])
    assert 1.6 < height < 1.8
    assert 0.85 < np.ptp(body.v_template[:, 0]) / height < 1.1, "arms are not stretched out"
    column = ("left_ankle", "left_knee", "left_hip", "pelvis", "spine1", "spine2", "spine3")
    heights = [joints[name][1] for name in (*column, "neck", "head")]
    assert heights == sorted(heights)
    arm = [joints[f"left_{name}"] for name in ("collar", "shoulder", "elbow", "wrist", "hand")]
    assert all(0.05 < b[0] - a[0] < 0.4 for a, b in zip(arm, arm[1:], strict=False))
    assert abs(arm[1][1] - arm[-1][1]) < 0.06, "the arm is not level"
    assert joints["left_foot"][2] > joints["left_ankle"][2] + 0.05, "toes do not point to +z"


def test_landmarks_stand_where_smplx_looks(body: BodyData) -> None:
    at = {name: body.v_template[slot] for name, slot in LANDMARK_SLOTS.items()}
    for name, slot in LANDMARK_SLOTS.items():
        if name.startswith("left_"):
            assert body.mirror[slot] == LANDMARK_SLOTS[name.replace("left_", "right_")]
            assert at[name][0] > 0.02, name
    head = body.v_template[body.vertex_part == JOINT["head"]]
    midline = head[head[:, 0] == 0]
    np.testing.assert_array_equal(at["nose"], midline[midline[:, 2].argmax()])
    assert at["left_eye"][1] > at["nose"][1] and at["left_eye"][2] > 0.05
    assert at["left_ear"][0] > head[:, 0].max() - 0.02
    left = body.v_template[:, 0] > 0
    sole = body.v_template[left & (body.v_template[:, 1] < body.v_template[:, 1].min() + 0.03)]
    assert at["left_heel"][2] < sole[:, 2].min() + 0.005
    assert at["left_big_toe"][2] > sole[:, 2].max() - 0.03
    assert at["left_small_toe"][0] > at["left_big_toe"][0] + 0.03
    tips = [at[f"left_{finger}"] for finger in ("thumb", "index", "middle", "ring", "pinky")]
    assert tips[2][0] > body.v_template[:, 0].max() - 0.015
    depths = [tip[2] for tip in tips]
    assert depths == sorted(depths, reverse=True), "the thumb side of the hand is in front"


def test_first_beta_is_stature(body: BodyData) -> None:
    tall, short = (np.ptp(shaped(body, 0, amount)[:, 1]) for amount in (2, -2))
    assert 0.25 < tall - short < 0.45
    for beta in range(1, 10):
        taller, shorter = (np.ptp(shaped(body, beta, amount)[:, 1]) for amount in (2, -2))
        assert abs(taller - shorter) < 0.06
        heavier, lighter = (mesh_volume(shaped(body, beta, s), body.faces) for s in (1, -1))
        assert heavier > lighter


def test_betas_are_orthogonal_and_in_order_of_variance(body: BodyData) -> None:
    root = np.sqrt(vertex_areas(body.v_template.astype(np.float64), body.faces))
    basis = (body.shapedirs * root[:, None, None]).reshape(-1, 10)
    products = basis.T @ basis
    variance = np.diag(products)
    assert (np.diff(variance) < 0).all()
    assert variance[0] > 0.5 * variance.sum()
    cosines = products / np.sqrt(np.outer(variance, variance)) - np.eye(10)
    assert np.abs(cosines).max() < 5e-3


def test_pelvis_is_the_origin_for_every_shape(body: BodyData) -> None:
    row = body.J_regressor[0].astype(np.float64)
    np.testing.assert_allclose(row @ body.v_template, 0, atol=1e-6)
    np.testing.assert_allclose(np.einsum("v,vcs->cs", row, body.shapedirs), 0, atol=2e-5)


def test_texture_corners_cover_the_faces(body: BodyData) -> None:
    assert body.uv_faces.shape == body.faces.shape
    assert body.uv.min() >= 0 and body.uv.max() <= 1
    assert len(np.unique(body.uv_faces)) == len(body.uv) > len(body.v_template)
    owner = np.full(len(body.uv), -1)
    owner[body.uv_faces.ravel()] = body.faces.ravel()
    np.testing.assert_array_equal(owner[body.uv_faces], body.faces)  # one vertex per texture vertex


def test_smplx_gives_the_reference_joints_and_vertices(body: BodyData) -> None:
    arrays = smplx.utils.Struct(
        v_template=body.v_template,
        f=body.faces,
        shapedirs=body.shapedirs,
        posedirs=body.posedirs,
        J_regressor=body.J_regressor,
        weights=body.weights,
        kintree_table=np.stack([body.parents, np.arange(24)]),
    )
    layer = smplx.SMPL("", data_struct=arrays)
    rng = np.random.default_rng(0)
    betas, rotvecs = rng.normal(size=10), rng.normal(0, 0.5, (24, 3))
    pose = torch.as_tensor(rotvecs.reshape(1, 72), dtype=torch.float32)
    with torch.no_grad():
        found = layer(
            betas=torch.as_tensor(betas[None], dtype=torch.float32),
            global_orient=pose[:, :3],
            body_pose=pose[:, 3:],
        )
    vertices, joints = smpl_forward(
        betas,
        rotvecs,
        v_template=body.v_template,
        shapedirs=body.shapedirs,
        posedirs=body.posedirs,
        J_regressor=body.J_regressor,
        weights=body.weights,
        parents=body.parents,
    )
    expected = np.concatenate([joints, vertices[list(LANDMARK_SLOTS.values())]])
    np.testing.assert_allclose(found.vertices[0].numpy(), vertices, atol=1e-5)
    np.testing.assert_allclose(found.joints[0].numpy(), expected, atol=1e-5)


def knee_bend(body: BodyData, degrees: float) -> tuple[Skin, np.ndarray]:
    pose = np.tile(np.eye(3), (1, 24, 1, 1))
    pose[0, JOINT["left_knee"]] = rotvec_to_rotmat(np.array([np.deg2rad(degrees), 0, 0]))
    pose[0, JOINT["left_hip"]] = rotvec_to_rotmat(np.array([np.deg2rad(-degrees), 0, 0]))
    vertices = body.v_template.astype(np.float64)
    rest = body.J_regressor.astype(np.float64) @ vertices
    return Skin(vertices, rest, body.weights.astype(np.float64), body.parents), pose


def test_correctives_keep_the_volume_of_bent_limbs(body: BodyData) -> None:
    skin, pose = knee_bend(body, 110)
    rest = mesh_volume(skin.vertices, body.faces)
    plain = mesh_volume(linear_blend(skin, pose), body.faces)[0] / rest
    corrected = linear_blend(skin, pose, body.posedirs.astype(np.float64))
    kept = mesh_volume(corrected, body.faces)[0] / rest
    assert plain < 0.99
    assert plain + 0.005 < kept < 1.01


def test_keypoint_rows_follow_a_bent_leg(body: BodyData) -> None:
    skin, pose = knee_bend(body, 90)
    posed = linear_blend(skin, pose, body.posedirs.astype(np.float64))[0]
    knee = skin.joints[JOINT["left_hip"]] + pose[0, JOINT["left_hip"]] @ (
        skin.joints[JOINT["left_knee"]] - skin.joints[JOINT["left_hip"]]
    )
    row = body.regressors["h36m17"][5]
    assert np.linalg.norm(row @ posed - knee) < 0.01
    rest_row = body.J_regressor[JOINT["left_knee"]]
    assert np.linalg.norm(row @ posed - knee) < 0.5 * np.linalg.norm(rest_row @ posed - knee)


def test_keypoints_have_their_names_places(body: BodyData) -> None:
    points = body.regressors["h36m17"] @ body.v_template
    pelvis, right_hip, right_knee, right_ankle = points[:4]
    left_hip, spine, thorax, neck, top = points[4], *points[7:11]
    assert right_hip[0] < -0.05 < 0.05 < left_hip[0]
    assert right_ankle[1] < right_knee[1] < right_hip[1]
    assert pelvis[1] < spine[1] < thorax[1] < neck[1] < top[1]
    assert top[1] == pytest.approx(body.v_template[:, 1].max(), abs=0.01)
    assert points[11][0] > 0.1 and points[13][0] > 0.5, "the left arm comes first"
    coco = body.regressors["coco17"] @ body.v_template
    assert coco[1][0] > 0 > coco[2][0] and coco[5][0] > 0 > coco[6][0]
    np.testing.assert_allclose(coco[[15, 16]], points[[6, 3]], atol=1e-6)
    lsp = body.regressors["lsp14"] @ body.v_template
    np.testing.assert_allclose(lsp[[0, 5, 13]], points[[3, 6, 10]], atol=1e-6)
