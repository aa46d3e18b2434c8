"""Motion files: what is read, and a sentence for what cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from smpl_files import one_sentence

from meshreg.data.motion import load_motion
from meshreg.errors import InputError, MissingFileError


@pytest.fixture
def arrays() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "poses": random.normal(size=(10, 24, 3)).astype(np.float16),
        "trans": random.normal(size=(10, 3)),
        "offsets": np.array([0, 3, 10]),
        "names": np.array(["a", "b"]),
        "subject": np.array([1, 7]),
        "category": np.array(["walk", "run"]),
        "fps": np.float64(30),
        "licence": np.array("free"),
    }


def write(folder: Path, arrays: dict[str, Any]) -> Path:
    np.savez(folder / "motion.npz", **arrays)
    return folder / "motion.npz"


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_motion(path)
    message = str(caught.value).replace(str(path.parent), "")
    assert one_sentence(message), message
    return message


def test_clips_come_back(tmp_path: Path, arrays: dict[str, Any]) -> None:
    motion = load_motion(write(tmp_path, arrays))
    assert motion.clip.tolist() == [0] * 3 + [1] * 7
    torch.testing.assert_close(motion.poses, torch.from_numpy(arrays["poses"]).float())
    torch.testing.assert_close(motion.pelvis, torch.from_numpy(arrays["trans"]).float())
    assert (motion.names, motion.subject, motion.category) == (("a", "b"), (1, 7), ("walk", "run"))
    assert (motion.fps, motion.licence) == (30.0, "free")


@pytest.mark.parametrize("name", ["poses", "offsets", "licence"])
def test_a_missing_array_is_named(tmp_path: Path, arrays: dict[str, Any], name: str) -> None:
    del arrays[name]
    assert name in refusal(write(tmp_path, arrays))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("poses", np.full((10, 24, 3), np.nan), "poses that are not finite"),
        ("trans", np.full((10, 3), np.inf), "trans that are not finite"),
        ("poses", np.zeros((10, 22, 3)), "(10, 22, 3)"),
        ("poses", np.zeros((10, 72)), "(10, 72)"),
        ("trans", np.zeros((9, 3)), "(9, 3)"),
        ("offsets", np.array([0, 3, 11]), "10 frames"),
        ("offsets", np.array([1, 3, 10]), "10 frames"),
        ("offsets", np.array([0, 12, 10]), "10 frames"),
        ("offsets", np.array([], np.int64), "not a readable"),
        ("names", np.array(["a"]), "1 names for 2 clips"),
        ("subject", np.array([1, 2, 3]), "3 subject for 2 clips"),
        ("poses", np.array("walk"), "not a readable"),
        ("fps", np.array("fast"), "not a readable"),
        ("names", np.array(["a", None], object), "lacks the arrays names"),
    ],
)
def test_arrays_that_do_not_fit(
    tmp_path: Path, arrays: dict[str, Any], name: str, value: np.ndarray, words: str
) -> None:
    assert words in refusal(write(tmp_path, arrays | {name: value}))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut off"])
def test_files_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "motion.npz"
    path.write_bytes(content)
    assert "not a readable motion file" in refusal(path)


def test_a_lone_array_and_no_file(tmp_path: Path) -> None:
    np.save(tmp_path / "poses.npy", np.zeros(3))
    refusal(tmp_path / "poses.npy")
    with pytest.raises(MissingFileError, match=r"none\.npz"):
        load_motion(tmp_path / "none.npz")
