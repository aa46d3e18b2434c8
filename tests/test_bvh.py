"""BVH files: channels in any order, there and back, and a sentence for each broken file."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from cmu_skeleton import lively_motion
from scipy.spatial.transform import Rotation
from smpl_files import one_sentence

from meshreg.body.kinematics import joint_positions, world_rotations
from meshreg.data.bvh import Bvh, read_bvh, save_bvh
from meshreg.errors import InputError, MissingFileError

ARM = """HIERARCHY
ROOT hip
{
  OFFSET 0 1 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT arm
  {
    OFFSET 2 0 0
    CHANNELS 3 Yrotation Xrotation Zrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
  JOINT MOTIONLESS
  {
    OFFSET 0 3 0
    CHANNELS 4 Xrotation Zposition Xposition Yposition
  }
}
MOTION
Frames:	2
Frame Time: 0.0083333
1 2 3 10 20 30 40 50 60 5 7 8 9
0 0 0 90 0 0 0 0 90 0 0 0 0
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "clip.bvh"
    path.write_text(text, encoding="utf-8")
    return path


def test_channels_turn_in_the_order_they_are_listed(tmp_path: Path) -> None:
    bvh = read_bvh(written(tmp_path, ARM))
    assert bvh.joints == ("hip", "arm", "arm end", "MOTIONLESS")
    assert bvh.parents == (-1, 0, 1, 0)
    assert bvh.fps == 120.0
    film = read_bvh(written(tmp_path, ARM.replace("0.0083333", "0.0417083")))
    assert film.fps == pytest.approx(23.976, abs=1e-4)
    expected = [
        Rotation.from_euler("ZYX", [10, 20, 30], degrees=True),
        Rotation.from_euler("YXZ", [40, 50, 60], degrees=True),
        Rotation.identity(),
        Rotation.from_euler("X", 5, degrees=True),
    ]
    for joint, rotation in enumerate(expected):
        np.testing.assert_allclose(bvh.local_rotmat[0, joint], rotation.as_matrix(), atol=1e-12)
    assert bvh.local_position[0].tolist() == [[1, 2, 3], [2, 0, 0], [1, 0, 0], [8, 9, 7]]


def test_the_chain_leads_where_it_should(tmp_path: Path) -> None:
    bvh = read_bvh(written(tmp_path, ARM))
    world = world_rotations(bvh.local_rotmat, bvh.parents)
    tip = joint_positions(world, bvh.local_position, bvh.parents)[1, 2]
    # Root a quarter about z: x becomes y. The arm a quarter more: y becomes -x.
    torch.testing.assert_close(tip, torch.tensor([-1.0, 2.0, 0.0]).double())


def test_what_is_written_reads_the_same(tmp_path: Path) -> None:
    bvh = lively_motion(7)
    save_bvh(tmp_path / "again.bvh", bvh)
    again = read_bvh(tmp_path / "again.bvh")
    at = [again.joints.index(name) for name in bvh.joints]
    assert [again.joints[p] for p in again.parents if p >= 0] == [
        bvh.joints[bvh.parents[bvh.joints.index(name)]] for name in again.joints[1:]
    ]
    torch.testing.assert_close(again.offsets[at], bvh.offsets, atol=1e-6, rtol=0)
    torch.testing.assert_close(again.local_rotmat[:, at], bvh.local_rotmat, atol=1e-7, rtol=0)
    torch.testing.assert_close(again.local_position[:, at], bvh.local_position, atol=1e-6, rtol=0)
    assert again.frame_time == pytest.approx(bvh.frame_time, abs=1e-9)


@pytest.mark.parametrize("x", [90.0, -90.0, 89.9999, 180.0, 0.0])
def test_angles_at_the_pole_are_written(tmp_path: Path, x: float) -> None:
    rotation = Rotation.from_euler("ZXY", [35, x, 20], degrees=True).as_matrix()
    bvh = Bvh(
        joints=("root",),
        parents=(-1,),
        offsets=torch.zeros(1, 3).double(),
        local_rotmat=torch.from_numpy(rotation)[None, None],
        local_position=torch.zeros(1, 1, 3).double(),
        frame_time=0.01,
    )
    save_bvh(tmp_path / "pole.bvh", bvh)
    again = read_bvh(tmp_path / "pole.bvh").local_rotmat[0, 0]
    assert roma.rotmat_geodesic_distance(again, bvh.local_rotmat[0, 0]) < 1e-5


def test_joints_of_one_name_stay_apart(tmp_path: Path) -> None:
    bvh = read_bvh(written(tmp_path, ARM.replace("JOINT MOTIONLESS", "JOINT arm")))
    assert bvh.joints == ("hip", "arm", "arm end", "arm 2")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("HIERARCHY", "HELLO", "HIERARCHY and MOTION"),
        ("MOTION\n", "\n", "HIERARCHY and MOTION"),
        ("Frames:\t2", "Frames: 0", "no frames"),
        ("Frames:\t2", "Frames: 3", "26 numbers where 3 frames of 13 channels need 39"),
        ("Frames:\t2", "Frames: many", "many"),
        ("Frame Time: 0.0083333", "Frame Time: 0", "frame time"),
        ("Frame Time: 0.0083333", "", "Frames and Frame Time"),
        ("1 2 3 10", "1 nan 3 10", "not finite"),
        ("1 2 3 10", "1 2 three 10", "three"),
        ("9\n0 0 0 90 0 0 0 0 90 0 0 0 0\n", "9\n0 0", "15 numbers where 2 frames"),
        ("OFFSET 2 0 0", "OFFSET 2 inf 0", "not finite"),
        ("OFFSET 2 0 0", "OFFSET 2 x 0", "'x'"),
        ("CHANNELS 3 Yrotation", "CHANNELS 3 Wrotation", "unknown channels Wrotation"),
        ("JOINT arm", "BONE arm", "unknown word 'BONE'"),
        ("  }\n}\nMOTION", "  }\nMOTION", "cut short"),
        ("}\nMOTION", "}\n}\nMOTION", "more brackets"),
        ("}\nMOTION", "}\nROOT b\n{\nOFFSET 0 0 0\n}\nMOTION", "more than one skeleton"),
        ("ROOT hip", "", "cut short"),
    ],
)
def test_broken_files(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in ARM
    path = written(tmp_path, ARM.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read_bvh(path)
    message = str(caught.value).replace(str(tmp_path), "")
    assert words in message
    assert one_sentence(message), message


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    last = ARM.rindex("0")
    for length in range(0, last, 7):
        with pytest.raises(InputError):
            read_bvh(written(tmp_path, ARM[:length]))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"none\.bvh"):
        read_bvh(tmp_path / "none.bvh")
