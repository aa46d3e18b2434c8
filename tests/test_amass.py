"""AMASS files of both kinds, plain SMPL arrays, and the one way in for all motion files."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from cmu_skeleton import lively_motion
from scipy.spatial.transform import Rotation, Slerp
from smpl_files import one_sentence

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.amass import load_amass
from meshreg.data.bvh import save_bvh
from meshreg.data.motion import Motion, MotionWarning, joined
from meshreg.data.motion_checks import category_of, subject_of
from meshreg.data.motion_files import read_motion
from meshreg.errors import InputError, MissingFileError

SMPL = SKELETONS["smpl24"]
N = 12
STANDING = np.array([math.pi / 2, 0.0, 0.0])  # the root of someone upright in a world with z up


def smplh(frames: int = N) -> dict[str, Any]:
    random = np.random.default_rng(0)
    poses = np.cumsum(random.normal(scale=0.02, size=(frames, 156)), 0)
    poses[:, :3] = STANDING
    return {
        "poses": poses,
        "trans": np.tile([1.0, 2.0, 0.9], (frames, 1)) + 0.01 * np.arange(frames)[:, None],
        "betas": np.linspace(-1, 1, 16),
        "dmpls": np.zeros((frames, 8)),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    }


def smplx(frames: int = N) -> dict[str, Any]:
    arrays = smplh(frames)
    poses = arrays.pop("poses")
    arrays |= {
        "root_orient": poses[:, :3],
        "pose_body": poses[:, 3:66],
        "mocap_frame_rate": arrays.pop("mocap_framerate"),
        "surface_model_type": np.array("smplx"),
        "gender": np.array(b"female"),
        "markers": np.array([None, "pickled"], object),
    }
    return arrays


def saved(folder: Path, arrays: dict[str, Any], name: str = "05_01_poses.npz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / name, **arrays)
    return folder / name


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_motion(path)
    message = str(caught.value).replace(str(path.parent), "")
    assert one_sentence(message), message
    return message


# --- AMASS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [smplh(), smplx()])
def test_body_joints_are_kept_and_hands_are_not(tmp_path: Path, arrays: dict[str, Any]) -> None:
    motion = read_motion(saved(tmp_path, arrays))
    expected = torch.from_numpy(smplh()["poses"][:, 3:66].reshape(N, 21, 3)).float()
    torch.testing.assert_close(motion.poses[:, 1:22], expected)
    assert (motion.poses[:, 22:] == 0).all()
    assert (motion.fps, motion.names, motion.subject) == (120.0, ("05_01_poses",), (5,))
    assert motion.gender == ("female",)
    assert motion.betas is not None
    assert motion.betas.shape == (1, 16)


def test_the_world_gets_y_up(tmp_path: Path) -> None:
    motion = load_amass(saved(tmp_path, smplh()))
    root = roma.rotvec_to_rotmat(motion.poses[:, 0])
    torch.testing.assert_close(root, torch.eye(3).repeat(N, 1, 1), atol=1e-6, rtol=0)
    moved = (motion.pelvis[-1] - motion.pelvis[0]) / (0.01 * (N - 1))
    torch.testing.assert_close(moved, torch.tensor([1.0, 1.0, -1.0]), atol=1e-4, rtol=0)


def test_the_pelvis_is_where_the_body_layer_puts_it(tmp_path: Path) -> None:
    body, arrays = load_body(), smplh()
    betas = torch.from_numpy(arrays["betas"][None, :10]).float()
    none = body.restricted_to(torch.zeros(0, dtype=torch.int64))
    shifted = none.rest_joints(betas)[0] + torch.tensor([0.0, -0.24, 0.03])
    # The same body with its origin elsewhere, as SMPL+H's is: the pelvis moves by the offset, which
    # is not turned with the root.
    root = roma.rotvec_to_rotmat(torch.from_numpy(arrays["poses"][:1, :3])).float()
    pose = torch.cat([root[:, None], torch.eye(3).repeat(1, 23, 1, 1)], 1)
    trans = torch.from_numpy(arrays["trans"][:1]).float()
    _, joints = none.skin(betas, pose, trans)
    pelvis_z_up = joints[0, 0] + torch.tensor([0.0, -0.24, 0.03])
    motion = load_amass(saved(tmp_path, arrays), pelvis_rest=shifted[0].numpy())
    expected = torch.stack([pelvis_z_up[0], pelvis_z_up[2], -pelvis_z_up[1]])
    torch.testing.assert_close(motion.pelvis[0], expected, atol=1e-5, rtol=0)
    average = load_amass(saved(tmp_path, arrays))
    assert (average.pelvis[0] - expected).norm() < 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"poses": np.zeros((N, 155))}, f"({N}, 155)"),
        ({"poses": np.zeros((N, 52, 3))}, f"({N}, 52, 3)"),
        ({"poses": np.full((N, 156), np.nan)}, "not finite"),
        ({"trans": np.zeros((N - 1, 3))}, f"({N - 1}, 3)"),
        ({"trans": np.full((N, 3), np.inf)}, "not finite"),
        ({"trans": None}, "lacks trans of"),
        ({"mocap_framerate": np.array(0.0)}, "0.0 frames per second"),
        ({"mocap_framerate": np.array([1.0, 2.0])}, "no single number"),
        ({"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3))}, "no frames"),
        ({"betas": np.full(16, np.nan)}, "betas that are not finite"),
        ({"poses": None, "pose_body": np.zeros((N, 63))}, "lacks root_orient"),
        ({"mocap_framerate": None, "poses": None}, "lacks poses or body_pose"),
    ],
)
def test_faulty_files(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    arrays = {name: value for name, value in (smplh() | change).items() if value is not None}
    assert words in refusal(saved(tmp_path, arrays))


def test_misshapen_smplx(tmp_path: Path) -> None:
    assert "(12, 60)" in refusal(saved(tmp_path, smplx() | {"pose_body": np.zeros((N, 60))}))


# --- plain SMPL poses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "first"),
    [((72,), 0), ((24, 3), 0), ((66,), 0), ((22, 3), 0), ((63,), 1), ((21, 3), 1), ((69,), 1)],
)
def test_layouts_of_plain_poses(tmp_path: Path, shape: tuple[int, ...], first: int) -> None:
    poses = np.random.default_rng(1).normal(scale=0.1, size=(N, *shape))
    motion = read_motion(saved(tmp_path, {"poses": poses, "fps": 30}))
    given = torch.from_numpy(poses.reshape(N, -1, 3)).float()
    kept = motion.poses[:, first : first + given.shape[1]]
    torch.testing.assert_close(kept, given)
    assert motion.poses.abs().sum() == pytest.approx(given.abs().sum().item())


def test_an_npy_and_an_unknown_frame_rate(tmp_path: Path) -> None:
    np.save(tmp_path / "walk.npy", np.zeros((N, 72)))
    with pytest.warns(MotionWarning, match="does not tell its frame rate"):
        motion = read_motion(tmp_path / "walk.npy")
    assert (motion.fps, motion.category) == (30.0, ("walking",))


def test_body_and_root_in_separate_arrays(tmp_path: Path) -> None:
    arrays = {
        "body_pose": np.full((N, 69), 0.1),
        "global_orient": np.full((N, 3), 0.2),
        "transl": np.ones((N, 3)),
        "fps": 50.0,
    }
    motion = read_motion(saved(tmp_path, arrays))
    assert motion.poses[:, 0].unique().tolist() == pytest.approx([0.2])
    assert motion.poses[:, 1:].unique().tolist() == pytest.approx([0.1])
    assert motion.pelvis.unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"poses": np.zeros((N, 71))}, "(12, 71)"),
        ({"poses": np.zeros(72)}, "(72,)"),
        ({"poses": np.zeros((N, 24, 3, 3))}, "(12, 24, 3, 3)"),
        ({"poses": np.full((N, 72), np.nan)}, "not finite"),
        ({"poses": np.zeros((0, 72))}, "no frames"),
        ({"poses": np.zeros((N, 72)), "trans": np.zeros((3, 3))}, "(3, 3)"),
        ({"poses": np.array(["a"])}, "(1,)"),
        ({"joints": np.zeros((N, 17, 3))}, "lacks poses or body_pose"),
        ({"poses": np.zeros((N, 72)), "fps": -3.0}, "-3.0 frames per second"),
    ],
)
def test_faulty_plain_poses(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    assert words in refusal(saved(tmp_path, {"fps": 30.0} | arrays))


# --- any file, and folders ----------------------------------------------------------------------


def test_a_folder_of_all_kinds(tmp_path: Path) -> None:
    saved(tmp_path / "05", smplh(), "05_01_poses.npz")
    saved(tmp_path / "05", {"betas": np.zeros(10)}, "shape.npz")
    saved(tmp_path / "B", smplx(13), "run_stageii.npz")
    save_bvh(tmp_path / "jump.bvh", lively_motion(161))
    motion = read_motion(tmp_path)
    assert motion.names == ("05_01_poses", "run_stageii", "jump")
    assert motion.category == ("unknown", "running", "jumping")
    assert motion.fps == 30.0
    assert [int((motion.clip == c).sum()) for c in range(3)] == [3, 4, 41]
    assert read_motion(tmp_path, fps=60.0).fps == 60.0


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04 cut", b"\x93NUMPY\x01", b"\xff\xfe"]
)
def test_files_of_no_known_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip").write_bytes(content)
    refusal(tmp_path / "clip")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no motion at"):
        read_motion(tmp_path / "none")
    with pytest.raises(InputError, match="found no motion below"):
        read_motion(tmp_path)


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("B3 - walk1_poses", "walking"),
        ("NormalWalk", "walking"),
        ("Running_A", "running"),
        ("rub026_0001", "unknown"),
        ("crunches", "unknown"),
        ("SideKick", "fighting"),
    ],
)
def test_categories_from_names(name: str, category: str) -> None:
    assert category_of(name) == category


def test_subjects_from_names() -> None:
    assert subject_of(Path("CMU/86/86_02_poses.npz")) == 86
    assert subject_of(Path("Lab/12/kick.npz")) == 12
    assert subject_of(Path("Lab/Anna/kick.npz")) == 0


# --- time ---------------------------------------------------------------------------------------


def clip(poses: np.ndarray, fps: float, path: Path) -> Motion:
    return read_motion(saved(path, {"poses": poses, "fps": fps}))


def test_resampling_is_slerp(tmp_path: Path) -> None:
    poses = np.random.default_rng(2).normal(scale=0.4, size=(5, 24, 3))
    motion = clip(poses, 10.0, tmp_path)
    finer = motion.resampled(40.0)
    assert (len(finer.poses), finer.fps) == (17, 40.0)
    torch.testing.assert_close(finer.poses[::4], motion.poses)
    slerp = Slerp(np.arange(5) / 10, Rotation.from_rotvec(poses[:, 7]))
    expected = slerp(np.arange(17) / 40).as_matrix()
    found = roma.rotvec_to_rotmat(finer.poses[:, 7])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("fps", "frames"), [(30.0, 3), (120.0, 12), (50.0, 5), (1.0, 1)])
def test_resampling_keeps_to_the_clip(tmp_path: Path, fps: float, frames: int) -> None:
    motion = read_motion(saved(tmp_path, smplh()))
    other = joined([motion, motion]).resampled(fps)
    assert other.clip.tolist() == [0] * frames + [1] * frames
    torch.testing.assert_close(other.poses[0], motion.poses[0])
    height = motion.pelvis[0, 1] + 0.01 * 120 / fps * torch.arange(frames)
    torch.testing.assert_close(other.pelvis[:frames, 1], height, atol=1e-5, rtol=0)


def test_bad_rates_and_nothing_to_join(tmp_path: Path) -> None:
    motion = read_motion(saved(tmp_path, smplh()))
    for fps in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError):
            motion.resampled(fps)
    with pytest.raises(InputError):
        joined([])


def walk(fps: float) -> dict[str, Any]:
    """Two seconds of long steps, said to be at another rate than the 120 it was made with."""
    time = np.arange(240) / 120
    poses = np.zeros((240, 24, 3))
    swing = 0.6 * np.sin(2 * np.pi * time)
    poses[:, SMPL.index("left_hip")[0], 0] = swing
    poses[:, SMPL.index("right_hip")[0], 0] = -swing
    return {"poses": poses, "trans": np.outer(1.3 * time, [0, 0, 1]), "fps": fps}


@pytest.mark.parametrize("fps", [25.0, 1500.0])
def test_wrong_frame_rates_are_noticed(tmp_path: Path, fps: float) -> None:
    with pytest.warns(MotionWarning, match="frames per second were wrong"):
        motion = read_motion(saved(tmp_path, walk(fps)))
    assert motion.fps == fps  # told, not changed


def test_right_frame_rates_are_not(tmp_path: Path) -> None:
    read_motion(saved(tmp_path, walk(120.0)))  # a warning would be an error here
