"""Skeletons over time: files read back, BVH joints where they were, figures that stand upright."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from lift_people import CAMERA, walk
from PIL import Image

from meshreg.body.smpl import load_body
from meshreg.data.amass import load_amass
from meshreg.data.amass_files import save_amass
from meshreg.data.bvh import read_bvh, save_bvh
from meshreg.data.skeleton_bvh import R_UP_CAM, bvh_of_skeleton, positions_of_bvh
from meshreg.data.skeleton_sequence import (
    SkeletonSequence,
    load_sequence,
    save_csv,
    save_sequence,
)
from meshreg.errors import InputError
from meshreg.export import save_animation
from meshreg.geometry.place_points import smoothed, translation_from_pixels
from meshreg.geometry.time_steps import sampled_at, steps_at_rate
from meshreg.render.stick_figure import LEFT, RIGHT, draw_stick_figures, side_colors


def sequence(frames: int = 8) -> SkeletonSequence:
    joints = walk(frames).h36m.numpy()
    return SkeletonSequence(
        joints_cam=joints - joints[:, :1],
        root_cam=joints[:, 0],
        fps=25.0,
        camera_source="told",
        start_frame=3,
    )


def test_npz_and_csv_read_back(tmp_path: Path) -> None:
    save_sequence(tmp_path / "s.npz", sequence())
    again = load_sequence(tmp_path / "s.npz")
    np.testing.assert_array_equal(again.joints_cam, sequence().joints_cam)
    assert (again.fps, again.camera_source, again.start_frame) == (25.0, "told", 3)
    assert again.joint_names == sequence().joint_names
    save_csv(tmp_path / "s.csv", sequence())
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == [str(3 + i) for i in range(8)]
    assert float(rows[1]["seconds"]) == pytest.approx(0.04)
    joint = sequence().joint_names.index("left_wrist")
    assert float(rows[2]["left_wrist_y"]) == pytest.approx(
        sequence().joints_cam[2, joint, 1], abs=1e-5
    )
    assert float(rows[2]["pelvis_z"]) == pytest.approx(sequence().root_cam[2, 2], abs=1e-5)


def test_what_is_no_skeleton_is_refused(tmp_path: Path) -> None:
    broken = sequence().joints_cam.copy()
    broken[2, 4] = np.nan
    with pytest.raises(InputError, match="not all finite"):
        save_sequence(tmp_path / "s.npz", replace(sequence(), joints_cam=broken))
    assert not list(tmp_path.iterdir())
    (tmp_path / "other.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="lift again"):
        load_sequence(tmp_path / "other.npz")


def test_bvh_read_back_has_the_joints_where_they_were(tmp_path: Path) -> None:
    save_bvh(tmp_path / "s.bvh", bvh_of_skeleton(sequence()))
    again = read_bvh(tmp_path / "s.bvh")
    at = [again.joints.index(name) for name in sequence().joint_names]
    found = positions_of_bvh(again)[:, at]
    there = torch.from_numpy(sequence().placed_cam).double() @ R_UP_CAM.T
    error = (found - there).norm(dim=-1)
    # The body's spine and shoulders give a little; bones of constant length do not.
    assert error.mean() < 0.01
    assert error.max() < 0.04
    assert again.fps == 25.0


def test_bvh_of_rigid_bones_is_exact(tmp_path: Path) -> None:
    first = bvh_of_skeleton(sequence())
    rigid = positions_of_bvh(first) @ R_UP_CAM  # half a turn is its own inverse
    joints = rigid.numpy().astype(np.float32)
    second = bvh_of_skeleton(
        replace(sequence(), joints_cam=joints - joints[:, :1], root_cam=joints[:, 0])
    )
    save_bvh(tmp_path / "s.bvh", second)
    again = read_bvh(tmp_path / "s.bvh")
    at = [again.joints.index(name) for name in sequence().joint_names]
    torch.testing.assert_close(
        positions_of_bvh(again)[:, at], rigid @ R_UP_CAM.T, atol=1e-4, rtol=0
    )


def test_the_zero_pose_of_the_bvh_stands_with_its_left_at_plus_x() -> None:
    bvh = bvh_of_skeleton(sequence())
    still = replace(bvh, local_rotmat=torch.eye(3).double().repeat(8, 17, 1, 1))
    rest = dict(zip(bvh.joints, positions_of_bvh(still)[0] - bvh.local_position[0, 0], strict=True))
    assert rest["head_h36m"][1] > 0.5 > -0.5 > rest["left_ankle"][1]
    assert rest["left_wrist"][0] > 0.4 and rest["right_wrist"][0] < -0.4


def test_the_place_follows_from_the_picture() -> None:
    truth = walk(8)
    joints = truth.h36m - truth.h36m[:, :1]
    found = translation_from_pixels(joints, truth.h36m_px, CAMERA.K)
    torch.testing.assert_close(found, truth.h36m[:, 0], atol=2e-3, rtol=0)
    behind = translation_from_pixels(-joints, truth.h36m_px, CAMERA.K)
    assert (behind[:, 2] > 0).all() and behind.isfinite().all()


def test_smoothing_and_resampling_keep_straight_lines() -> None:
    line = torch.arange(20.0)[:, None] * torch.tensor([1.0, -2.0, 0.5])
    torch.testing.assert_close(smoothed(line, 1.0)[4:-4], line[4:-4])
    assert smoothed(line[:1], 2.0).shape == (1, 3)
    steps = steps_at_rate(20, 30.0, 50.0)
    assert len(steps) == 33 and steps[0] == 0 and steps[-1] == 19
    back = torch.linspace(0, 32, 20)
    torch.testing.assert_close(sampled_at(sampled_at(line, steps), back), line, atol=1e-4, rtol=0)
    assert steps_at_rate(1, 30.0, 50.0).tolist() == [0]


# --- pictures -------------------------------------------------------------------------------------
def near(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Pixels (row, column) of a colour."""
    return np.argwhere(np.abs(picture.astype(int) - color).max(-1) < 40)


def test_figures_stand_upright_and_the_left_is_blue(tmp_path: Path) -> None:
    shown = sequence()
    colors = side_colors(shown.joint_names)
    film = draw_stick_figures(shown.placed_cam, shown.skeleton.bones, colors, (160, 160))
    save_animation(tmp_path / "s.gif", film, 25.0)
    with Image.open(tmp_path / "s.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 8
    (front,) = draw_stick_figures(
        shown.placed_cam[:1], shown.skeleton.bones, colors, (160, 160), azimuth_deg=0.0
    )
    # Somebody who looks at the camera has the left on the picture's right.
    assert near(front, LEFT)[:, 1].mean() > near(front, RIGHT)[:, 1].mean() + 5
    head, ankle = shown.skeleton.index("head_h36m", "left_ankle")
    assert shown.placed_cam[0, head, 1] < shown.placed_cam[0, ankle, 1]
    grey = near(front, (70, 70, 80))
    assert grey[:, 0].min() < near(front, LEFT)[:, 0].min()  # the head is on top


def test_a_planted_swap_shows_in_the_colours() -> None:
    shown = sequence()
    flip = list(shown.skeleton.flip)
    pictures = [
        draw_stick_figures(
            joints[:1], shown.skeleton.bones, side_colors(shown.joint_names), azimuth_deg=0.0
        )[0]
        for joints in (shown.placed_cam, shown.placed_cam[:, flip])
    ]
    sides = [near(p, LEFT)[:, 1].mean() - near(p, RIGHT)[:, 1].mean() for p in pictures]
    assert sides[0] > 0 > sides[1]


def test_amass_reads_back_as_the_same_motion(tmp_path: Path) -> None:
    truth, body = walk(8), load_body()
    path = tmp_path / "motion.npz"
    save_amass(path, body, truth.betas, truth.pose_rotmat, truth.transl, fps=25.0)
    pelvis = body.rest_joints(truth.betas[None])[0, 0]
    motion = load_amass(path, pelvis_rest=pelvis.double().numpy())
    assert motion.fps == 25.0
    up = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(motion.pelvis, (truth.transl + pelvis) @ up.T, atol=1e-5, rtol=0)
    again = roma.rotvec_to_rotmat(motion.poses)
    torch.testing.assert_close(again[:, 0], up @ truth.pose_rotmat[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(again[:, 1:], truth.pose_rotmat[:, 1:], atol=1e-4, rtol=0)
