"""Licensed SMPL files: every known form is recognised, converted, listed and found."""

import os
import pickle
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from smpl_files import F, J, V, npz_bytes, official_pickle, one_sentence, smpl_arrays, write

from meshreg.body.assets import BUILTIN_PATH, find_body_file, load_body_data, read_body_data
from meshreg.body.official import add_body_models, list_body_models, load_official
from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError, MissingFileError


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return smpl_arrays()


def assert_same(body: Any, arrays: dict[str, np.ndarray]) -> None:
    assert np.array_equal(body.faces, arrays["f"])
    assert tuple(body.parents) == skeleton("smpl24").parents
    for name in ("v_template", "shapedirs", "posedirs", "J_regressor", "weights"):
        found = getattr(body, name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, arrays[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_every_protocol(
    arrays: dict[str, np.ndarray], tmp_path: Path, protocol: int
) -> None:
    name = "basicModel_f_lbs_10_207_0_v1.0.0.pkl"
    (body,) = load_official(write(tmp_path / name, official_pickle(arrays, protocol)))
    assert body.name == "smpl_female"
    assert_same(body, arrays)
    assert "chumpy" not in sys.modules


def python2_spelling(content: bytes) -> bytes:
    """Rewrite the module names of a protocol 2 pickle as Python 2 and old libraries spelt them."""
    for new, old in {
        b"cnumpy._core.multiarray\n": b"cnumpy.core.multiarray\n",
        b"cscipy.sparse._csc\n": b"cscipy.sparse.csc\n",
    }.items():
        assert new in content
        content = content.replace(new, old)
    return content


def test_old_module_names(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    content = python2_spelling(official_pickle(arrays))
    (body,) = load_official(write(tmp_path / "SMPL_MALE.pkl", content))
    assert body.name == "smpl_male"
    assert_same(body, arrays)


@pytest.mark.parametrize("boxed", [False, True])
def test_npz(arrays: dict[str, np.ndarray], tmp_path: Path, boxed: bool) -> None:
    fields = dict(arrays)
    if boxed:  # numpy.savez puts a sparse matrix into an array of objects
        fields["J_regressor"] = np.array(sparse.csc_matrix(arrays["J_regressor"]), dtype=object)
    content = npz_bytes(fields | {"gender": np.array("neutral"), "other": np.zeros(3)})
    (body,) = load_official(write(tmp_path / "model.npz", content))
    assert body.name == "smpl_neutral"
    assert_same(body, arrays)


def test_recognised_by_content_not_by_name(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = write(tmp_path / "download.bin", official_pickle(arrays, gender="male"))
    (body,) = load_official(path)
    assert body.name == "smpl_male"
    with pytest.raises(InputError, match="says that it is male, not female"):
        load_official(path, "female")


@pytest.fixture
def release(tmp_path: Path) -> Iterator[tuple[Path, dict[str, dict[str, np.ndarray]]]]:
    """A folder like the unpacked download: two genders, a readme and an unrelated file."""
    models = {"female": smpl_arrays(300, seed=1), "male": smpl_arrays(10, seed=2)}
    folder = tmp_path / "SMPL_python_v.1.1.0" / "smpl" / "models"
    write(folder / "basicmodel_f_lbs_10_207_0_v1.1.0.pkl", official_pickle(models["female"]))
    write(folder / "basicmodel_m_lbs_10_207_0_v1.1.0.pkl", official_pickle(models["male"]))
    write(folder / "poses.npz", npz_bytes({"poses": np.zeros(3)}))
    write(folder.parent / "readme.txt", b"hello")
    yield tmp_path / "SMPL_python_v.1.1.0", models


@pytest.mark.parametrize("zipped", [False, True])
def test_conversion_of_a_release(
    release: tuple[Path, dict[str, Any]], tmp_path: Path, zipped: bool
) -> None:
    source, models = release
    if zipped:
        with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
            for file in source.rglob("*.*"):
                if file.is_file():
                    archive.write(file, file.relative_to(tmp_path))
        source = tmp_path / "release.zip"
    paths = add_body_models(source, tmp_path / "models")
    assert [path.name for path in paths] == ["SMPL_FEMALE.npz", "SMPL_MALE.npz"]
    for gender, arrays in models.items():
        body = load_body_data(f"smpl_{gender}", folder=tmp_path / "models")
        assert body.name == f"smpl_{gender}"
        assert "Max Planck" in body.licence
        assert_same(body, arrays)
    assert len({path.stat().st_ino for path in paths}) == 2
    assert not list((tmp_path / "models").rglob("*.part"))


def test_existing_files(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    source = write(tmp_path / "SMPL_NEUTRAL.pkl", official_pickle(arrays))
    (path,) = add_body_models(source, tmp_path)
    before = path.stat().st_mtime_ns
    assert add_body_models(source, tmp_path) == [path]
    assert path.stat().st_mtime_ns == before, "an identical file was written again"
    other = smpl_arrays(seed=5)
    write(source, official_pickle(other))
    with pytest.raises(InputError, match=r"SMPL_NEUTRAL.npz already holds another body"):
        add_body_models(source, tmp_path)
    assert_same(read_body_data(path), arrays)
    add_body_models(source, tmp_path, overwrite=True)
    assert_same(read_body_data(path), other)


def test_interrupted_write_leaves_nothing(
    arrays: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    source = write(tmp_path / "SMPL_NEUTRAL.pkl", official_pickle(arrays))
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        add_body_models(source, tmp_path / "models")
    assert not [file for file in (tmp_path / "models").rglob("*") if file.is_file()]


def test_two_releases_of_one_model(tmp_path: Path) -> None:
    longer = smpl_arrays(300)
    shorter = longer | {"shapedirs": longer["shapedirs"][..., :10]}
    write(tmp_path / "basicModel_f_v1.0.0.pkl", official_pickle(shorter))
    write(tmp_path / "basicmodel_f_v1.1.0.pkl", official_pickle(longer))
    (body,) = load_official(tmp_path)
    assert body.shapedirs.shape[2] == 300
    write(tmp_path / "other_female.pkl", official_pickle(smpl_arrays(seed=3)))
    with pytest.raises(InputError, match="two different models claim to be smpl_female"):
        load_official(tmp_path)


def test_gender_that_nothing_tells(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = write(tmp_path / "model.pkl", official_pickle(arrays))
    with pytest.raises(InputError, match="model.pkl does not tell .* say which with --gender"):
        load_official(path)
    (written,) = add_body_models(path, tmp_path, "neutral")
    assert written == tmp_path / "smpl" / "SMPL_NEUTRAL.npz"


def test_truncated_files(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    for name, content in (
        ("SMPL_MALE.pkl", official_pickle(arrays)),
        ("SMPL_MALE.npz", npz_bytes(arrays)),
    ):
        for keep in (1, 5, 1000, len(content) // 2, len(content) - 1):
            path = write(tmp_path / name, content[:keep])
            with pytest.raises(InputError):
                load_official(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((V, 52))}, "is a SMPL-H model"),
        ({"v_template": np.zeros((10475, 3))}, "is a SMPL-X model"),
        ({"v_template": np.zeros((778, 3))}, "is a MANO model"),
        ({"v_template": np.zeros((5023, 3))}, "is a FLAME model"),
        ({"posedirs": np.zeros((V, 3, 93))}, "is a STAR model"),
        ({"f": np.zeros((10, 3), int)}, r"has a f of shape \(10, 3\) where SMPL has"),
        ({"f": np.full((F, 3), V)}, "vertices that do not exist"),
        ({"weights": np.zeros((V, J))}, "rows of weights .* do not sum to one"),
        ({"shapedirs": np.full((V, 3, 10), np.nan)}, "not finite"),
        ({"kintree_table": np.zeros((2, J), int)}, "joint tree"),
        ({"v_template": "text"}, "shape"),
    ],
)
def test_models_that_are_not_smpl(
    arrays: dict[str, np.ndarray], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "SMPL_MALE.pkl", pickle.dumps(arrays | change, 2))
    with pytest.raises(InputError, match=message) as caught:
        load_official(path)
    assert one_sentence(str(caught.value)), str(caught.value)


def test_damaged_archive(release: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "release.zip", "w") as archive:
        for file in release[0].rglob("*.pkl"):
            archive.write(file, file.name)
    content = (tmp_path / "release.zip").read_bytes()
    with pytest.raises(InputError, match="BadZipFile while reading"):
        load_official(write(tmp_path / "cut.zip", content[: len(content) // 2]))
    garbled = content[:1000] + bytes(1000) + content[2000:]
    assert [body.name for body in load_official(write(tmp_path / "garbled.zip", garbled))] == [
        "smpl_male"
    ], "the other member is whole"


def test_missing_pieces(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no file or folder"):
        load_official(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"holds no .pkl or .npz"):
        load_official(tmp_path)
    fields = {key: value for key, value in arrays.items() if key != "posedirs"}
    path = write(tmp_path / "SMPL_MALE.pkl", pickle.dumps(fields, 2))
    with pytest.raises(InputError, match="has no posedirs"):
        load_official(path)
    with pytest.raises(InputError, match="does not hold a body model"):
        load_official(write(tmp_path / "SMPL_MALE.pkl", pickle.dumps([1, 2], 2)))


def test_list_of_bodies(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    add_body_models(write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays)), tmp_path)
    write(tmp_path / "smpl" / "SMPL_FEMALE.npz", b"nonsense")
    write(tmp_path / "smpl" / "SMPL_NEUTRAL.npz", npz_bytes(arrays))
    builtin, female, male, neutral = list_body_models(tmp_path)
    assert builtin.name == "builtin"
    assert bool(builtin.problem) != BUILTIN_PATH.is_file()
    assert female.name == "smpl_female"
    assert "damaged" in female.problem
    assert "not a meshreg body file" in neutral.problem
    assert (male.name, male.num_vertices, male.num_betas) == ("smpl_male", V, 10)
    assert male.topology_hash == read_body_data(male.path).topology_hash
    assert male.problem == ""
    assert len(list_body_models(tmp_path / "nowhere")) == 1


def test_finding_bodies_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the checkout itself may hold licensed files
    with pytest.raises(MissingFileError, match=r"SMPL_NEUTRAL.npz is not in body_models/smpl: .*"):
        find_body_file("smpl_neutral")
    with pytest.raises(MissingFileError) as caught:
        find_body_file("smpl_neutral", tmp_path)
    for part in ("smpl.is.tue", "smplify.is.tue", "meshreg models add PATH", "load_body()"):
        assert part in str(caught.value)
    write(tmp_path / "smpl" / "SMPL_NEUTRAL.pkl", b"")
    with pytest.raises(MissingFileError, match=r"convert the SMPL_NEUTRAL.pkl there"):
        find_body_file("smpl_neutral", tmp_path)
    with pytest.raises(MissingFileError, match="check the path"):
        find_body_file(str(tmp_path / "mine.npz"))
    with pytest.raises(InputError, match="did you mean smpl_male"):
        find_body_file("smpl_mal")
    with pytest.raises(InputError, match="is a pickle: convert it"):
        load_body_data("SMPL_MALE.pkl")
