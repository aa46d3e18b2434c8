"""Poses of synthetic people from whatever motion there is."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cmu_skeleton import lively_motion

from meshreg.data.bvh import save_bvh
from meshreg.data.motion import MotionWarning
from meshreg.data.synthetic.rendered import PeopleRecipe, poses_of
from meshreg.errors import InputError, MissingFileError

BENT = 0.7  # radians, an elbow


def bent_elbow(numbers: int) -> np.ndarray:
    poses = np.zeros((4, numbers), np.float32)
    poses[:, 3 * 18 + 1] = BENT
    return poses


def amass_file(folder: Path) -> Path:
    poses, trans = bent_elbow(156), np.zeros((4, 3), np.float32)
    np.savez(folder / "a.npz", poses=poses, trans=trans, mocap_framerate=np.float64(60))
    return folder / "a.npz"


def smpl_file(folder: Path) -> Path:
    np.savez(folder / "a.npz", poses=bent_elbow(72))
    return folder / "a.npz"


def array_file(folder: Path) -> Path:
    np.save(folder / "a.npy", bent_elbow(72))
    return folder / "a.npy"


def folder_of_motion(folder: Path) -> Path:
    amass_file(folder)
    return folder


@pytest.mark.parametrize("make", [amass_file, smpl_file, array_file, folder_of_motion])
def test_any_motion_gives_poses(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MotionWarning)  # some tell no frame rate
        poses = poses_of(str(make(tmp_path)))
    bent = np.abs(poses.sample(np.random.default_rng(0)).body_pose[[17, 18], 1])
    np.testing.assert_allclose(bent.max(), BENT, atol=1e-5)


def test_a_bvh_file_gives_poses(tmp_path: Path) -> None:
    save_bvh(tmp_path / "a.bvh", lively_motion(frames=8))
    body_pose = poses_of(str(tmp_path / "a.bvh")).sample(np.random.default_rng(0)).body_pose
    assert np.abs(body_pose).max() > 0.1


def test_subjects_are_chosen_or_held_out(tmp_path: Path) -> None:
    (tmp_path / "05").mkdir()
    amass_file(tmp_path / "05")
    assert poses_of(str(tmp_path), (5,)) is not None
    for subjects in ((), (14,)):
        with pytest.raises(InputError, match="no usable frame of motion is left"):
            poses_of(str(tmp_path), subjects)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for change in ({"poses": "nowhere"}, {"backgrounds": tmp_path / "nowhere"}):
        with pytest.raises(MissingFileError, match="nowhere"):
            PeopleRecipe(seed=0, size=48, **change).check_files()
    with pytest.raises(InputError, match="holds no pictures"):
        PeopleRecipe(seed=0, size=48, backgrounds=tmp_path).open_files()
