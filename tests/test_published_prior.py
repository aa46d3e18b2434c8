"""DSR's published prior, brought in from an array of the same shape."""

from pathlib import Path

import numpy as np
import pytest
import torch
from smpl_files import one_sentence, smpl_arrays

from meshreg.body.assets import BodyData
from meshreg.body.smpl import Body, load_body
from meshreg.clothing.counting import labels_from_joints
from meshreg.clothing.published import import_face_prior
from meshreg.errors import InputError, MissingFileError
from meshreg.geometry.mesh import triangle_areas


@pytest.fixture(scope="module")
def smpl() -> Body:
    """A body with SMPL's number of vertices and faces."""
    arrays = smpl_arrays()
    return Body(
        BodyData(
            name="smpl_neutral",
            licence="",
            v_template=arrays["v_template"].astype(np.float32),
            faces=arrays["f"].astype(np.int64),
            shapedirs=arrays["shapedirs"].astype(np.float32),
            posedirs=arrays["posedirs"].astype(np.float32),
            J_regressor=arrays["J_regressor"].astype(np.float32),
            weights=arrays["weights"].astype(np.float32),
            parents=np.array(arrays["kintree_table"][0], np.int64),
        )
    )


@pytest.mark.parametrize("shape", [(13776, 20), (1, 13776, 20), (13776, 20, 1)])
def test_the_published_prior_comes_in(tmp_path: Path, smpl: Body, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).random((13776, 20)).astype(np.float32)
    rows /= rows.sum(1, keepdims=True)
    faces, area = smpl.data.faces, triangle_areas(smpl.v_template, smpl.faces).numpy()
    alone = int(faces[0, 0])
    rows[(faces == alone).any(1)] = 0  # a vertex of which nothing is known
    path = tmp_path / "semantic_prior.npy"
    np.save(path, rows.reshape(shape))
    prior = import_face_prior(path, smpl)
    torch.testing.assert_close(prior.probs.sum(1), torch.ones(6890), atol=1e-5, rtol=0)
    for vertex in (1, 100, 6889):
        around = (faces == vertex).sum(1)
        weight = area * around
        expected = (weight[:, None] * rows).sum(0)
        expected /= expected.sum()
        np.testing.assert_allclose(prior.probs[vertex], expected, atol=1e-5)
    torch.testing.assert_close(prior.probs[alone], labels_from_joints(smpl.weights)[alone])
    assert "non-commercial" in prior.licence and prior.topology_hash == smpl.topology_hash


def test_published_files_that_are_refused(tmp_path: Path, smpl: Body) -> None:
    path = tmp_path / "p.npy"
    good = np.full((13776, 20), 0.05, np.float32)
    negative, holey = good.copy(), good.copy()
    negative[3, 3], holey[3, 3] = -1, np.nan
    cases = [
        (good[:-1], "shape (13775, 20)"),
        (good.T, "shape (20, 13776)"),
        (negative, "negative"),
        (holey, "not finite"),
        (np.array({"a": 1}, dtype=object), "something else"),
    ]
    for array, words in cases:
        np.save(path, array, allow_pickle=True)
        with pytest.raises(InputError) as caught:
            import_face_prior(path, smpl)
        assert words in str(caught.value) and one_sentence(str(caught.value))
    np.save(path, good)
    with pytest.raises(InputError, match=r"13776 faces, but the body builtin") as caught:
        import_face_prior(path, load_body())
    assert one_sentence(str(caught.value))
    with pytest.raises(MissingFileError):
        import_face_prior(tmp_path / "none.npy", smpl)
