"""Motion as clips for lifters: bodies, cameras that see all of them, and a detector's errors."""

from pathlib import Path

import pytest
import torch
from lifting_files import write_motion

from meshreg.body.regressor import JointRegressor
from meshreg.body.skeleton import skeleton
from meshreg.body.smpl import load_body
from meshreg.data.chance import chance
from meshreg.data.detector_noise import detected, joint_scales
from meshreg.data.lifting_cameras import SIZES, random_views
from meshreg.data.lifting_motion import (
    MotionWindows,
    WorldClips,
    choose_subjects,
    seen_clips,
    world_clips,
)
from meshreg.data.lifting_settings import CLEAN, CameraSettings, NoiseSettings
from meshreg.data.motion import load_motion
from meshreg.errors import InputError
from meshreg.geometry.mirror import mirror
from meshreg.geometry.screen import to_screen

H36M = skeleton("h36m17")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> WorldClips:
    path = tmp_path_factory.mktemp("motion") / "motion.npz"
    write_motion(path)
    motion, body = load_motion(path), load_body()
    regressor = JointRegressor.from_body(body.data, "h36m17")
    return world_clips(
        motion, body, regressor, clips=choose_subjects(motion, without=[0]), shapes=2
    )


def test_joints_are_those_of_the_whole_body(clips: WorldClips, tmp_path: Path) -> None:
    import roma

    write_motion(tmp_path / "motion.npz")
    motion, body = load_motion(tmp_path / "motion.npz"), load_body()
    frame = motion.frames_of(1).start + 7
    betas = torch.zeros(1, body.num_betas)
    shift = motion.pelvis[frame] - body.rest_joints(betas)[0, 0]
    posed = body(betas, roma.rotvec_to_rotmat(motion.poses[frame : frame + 1]), shift[None])
    expected = JointRegressor.from_body(body.data, "h36m17")(posed.vertices)[0]
    assert clips.subject == (1, 5, 14) * 2 and clips.category[0] == "walking"
    torch.testing.assert_close(
        clips.joints_world[clips.starts[1] + 7], expected, atol=1e-5, rtol=1e-5
    )
    thigh = (clips.joints_world[:, 1] - clips.joints_world[:, 2]).norm(dim=-1)
    assert (thigh[0] - thigh[clips.starts[3]]).abs() > 1e-4  # another build


def test_subjects_are_chosen_or_refused(tmp_path: Path) -> None:
    write_motion(tmp_path / "motion.npz")
    motion = load_motion(tmp_path / "motion.npz")
    assert choose_subjects(motion, only=[5, 14]) == [1, 3]
    with pytest.raises(InputError, match="0, 1, 5, 14"):
        choose_subjects(motion, only=[99])


def test_all_of_a_box_is_in_the_picture_and_in_front() -> None:
    low = torch.rand(300, 3) * 4 - 2
    high = low + torch.rand(300, 3) * torch.tensor([5.0, 2.0, 5.0]) + 0.2
    views = random_views(low, high, chance(1), CameraSettings())
    points = low[:, None] + (high - low)[:, None] * torch.rand(300, 50, 3)
    cam = views.to_camera(points[:, None])
    assert float(cam[..., 2].min()) > 0.3
    px = views.project(cam)[:, 0]
    assert (px > 0).all() and (px < views.size[:, None]).all()
    identity = views.R_cam_world @ views.R_cam_world.transpose(1, 2)
    torch.testing.assert_close(identity, torch.eye(3).expand(300, 3, 3), atol=1e-5, rtol=0)
    assert float(torch.linalg.det(views.R_cam_world).min()) > 0.99
    above = points[:, None] + torch.tensor([0.0, 0.1, 0.0])
    assert (views.to_camera(above)[..., 1] < cam[..., 1]).float().mean() > 0.99  # y points down


def test_screens_of_several_sizes_are_those_of_one() -> None:
    low = torch.tensor([[-0.5, 0.0, -0.5]]).repeat(20, 1)
    views = random_views(low, low + 1.5, chance(2), CameraSettings())
    px = torch.rand(20, 3, 17, 2) * 400
    for number in range(20):
        width, height = (int(v) for v in views.size[number])
        assert (height, width) in SIZES
        expected = to_screen(px[number], (height, width))
        torch.testing.assert_close(views.to_screen(px)[number], expected)


@pytest.mark.parametrize(("frames", "overhang"), [(9, 0), (27, 13), (101, 0), (1, 0)])
def test_windows_are_the_same_whenever_asked(clips: WorldClips, frames: int, overhang: int) -> None:
    batches = MotionWindows(clips, frames, 32, CameraSettings(), CLEAN, seed=3, overhang=overhang)
    one, again, other = batches.at(5), batches.at(5), batches.at(6)
    assert torch.equal(one.x, again.x) and not torch.equal(one.x, other.x)
    assert one.x.shape == (32, frames, 17, 2) and one.x.abs().max() < 2
    assert one.poses[:, :, 0].abs().max() == 0
    if frames == 101:  # longer than every clip
        lengths = clips.lengths()[one.index]
        assert torch.equal(one.known.sum(1).long(), lengths)
    elif not overhang:
        assert one.known.min() == 1 or frames == 27
    else:
        assert one.known[:, frames // 2].min() == 1 and one.known.min() == 0


def test_mirrored_windows_keep_left_and_right(clips: WorldClips) -> None:
    """In front of the camera and facing it, the left hip is on the picture's right side."""
    batch = MotionWindows(clips, 5, 64, CameraSettings(), CLEAN).at(0)
    hips = batch.poses[:, :, 4] - batch.poses[:, :, 1]
    up = batch.poses[:, :, 8]
    facing = torch.linalg.cross(hips, up)  # forwards: left x up
    feet = batch.poses[:, :, 3] + batch.poses[:, :, 6]
    assert torch.linalg.vector_norm(facing, dim=-1).min() > 0.01
    across = batch.x[:, :, 4, 0] - batch.x[:, :, 1, 0]
    agree = (across.sign() == hips[..., 0].sign()).float().mean()
    assert agree > 0.9 and feet.isfinite().all()


def test_a_judged_clip_projects_to_its_keypoints(clips: WorldClips) -> None:
    data = seen_clips(clips, views=2, cameras=CameraSettings(), noise=CLEAN, seed=4)
    again = seen_clips(clips, views=2, cameras=CameraSettings(), noise=CLEAN, seed=4)
    assert len(data.clips) == 2 * len(clips) and data.clips[0].action == "walking"
    for one, other in zip(data.clips, again.clips, strict=True):
        assert torch.equal(one.keypoints_px, other.keypoints_px)
        height, width = one.size
        assert one.keypoints_px.amin() > 0
        assert (one.keypoints_px < torch.tensor([width, height])).all()
        flat = one.joints_cam[..., :2] / one.joints_cam[..., 2:]
        focal = (one.keypoints_px - torch.tensor([width / 2, height / 2])) / flat
        assert float(focal.std() / focal.mean()) < 1e-2


def test_noise_is_as_large_as_it_says() -> None:
    keypoints = torch.rand(200, 30, 17, 2) * torch.tensor([100.0, 300.0])
    unit = (keypoints.amax(2) - keypoints.amin(2)).norm(dim=-1).mean(1)
    tremble = NoiseSettings(clean=0.0, tremble=0.01, outliers=0.0, missed=0.0, memory=0.6)
    found = detected(keypoints, H36M, chance(7), tremble)
    error = (found - keypoints) / unit[:, None, None, None]
    spread = error.std((0, 1, 3)) / joint_scales(H36M)
    # Shares between a half and one and a half have a mean square of 13/12.
    torch.testing.assert_close(spread, torch.full((17,), 0.01 * (13 / 12) ** 0.5), rtol=0.1, atol=0)
    alike = (error[:, 1:] * error[:, :-1]).mean() / error.square().mean()
    assert float(alike) == pytest.approx(0.6, abs=0.03)


def test_joints_go_astray_and_are_missed_as_often_as_said() -> None:
    keypoints = torch.rand(300, 40, 17, 2).cumsum(1) * 30
    settings = NoiseSettings(clean=0.0, tremble=0.0, outliers=0.05, missed=0.0, run=4.0)
    wrong = (detected(keypoints, H36M, chance(1), settings) != keypoints).any(-1)
    assert float(wrong.float().mean()) == pytest.approx(0.05, abs=0.01)
    settings = NoiseSettings(clean=0.0, tremble=0.0, outliers=0.0, missed=0.1, run=4.0)
    found = detected(keypoints, H36M, chance(2), settings)
    missed = (found != keypoints).any(-1)
    assert float(missed.float().mean()) == pytest.approx(0.1, abs=0.02)
    clip, frame, joint = (int(i) for i in torch.nonzero(missed)[0])
    assert torch.equal(found[clip, frame, joint], keypoints[clip, frame - 1, joint])


def test_a_share_of_clips_is_clean() -> None:
    keypoints = torch.rand(400, 5, 17, 2) * 200
    found = detected(keypoints, H36M, chance(3), NoiseSettings(clean=0.4))
    clean = (found == keypoints).flatten(1).all(1).float().mean()
    assert float(clean) == pytest.approx(0.4, abs=0.08)
    assert detected(keypoints, H36M, chance(3), CLEAN) is keypoints


def test_level_cameras_do_not_look_up_or_down() -> None:
    low, high = torch.tensor([[-0.3, 0.0, -0.3]] * 50), torch.tensor([[0.3, 1.8, 0.3]] * 50)
    settings = CameraSettings(height=(0.2, 3.0), roll=0.0, level=True)
    views = random_views(low, high, torch.Generator().manual_seed(0), settings)
    forward, down = views.R_cam_world[:, 2], views.R_cam_world[:, 1]
    torch.testing.assert_close(forward[:, 1], torch.zeros(50), atol=1e-6, rtol=0)
    torch.testing.assert_close(down[:, 1], torch.full((50,), -1.0))
    middle = views.to_camera(((low + high) / 2)[:, None, None])[:, 0]
    seen = views.project(middle[:, None])[:, 0, 0]
    assert float((seen[:, 1] - views.size[:, 1] / 2).abs().max()) > 50, "people move up and down"


def test_with_a_history_single_frames_know_lost_joints(clips: WorldClips) -> None:
    noise = NoiseSettings(clean=0.0, tremble=0.0, outliers=0.0, missed=0.3, run=4.0)

    def windows(errors: NoiseSettings, history: int) -> MotionWindows:
        return MotionWindows(clips, 1, 256, CameraSettings(), errors, history=history)

    alone, later = windows(noise, 0).at(0), windows(noise, 8).at(0)
    assert later.x.shape == (256, 1, 17, 2) and later.poses.shape == (256, 1, 17, 3)
    assert later.known.shape == (256, 1) and bool((later.known == 1).all())
    # Mirroring is drawn after the errors, so compare with both the clean window and its image.
    for batch, history, low, high in ((alone, 0, 0.0, 1e-9), (later, 8, 0.1, 0.5)):
        clean = windows(CLEAN, history).at(0)
        sides = torch.stack([clean.x, mirror(clean.x, H36M.flip)])
        away = (batch.x - sides).norm(dim=-1)  # (2, B, 1, J)
        side = away.mean((2, 3)).argmin(0)
        moved = (away[side, torch.arange(256)] > 1e-4).float().mean()
        assert low <= moved <= high, history
