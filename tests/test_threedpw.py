"""3DPW's sequence files: what is read, and what is refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from meshreg.data.sample import KEYPOINTS
from meshreg.data.threedpw import read_threedpw
from meshreg.errors import InputError, MissingFileError

FRAMES = 4


def sequence(**changed: object) -> dict[str, object]:
    """A sequence of two people whose camera loses its way in one frame."""
    rng = np.random.default_rng(0)
    cameras = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns = torch.from_numpy(rng.normal(0, 1, (FRAMES, 3)))
    cameras[:, :3, :3] = roma.rotvec_to_rotmat(turns).numpy()
    joints = rng.uniform(100, 300, (2, FRAMES, 3, 18))
    joints[:, :, 2] = 0.8
    joints[1, 2, 2, 4:] = 0  # four joints only: nobody to speak of
    return {
        "sequence": "downtown_test_00",
        "poses": list(rng.normal(0, 0.3, (2, FRAMES, 72))),
        "betas": list(rng.normal(0, 1, (2, 300))),
        "genders": ["m", "f"],
        "poses2d": list(joints),
        "cam_poses": cameras,
        "cam_intrinsics": np.array([[1900.0, 0, 540], [0, 1900, 960], [0, 0, 1]]),
        "campose_valid": list(np.array([[1, 1, 1, 0], [1, 1, 1, 1]])),
        "texture_maps": [],
        **changed,
    }


def write(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4])
def test_people_in_frames_with_a_camera(tmp_path: Path, protocol: int) -> None:
    content = sequence()
    found = read_threedpw(write(tmp_path / "a.pkl", content, protocol))
    assert len(found) == 6
    assert found.images[:2] == tuple(f"downtown_test_00/image_0000{n}.jpg" for n in (0, 1))
    assert found.images[3:] == tuple(f"downtown_test_00/image_0000{n}.jpg" for n in (0, 1, 3))
    assert found.genders == ("male",) * 3 + ("female",) * 3
    assert len(set(found.sequences)) == 2
    pose = torch.from_numpy(content["poses"][1][3].reshape(24, 3))
    seen = torch.from_numpy(content["cam_poses"][3, :3, :3]) @ roma.rotvec_to_rotmat(pose[0])
    root = roma.rotvec_to_rotmat(torch.from_numpy(found.pose_rotvec[5, 0]))
    torch.testing.assert_close(root, seen)
    np.testing.assert_array_equal(found.pose_rotvec[5, 1:], pose[1:].numpy())
    np.testing.assert_array_equal(found.betas[5], content["betas"][1][:10])
    joints = content["poses2d"][1][3]
    knee = KEYPOINTS.index("left_knee")[0]
    np.testing.assert_array_equal(found.keypoints_px[5, knee], joints[:, 12])
    side = 1.2 * np.ptp(joints[:2], axis=1).max()
    assert found.box[5, 2] == pytest.approx(side)
    assert not found.transl_weight.any()


def test_a_folder_of_sequences(tmp_path: Path) -> None:
    write(tmp_path / "a.pkl", sequence())
    write(tmp_path / "b.pkl", sequence(sequence="other_00"))
    found = read_threedpw(tmp_path)
    assert len(found) == 12 and len(set(found.sequences)) == 4


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingFileError, match="no sequence file"):
        read_threedpw(tmp_path / "absent.pkl")
    with pytest.raises(MissingFileError, match="no sequence file"):
        read_threedpw(tmp_path)
    with pytest.raises(InputError, match="refused because it asks for"):
        read_threedpw(write(tmp_path / "bad.pkl", sequence(texture_maps=Harm())))
    assert not (tmp_path / "harmed").exists()
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(sequence())[:500])
    for content, message in (
        (None, "damaged"),
        ({"sequence": "x"}, "lacks poses, betas"),
        (sequence(genders=["m"]), "genders is not of as many people"),
        (sequence(poses=[np.zeros((4, 70))] * 2), "other shapes than 3DPW's"),
        (sequence(cam_poses=np.zeros((3, 4, 4))), "different lengths"),
        (sequence(campose_valid=[np.zeros(4)] * 2), "no frame with a valid camera"),
    ):
        path = tmp_path / "cut.pkl"
        if content is not None:
            path = write(tmp_path / "odd.pkl", content)
        with pytest.raises(InputError, match=message):
            read_threedpw(path)
