"""Pickles are read without being run: arrays of every origin, hostile and damaged files."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from smpl_files import (
    CHUMPY,
    Calls,
    V,
    npz_bytes,
    official_pickle,
    one_sentence,
    smpl_arrays,
    write,
)

from meshreg.body.official import load_official
from meshreg.body.unpickle import read_pickle, to_array
from meshreg.errors import InputError


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return smpl_arrays()


def test_python2_instances_and_strings() -> None:
    """What Python 2 wrote for an old-protocol object and for raw bytes."""
    text = (
        b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR(dS'x'\n"
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb"
        b"I00\nS'\\x3f\\x80\\x00\\x00\\xc0\\x00\\x00\\x00'\ntbsb."
    )
    assert to_array(read_pickle(text, "text")).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("form", ["csr_matrix", "coo_matrix", "csc_array", "csr_array"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_sparse_matrices(form: str, protocol: int) -> None:
    dense = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.float32)
    content = pickle.dumps(getattr(sparse, form)(dense), protocol)
    assert np.array_equal(to_array(read_pickle(content, "matrix")), dense)


def test_chumpy_expressions() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4))
    node = CHUMPY.ch(x)
    for expression, expected in (
        (CHUMPY.select(x), x),
        (CHUMPY.node(CHUMPY.Reshape, a=node, newshape=(2, 6)), x.reshape(2, 6)),
        (CHUMPY.node(CHUMPY.Reshape, a=node, newshape=-1), x.ravel()),
        (CHUMPY.node(CHUMPY.transpose, a=node, axes=None), x.T),
        (CHUMPY.node(CHUMPY.Select, a=node, idxs=np.array([5, 0])), x.ravel()[[5, 0]]),
    ):
        assert np.array_equal(to_array(read_pickle(CHUMPY.dumps(expression), "node")), expected)


def test_chumpy_nodes_that_nobody_reads(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    other = CHUMPY.node(CHUMPY.Concatenate, m0=CHUMPY.ch(np.zeros(3)))
    path = write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays, J=other))
    assert load_official(path)
    path = write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays, weights=other))
    with pytest.raises(InputError, match=r"a chumpy.reordering.Concatenate stands where"):
        load_official(path)


def test_fortran_order_and_scalars() -> None:
    column_major = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for protocol in (2, 5):
        content = pickle.dumps([column_major, np.float32(1.5), "a", 3], protocol)
        array, scalar, text, number = read_pickle(content, "list")
        assert np.array_equal(to_array(array), column_major)
        assert to_array(scalar) == 1.5
        assert to_array(text) == "a"
        assert to_array(number) == 3


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("place", ["top", "field", "argument"])
def test_code_in_a_pickle_never_runs(tmp_path: Path, protocol: int, place: str) -> None:
    marker = tmp_path / "marker"
    for payload, name in (
        (Calls(os.system, f"touch {marker}"), "posix.system"),
        (Calls(eval, f"open({str(marker)!r}, 'w')"), "eval"),
        (Calls(open, str(marker), "w"), "open"),
        (Calls(getattr, [], "append"), "getattr"),
        (Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {marker}"))), "pickle.loads"),
        (Calls(np.load, str(marker)), "numpy.load"),
    ):
        value = {
            "top": payload,
            "field": {"v_template": payload},
            "argument": {"v_template": Calls(np.dtype, payload)},
        }[place]
        path = write(tmp_path / "SMPL_MALE.pkl", pickle.dumps(value, protocol))
        with pytest.raises(InputError, match="was refused because it asks for") as caught:
            load_official(path)
        assert name in str(caught.value)
        assert one_sentence(str(caught.value)), str(caught.value)
        assert not marker.exists()


def test_code_inside_an_npz_never_runs(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bad = np.array(Calls(os.system, f"touch {marker}"), dtype=object)
    path = write(tmp_path / "SMPL_MALE.npz", npz_bytes(arrays | {"J_regressor": bad}))
    with pytest.raises(InputError, match=r"posix.system"):
        load_official(path)
    assert not marker.exists()


HOSTILE = {
    "allowed names with strange arguments": b"cnumpy\ndtype\n(I1\nI2\ntR.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0bcore.system\x93.",
    "state given to a class": b"cnumpy\nndarray\n}(S'kind'\nS'new'\nub.",
    "state given to a list": b"](S'a'\nI1\ntb.",
    "a call of a number": b"I5\n(tR.",
    "object from a number": b"ccopy_reg\n_reconstructor\n(I1\nI2\nNtR.",
    "huge memo index": b"Nr\xff\xff\xff\x7f0.",
    "huge bytes": b"\x80\x04\x8e" + b"\xff" * 6 + b"\x00\x00" + b"abc.",
    "huge byte array": b"\x80\x05\x96" + b"\xff" * 6 + b"\x00\x00" + b"abc.",
    "extension registry": b"\x82\x01.",
    "persistent id": b"Pabc\n.",
    "empty": b"",
    "random": bytes(np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_and_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        load_official(write(tmp_path / "SMPL_MALE.pkl", content))
    assert one_sentence(str(caught.value)), str(caught.value)


def test_shapes_that_only_claim_to_be_there(arrays: dict[str, np.ndarray], tmp_path: Path) -> None:
    huge = sparse.csc_matrix(arrays["J_regressor"])
    huge._shape = (2**40, V)
    path = write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays, J_regressor=huge))
    with pytest.raises(
        InputError, match="in J_regressor of SMPL_MALE.pkl an array claims to have the shape"
    ):
        load_official(path)
    # Every level refers twice to the one below: evaluated naively, 2^40 steps.
    nested: Any = CHUMPY.ch(np.arange(3))
    for _ in range(40):
        nested = CHUMPY.node(CHUMPY.Select, a=nested, idxs=nested)
    path = write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays, weights=nested))
    with pytest.raises(InputError, match="in weights of .* where a plain array should be"):
        load_official(path)
    laughs: Any = [1, 2, 3]
    for _ in range(50):
        laughs = [laughs] * 10
    path = write(tmp_path / "SMPL_MALE.pkl", official_pickle(arrays, weights=laughs))
    with pytest.raises(InputError, match="a list stands where an array should be"):
        load_official(path)
