"""Learning the pose prior: selection of frames, mixtures with a known answer, the whole recipe."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from meshreg.body.skeleton import SKELETONS
from meshreg.body.smpl import load_body
from meshreg.data.motion import Motion
from meshreg.errors import InputError
from meshreg.losses.priors import load_pose_prior, pose_prior_recipe
from meshreg.train.pose_prior import (
    Config,
    D,
    balanced_sample,
    build_bank,
    fit_mixture,
    joint_limits,
    k_means,
    main,
    relaxed_pose,
    usable_frames,
    with_mirror,
    without_heading,
)

SMPL = SKELETONS["smpl24"]
CONFIG = Config(
    motion=Path("unused.npz"),
    out=Path("unused.safetensors"),
    held_out=(5,),
    frames=60,
    components=2,
    iterations=8,
    bank_size=6,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def some_motion(poses: Tensor, clip: list[int]) -> Motion:
    count = max(clip) + 1
    return Motion(
        poses=poses,
        pelvis=torch.zeros(len(poses), 3),
        clip=torch.tensor(clip),
        fps=30.0,
        names=tuple(f"clip{i}" for i in range(count)),
        subject=tuple([7, 5, 9][:count]),
        category=tuple(["walk", "run", "walk"][:count]),
        licence="free",
    )


# --- frames -------------------------------------------------------------------------------------


def test_held_out_subjects_are_left_out() -> None:
    motion = some_motion(torch.zeros(6, 24, 3), [0, 0, 1, 1, 2, 2])
    assert usable_frames(motion, (5,)).tolist() == [True, True, False, False, True, True]
    assert usable_frames(motion, (5, 7)).tolist() == [False] * 4 + [True] * 2
    assert usable_frames(motion, ()).all()


def test_impossible_joints_are_left_out() -> None:
    poses = torch.zeros(4, 24, 3)
    poses[1, SMPL.index("right_knee")] = torch.tensor([3.0, 0.0, 0.0])
    poses[2, SMPL.index("left_ankle")] = torch.tensor([0.0, 1.0, 1.0])
    poses[3, SMPL.index("pelvis")] = torch.tensor([0.0, 3.1, 0.0])  # a heading, not a joint
    motion = some_motion(poses, [0, 0, 0, 0])
    assert usable_frames(motion, ()).tolist() == [True, False, False, True]


def test_categories_are_balanced_by_square_roots(generator: torch.Generator) -> None:
    clip = [0] * 90 + [1] * 10 + [2] * 310
    motion = some_motion(torch.zeros(len(clip), 24, 3), clip)
    usable = torch.ones(len(clip), dtype=torch.bool)
    usable[:5] = False
    index = balanced_sample(motion, usable, 20_000, generator)
    assert index.min() >= 5
    running = ((index >= 90) & (index < 100)).float().mean()
    expected = math.sqrt(10) / (math.sqrt(10) + math.sqrt(85 + 310))
    assert float(running) == pytest.approx(expected, abs=0.01)


def test_without_usable_frames_there_is_a_sentence(generator: torch.Generator) -> None:
    motion = some_motion(torch.zeros(3, 24, 3), [0, 0, 0])
    with pytest.raises(InputError, match="none of the 3 frames"):
        balanced_sample(motion, torch.zeros(3, dtype=torch.bool), 5, generator)


def test_the_mirror_is_its_own_inverse_and_changes_sides() -> None:
    poses = 0.4 * torch.randn(5, 24, 3)
    mirrored = with_mirror(poses)[5:]
    torch.testing.assert_close(with_mirror(poses)[:5], poses)
    torch.testing.assert_close(with_mirror(mirrored)[5:], poses)
    left, right = SMPL.index("left_elbow", "right_elbow")
    torch.testing.assert_close(mirrored[:, right], poses[:, left] * torch.tensor([1.0, -1.0, -1.0]))


def test_the_mirrored_pose_puts_the_joints_at_mirrored_places() -> None:
    body = load_body().restricted_to(torch.zeros(0, dtype=torch.int64))
    both = with_mirror(0.4 * torch.randn(3, 24, 3))
    _, joints = body.skin(
        torch.zeros(6, body.num_betas), roma.rotvec_to_rotmat(both), torch.zeros(6, 3)
    )
    centred = joints - joints[:, :1]
    reflected = centred[:3][:, list(SMPL.flip)] * torch.tensor([-1.0, 1.0, 1.0])
    assert (centred[3:] - reflected).norm(dim=-1).max() < 0.01, "up to the body's own asymmetry"


def test_headings_are_taken_out_and_tilts_stay() -> None:
    lean = roma.rotvec_to_rotmat(torch.tensor([[0.5, 0.0, 0.2], [-0.3, 0.0, 0.0]]).double())
    without = without_heading(lean)
    for heading in (0.0, 1.0, -2.5, math.pi):
        turn = roma.rotvec_to_rotmat(torch.tensor([0.0, heading, 0.0]).double())
        torch.testing.assert_close(without_heading(turn @ lean), without)
    assert without[:, 0, 2].abs().max() < 1e-9 and (without[:, 2, 2] > 0).all()
    torch.testing.assert_close(without[:, 1], lean[:, 1], msg="heights of the axes stay")
    torch.testing.assert_close(without[1], lean[1])


# --- density ------------------------------------------------------------------------------------


def test_a_mixture_of_two_is_found_again(generator: torch.Generator) -> None:
    centres = torch.zeros(2, D, dtype=torch.float64)
    centres[0, :3], centres[1, :3] = 0.35, -0.35
    spread = torch.tensor([0.1, 0.3], dtype=torch.float64)
    kind = (torch.arange(900) % 3 == 0).long()  # a third belongs to the second
    x = centres[kind] + spread[kind, None] * torch.randn(900, D, dtype=torch.float64)
    config = replace(CONFIG, shrinkage=1e-4)
    weights, means, covariances = fit_mixture(x, config, generator)
    order = means[:, 0].argsort(descending=True)
    torch.testing.assert_close(means[order], centres, atol=0.08, rtol=0)
    expected = torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)
    torch.testing.assert_close(weights[order], expected, atol=0.01, rtol=0)
    deviation = covariances[order].diagonal(dim1=-2, dim2=-1).mean(-1).sqrt()
    torch.testing.assert_close(deviation, spread, atol=0.02, rtol=0)


def test_shrinkage_keeps_variances_away_from_zero(generator: torch.Generator) -> None:
    x = torch.zeros(50, D, dtype=torch.float64)
    x[25:, 0] = 1.0
    _, _, covariances = fit_mixture(x, replace(CONFIG, shrinkage=0.02), generator)
    assert torch.linalg.eigvalsh(covariances).min() >= 0.02 - 1e-9


def test_k_means_comes_to_rest_at_the_means_of_its_clusters(generator: torch.Generator) -> None:
    x = torch.randn(200, 2, dtype=torch.float64)
    centres, assignment = k_means(x, 5, 60, generator)
    assert set(assignment.tolist()) == set(range(5))
    assert (torch.cdist(x, centres).argmin(1) == assignment).all()
    for k, centre in enumerate(centres):
        torch.testing.assert_close(x[assignment == k].mean(0), centre)


def test_an_empty_cluster_keeps_its_centre(generator: torch.Generator) -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    centres, _ = k_means(x, 3, 5, generator)
    assert torch.isfinite(centres).all()
    assert {tuple(c) for c in centres.tolist()} == {(0.0, 0.0), (4.0, 0.0)}


def test_limits_leave_out_one_frame_in_a_thousand() -> None:
    angles = torch.linspace(-1, 1, 4000)[torch.randperm(4000)]
    pose = angles[:, None, None].expand(-1, 21, 3).clone()
    pose[0, 0, 0] = 50.0
    lower, upper = joint_limits(pose)
    margin = math.radians(3)
    torch.testing.assert_close(lower, torch.full((21, 3), -1 - margin), atol=5e-3, rtol=0)
    torch.testing.assert_close(upper, torch.full((21, 3), 1 + margin), atol=5e-3, rtol=0)


def test_the_relaxed_pose_is_the_symmetric_mean_of_its_categories() -> None:
    poses = torch.zeros(4, 24, 3)
    poses[:2, SMPL.index("left_elbow")] = torch.tensor([0.2, 0.4, 0.0])
    poses[2:] = 1.0  # running
    motion = some_motion(poses, [0, 0, 1, 1])
    index = torch.tensor([0, 1, 1, 2, 3])
    relaxed = relaxed_pose(motion, index, ("walk",))
    expected = torch.zeros(24, 3)
    expected[SMPL.index("left_elbow")] = torch.tensor([0.1, 0.2, 0.0])
    expected[SMPL.index("right_elbow")] = torch.tensor([0.1, -0.2, 0.0])
    torch.testing.assert_close(relaxed, expected[1:22])
    without = relaxed_pose(motion, index, ("dancing",))
    torch.testing.assert_close(without, with_mirror(poses[index])[:, 1:22].mean(0))


# --- bank and recipe ----------------------------------------------------------------------------


def test_the_bank_holds_one_pose_of_every_kind(generator: torch.Generator) -> None:
    """Three kinds of poses with any heading: all three are kept, and headings do not matter."""
    kinds = torch.zeros(3, 24, 3)
    kinds[1, SMPL.index("left_shoulder")] = torch.tensor([0.0, 0.0, -1.2])
    kinds[2, SMPL.index("right_hip")] = torch.tensor([-1.2, 0.0, 0.0])
    poses = kinds.repeat(20, 1, 1)
    poses[:, 0, 1] = 6 * torch.rand(60) - 3
    bank = build_bank(poses, load_body(), replace(CONFIG, bank_size=12), generator)
    assert float(bank["bank.weight"].sum()) == pytest.approx(1.0)
    torch.testing.assert_close(
        bank["bank.root_rotmat"], torch.eye(3).expand(12, 3, 3), atol=1e-5, rtol=0
    )
    found = bank["bank.body_pose"][:, None].sub(kinds[:, 1:22]).abs().sum((-1, -2))
    assert set(found.argmin(1).tolist()) == {0, 1, 2} and found.min(1).values.max() < 1e-5


def test_the_whole_recipe_gives_a_file_that_loads(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "motion.npz",
        poses=(0.2 * random.normal(size=(80, 24, 3))).astype(np.float16),
        trans=np.zeros((80, 3)),
        offsets=np.array([0, 30, 80]),
        names=np.array(["a", "b"]),
        subject=np.array([5, 7]),
        category=np.array(["walk", "run"]),
        fps=np.float64(30),
        licence=np.array("thanks to everyone"),
    )
    out = tmp_path / "made" / "prior.safetensors"
    config = replace(CONFIG, motion=tmp_path / "motion.npz", out=out)
    main(config)
    prior, bank = load_pose_prior(out)
    assert prior.means.shape == (2, D) and len(bank.weight) == 6
    poses = torch.from_numpy(0.2 * random.normal(size=(200, 21, 3))).float()
    assert prior(poses).mean() < prior(poses + 1).mean() - 50
    recipe = pose_prior_recipe(out)
    assert recipe["held_out"] == "(5,)" and recipe["acknowledgement"] == "thanks to everyone"
    assert str(tmp_path) not in str(recipe)
    first = out.read_bytes()
    main(config)
    assert out.read_bytes() == first, "the same seed gives the same file"
    assert [path.name for path in out.parent.iterdir()] == [out.name]
