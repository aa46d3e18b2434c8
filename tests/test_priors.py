"""The pose prior against another implementation of mixtures, and the shipped file's sense."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from smpl_files import one_sentence
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from meshreg.body.skeleton import SKELETONS
from meshreg.errors import InputError, MissingFileError
from meshreg.losses.priors import (
    NUM_PRIOR_JOINTS,
    PRIOR_PATH,
    PoseBank,
    PosePrior,
    load_pose_prior,
    pose_prior_recipe,
    shape_prior,
)
from meshreg.train.pose_prior import with_mirror

D = 3 * NUM_PRIOR_JOINTS


@pytest.fixture(scope="module")
def shipped() -> tuple[PosePrior, PoseBank]:
    return load_pose_prior()


def small_mixture() -> tuple[PosePrior, MixtureSameFamily]:
    """Three random Gaussians, as our module and as torch's own distribution."""
    root = torch.randn(3, D, D, dtype=torch.float64) * 0.1
    covariance = root @ root.transpose(-1, -2) + 0.05 * torch.eye(D, dtype=torch.float64)
    L = torch.linalg.cholesky(covariance)
    means = 0.3 * torch.randn(3, D, dtype=torch.float64)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    limits = torch.ones(NUM_PRIOR_JOINTS, 3, dtype=torch.float64)
    prior = PosePrior(
        means=means,
        whitening=torch.linalg.inv(L).tril(),
        weights=weights,
        lower=-limits,
        upper=2 * limits,
        relaxed=0.1 * limits,
    )
    twin = MixtureSameFamily(Categorical(weights), MultivariateNormal(means, scale_tril=L))
    return prior, twin


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_the_energy_is_the_negative_log_density(batch: tuple[int, ...]) -> None:
    prior, twin = small_mixture()
    pose = 0.3 * torch.randn(*batch, 23, 3, dtype=torch.float64)
    expected = -twin.log_prob(pose[..., :NUM_PRIOR_JOINTS, :].flatten(-2))
    torch.testing.assert_close(prior(pose), expected)


def test_derivatives_of_the_energy() -> None:
    prior, _ = small_mixture()
    pose = (0.3 * torch.randn(2, 21, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(prior, (pose,))
    outside = (2.5 * torch.randn(2, 21, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(prior.beyond_limits, (outside,))


def test_far_away_the_energy_is_large_but_finite() -> None:
    prior, _ = small_mixture()
    far = torch.full((21, 3), 50.0, dtype=torch.float64, requires_grad=True)
    energy = prior(far)
    energy.backward()
    assert torch.isfinite(energy) and energy > 1e4
    assert torch.isfinite(far.grad).all()


def test_limits_by_hand() -> None:
    prior, _ = small_mixture()  # every angle from -1 to 2
    pose = torch.zeros(23, 3, dtype=torch.float64)
    pose[22] = 100.0  # a hand, which has no limits
    pose[3, 1], pose[5, 2], pose[6, 0] = 1.9, 2.5, -1.3
    assert float(prior.beyond_limits(pose)) == pytest.approx(0.5**2 + 0.3**2)


def test_distance_from_the_relaxed_pose_by_hand() -> None:
    prior, _ = small_mixture()  # relaxed: every angle 0.1, the hands 0
    pose = torch.full((2, 23, 3), 0.1, dtype=torch.float64)
    pose[1, 4, 2] = 0.6
    weight = torch.ones(23, dtype=torch.float64)
    weight[4], weight[22] = 2.0, 0.0
    hand = 3 * 0.1**2
    expected = torch.tensor([hand, hand + 2 * 0.5**2], dtype=torch.float64)
    torch.testing.assert_close(prior.from_relaxed(pose, weight), expected)


def test_the_shape_prior_by_hand() -> None:
    assert shape_prior(torch.tensor([[1.0, -2.0, 2.0], [0.0, 0.0, 0.0]])).tolist() == [4.5, 0.0]


# --- the file that ships ------------------------------------------------------------------------


def mirrored(body_pose: torch.Tensor) -> torch.Tensor:
    whole = torch.zeros(len(body_pose), 24, 3)
    whole[:, 1 : 1 + NUM_PRIOR_JOINTS] = body_pose
    return with_mirror(whole)[len(whole) :, 1 : 1 + NUM_PRIOR_JOINTS]


def test_the_shipped_bank_holds_poses(shipped: tuple[PosePrior, PoseBank]) -> None:
    _, bank = shipped
    count = len(bank.weight)
    assert count == len(bank.body_pose) == len(bank.root_rotmat) >= 500
    assert float(bank.weight.sum()) == pytest.approx(1.0, abs=1e-4) and (bank.weight >= 0).all()
    assert torch.isfinite(bank.body_pose).all()
    square = bank.root_rotmat @ bank.root_rotmat.transpose(-1, -2)
    assert (square - torch.eye(3)).abs().max() < 1e-5
    front = bank.root_rotmat[:, :, 2]
    assert front[:, 0].abs().max() < 5e-3 and (front[:, 2] > -5e-3).all(), "they face +z"


def test_the_shipped_energy_is_finite_and_symmetric(shipped: tuple[PosePrior, PoseBank]) -> None:
    prior, bank = shipped
    energy, other = prior(bank.body_pose), prior(mirrored(bank.body_pose))
    assert torch.isfinite(energy).all()
    # The mixture was fitted to frames and their mirror images, but its components are not pairs.
    difference = (energy - other).abs()
    assert difference.median() < 0.1 * energy.std()
    assert abs(float(energy.mean() - other.mean())) < 1.0


def test_the_shipped_prior_knows_absurd_poses(shipped: tuple[PosePrior, PoseBank]) -> None:
    prior, bank = shipped
    smpl = SKELETONS["smpl24"]
    t_pose = torch.zeros(21, 3)
    usual = float(prior(t_pose))
    assert float(prior.beyond_limits(t_pose)) == 0.0
    for joint, rotvec in {
        "left_knee": [-1.5, 0.0, 0.0],  # bent forwards
        "right_elbow": [0.0, -2.0, 0.0],  # bent backwards
        "head": [0.0, 3.0, 0.0],  # looking backwards
        "left_hip": [0.0, 2.5, 0.0],
        "spine2": [2.0, 0.0, 0.0],
    }.items():
        absurd = t_pose.clone()
        absurd[smpl.index(joint)[0] - 1] = torch.tensor(rotvec)
        assert float(prior(absurd)) > usual + 8, joint
        assert float(prior.beyond_limits(absurd)) > 0.1, joint
    assert prior(torch.randn(20, 21, 3)).min() > prior(bank.body_pose).quantile(0.99)


def test_most_of_the_bank_lies_within_the_limits(shipped: tuple[PosePrior, PoseBank]) -> None:
    prior, bank = shipped
    assert (prior.upper > prior.lower).all()
    assert (prior.beyond_limits(bank.body_pose) < 0.05).float().mean() > 0.95


def test_the_recipe_names_held_out_subjects_and_thanks_the_source() -> None:
    recipe = pose_prior_recipe()
    assert recipe["held_out"] == "(0, 5, 14, 86)"
    assert "The data used in this project was obtained from mocap.cs.cmu.edu." in str(recipe)
    assert "The database was created with funding from NSF EIA-0196217." in str(recipe)


def test_files_that_are_no_pose_prior(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="meshreg prior pose"):
        load_pose_prior(tmp_path / "none.safetensors")
    with pytest.raises(MissingFileError):
        pose_prior_recipe(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(PRIOR_PATH.read_bytes()[:1000])
    other = tmp_path / "other.safetensors"
    tensors = load_file(PRIOR_PATH)
    save_file({key: value for key, value in tensors.items() if key != "means"}, other)
    for path, words in {cut: "damaged", other: "lacks means"}.items():
        with pytest.raises(InputError, match=words) as caught:
            load_pose_prior(path)
        assert one_sentence(str(caught.value).replace(str(tmp_path), "")), str(caught.value)
