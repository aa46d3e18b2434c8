"""Joint regressors: built-in rows, published files and their traps, other bodies refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meshreg.body.assets import BodyData
from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError, MissingFileError

NUM_VERTICES = 500
# Rough T-pose of SMPL's 24 joints, metres, left = +x.
# fmt: off
REST = np.array([
    [0, -.2, 0], [.07, -.3, 0], [-.07, -.3, 0], [0, -.1, 0], [.1, -.7, 0], [-.1, -.7, 0], [0, 0, 0],
    [.09, -1.1, 0], [-.09, -1.1, 0], [0, .1, 0], [.1, -1.15, .1], [-.1, -1.15, .1], [0, .3, 0],
    [.08, .2, 0], [-.08, .2, 0], [0, .4, 0], [.2, .25, 0], [-.2, .25, 0], [.45, .25, 0],
    [-.45, .25, 0], [.7, .25, 0], [-.7, .25, 0], [.8, .25, 0], [-.8, .25, 0]])
# fmt: on


def nearest_rows(points: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Rows that average the four vertices nearest to each point."""
    distance = np.linalg.norm(points[:, None] - vertices[None], axis=-1)
    rows = np.zeros(distance.shape)
    np.put_along_axis(rows, np.argsort(distance, 1)[:, :4], 0.25, 1)
    return rows


@pytest.fixture(scope="module")
def body() -> BodyData:
    random = np.random.default_rng(0)
    owner = np.arange(NUM_VERTICES) % 24
    vertices = REST[owner] + random.normal(0, 0.01, (NUM_VERTICES, 3))
    faces = random.permutation(NUM_VERTICES)[:498].reshape(-1, 3)
    smpl_rows = nearest_rows(REST, vertices).astype(np.float32)
    return BodyData(
        name="synthetic",
        licence="none",
        v_template=vertices.astype(np.float32),
        faces=faces.astype(np.int64),
        shapedirs=np.zeros((NUM_VERTICES, 3, 2), np.float32),
        posedirs=np.zeros((NUM_VERTICES, 3, 207), np.float32),
        J_regressor=smpl_rows,
        weights=np.eye(24, dtype=np.float32)[owner],
        parents=np.array(skeleton("smpl24").parents),
        regressors={"h36m17": h36m_rows(vertices).astype(np.float32)},
    )


def h36m_rows(vertices: np.ndarray) -> np.ndarray:
    """Rows in Human3.6M's own order: right leg first."""
    smpl = [0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 15, 16, 18, 20, 17, 19, 21]
    return nearest_rows(REST[smpl], vertices)


def save(path: Path, rows: np.ndarray) -> Path:
    np.save(path, rows)
    return path


def test_forward_equals_the_dense_product(body: BodyData) -> None:
    regressor = JointRegressor.from_body(body, "h36m17")
    vertices = torch.randn(2, 3, NUM_VERTICES, 3, dtype=torch.float64)
    dense = torch.from_numpy(body.regressors["h36m17"]).double()
    expected = torch.einsum("jv,abvc->abjc", dense, vertices)
    torch.testing.assert_close(regressor(vertices), expected)
    assert len(regressor.vertex_indices) < NUM_VERTICES / 2
    subset = vertices[..., regressor.vertex_indices, :]
    assert torch.equal(regressor.from_used_vertices(subset), regressor(vertices))
    assert regressor(vertices[0, 0]).shape == (17, 3)


def test_gradient_reaches_exactly_the_used_vertices(body: BodyData) -> None:
    regressor = JointRegressor.from_body(body, "h36m17")
    vertices = torch.randn(NUM_VERTICES, 3, requires_grad=True)
    regressor(vertices).sum().backward()
    assert vertices.grad is not None
    touched = torch.nonzero(vertices.grad.abs().sum(1)).squeeze(1)
    assert torch.equal(touched, regressor.vertex_indices)


def test_the_rows_stay_out_of_checkpoints(body: BodyData) -> None:
    assert not JointRegressor.from_body(body).state_dict()


def test_from_body(body: BodyData) -> None:
    joints = JointRegressor.from_body(body)(torch.from_numpy(body.v_template))
    assert (joints - torch.from_numpy(REST).float()).abs().max() < 0.03
    with pytest.raises(InputError, match="has regressors for h36m17, smpl24, not for coco17"):
        JointRegressor.from_body(body, "coco17")


def test_a_file_in_the_official_order_is_left_alone(body: BodyData, tmp_path: Path) -> None:
    rows = h36m_rows(body.v_template)
    regressor = JointRegressor.from_npy(
        save(tmp_path / "J_regressor_h36m_correct.npy", rows), body=body
    )
    assert regressor.notes == ()
    assert regressor.skeleton is skeleton("h36m17")
    expected = torch.from_numpy(rows @ body.v_template).float()
    torch.testing.assert_close(regressor(torch.from_numpy(body.v_template)), expected)


@pytest.mark.parametrize("limb", ["leg", "arm"])
def test_exchanged_limbs_are_put_right_and_reported(
    body: BodyData, tmp_path: Path, limb: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = h36m_rows(body.v_template)
    first = {"leg": (1, 4), "arm": (11, 14)}[limb]
    trapped = rows.copy()
    for a, b in zip(range(first[0], first[0] + 3), range(first[1], first[1] + 3), strict=True):
        trapped[[a, b]] = rows[[b, a]]
    regressor = JointRegressor.from_npy(save(tmp_path / "J_regressor_h36m.npy", trapped), body=body)
    assert len(regressor.notes) == 1
    assert f"left and right {limb} rows were exchanged" in regressor.notes[0]
    assert regressor.notes[0] in caplog.text
    joints = regressor(torch.from_numpy(body.v_template))
    torch.testing.assert_close(joints, torch.from_numpy(rows @ body.v_template).float())
    left, right = regressor.skeleton.index("left_knee", "right_knee")
    assert joints[left, 0] > 0.05 > -0.05 > joints[right, 0]


def test_half_exchanged_limbs_are_refused(body: BodyData, tmp_path: Path) -> None:
    rows = h36m_rows(body.v_template)
    rows[[2, 5]] = rows[[5, 2]]
    with pytest.raises(InputError, match="some joints of the legs"):
        JointRegressor.from_npy(save(tmp_path / "half.npy", rows), body=body)


def test_extra_joints_of_nine_rows(body: BodyData, tmp_path: Path) -> None:
    places = REST[[2, 1, 12, 15, 0, 12, 6, 15, 15]]
    rows = nearest_rows(places, body.v_template)
    regressor = JointRegressor.from_npy(save(tmp_path / "J_regressor_extra.npy", rows), body=body)
    assert regressor.skeleton.name == "extra9"
    assert regressor.notes == ()


def test_files_of_other_bodies_are_refused(body: BodyData, tmp_path: Path) -> None:
    rows = h36m_rows(body.v_template)
    longer = save(tmp_path / "longer.npy", np.pad(rows, ((0, 0), (0, 10))))
    with pytest.raises(
        InputError, match="weights for 510 vertices, but the body synthetic has 500"
    ):
        JointRegressor.from_npy(longer, body=body)
    shuffled = rows[:, np.random.default_rng(1).permutation(NUM_VERTICES)]
    with pytest.raises(
        InputError, match=r"legs on the left|arms on the left|numbered like another"
    ):
        JointRegressor.from_npy(save(tmp_path / "shuffled.npy", shuffled), body=body)
    shifted = replace(body, v_template=body.v_template[::-1].copy() * np.float32([1, -1, 1]))
    with pytest.raises(InputError):
        JointRegressor.from_npy(save(tmp_path / "rows.npy", rows), body=shifted)


def test_regressors_do_not_mix_with_other_bodies(body: BodyData) -> None:
    regressor = JointRegressor.from_body(body)
    regressor.check_body(body.topology_hash)
    with pytest.raises(InputError, match="smpl24 regressor belongs to a body with topology"):
        regressor.check_body(replace(body, faces=body.faces[:, ::-1]).topology_hash)
    with pytest.raises(InputError, match="expects 500 vertices but got 501"):
        regressor(torch.zeros(501, 3))


def test_rows_that_are_not_means_are_refused(body: BodyData, tmp_path: Path) -> None:
    rows = h36m_rows(body.v_template)
    with pytest.raises(InputError, match="should sum to one but miss it by up to 1"):
        JointRegressor.from_npy(save(tmp_path / "double.npy", rows * 2), body=body)
    bad = rows.copy()
    bad[3, 4] = np.nan
    with pytest.raises(InputError, match="not finite"):
        JointRegressor.from_npy(save(tmp_path / "nan.npy", bad), body=body)


def test_odd_but_usable_rows_are_noted(body: BodyData, tmp_path: Path) -> None:
    rows = h36m_rows(body.v_template) * 1.005
    first, second = np.nonzero(rows[0])[0][:2]
    rows[0, first] += 0.3
    rows[0, second] -= 0.3
    notes = JointRegressor.from_npy(save(tmp_path / "odd.npy", rows), body=body).notes
    assert len(notes) == 2
    assert "only within 0.005" in notes[0]
    assert "negative" in notes[1]


def test_wrong_files_are_refused(body: BodyData, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no regressor file at"):
        JointRegressor.from_npy(tmp_path / "nothing.npy", body=body)
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(InputError, match="not a readable"):
        JointRegressor.from_npy(tmp_path / "text.npy", body=body)
    with pytest.raises(InputError, match="joints by vertices"):
        JointRegressor.from_npy(save(tmp_path / "flat.npy", np.zeros(5)), body=body)
    rows = h36m_rows(body.v_template)
    with pytest.raises(InputError, match="has 17 rows, but extra9 has 9"):
        JointRegressor.from_npy(save(tmp_path / "rows.npy", rows), "extra9", body=body)
    with pytest.raises(InputError, match=r"has 14 rows.*lsp14"):
        JointRegressor.from_npy(save(tmp_path / "some.npy", rows[:14]), body=body)
