"""Test-time optimisation: against the released loop, and what must hold for any lifter."""

from pathlib import Path

import pytest
import torch
from lifter_parity import CLOSE, relative_error
from torch import Tensor, nn

from meshreg.body.skeleton import skeleton
from meshreg.errors import InputError
from meshreg.fit.roots import given, solved
from meshreg.fit.uncertainty import first_answer, optimize_latent
from meshreg.geometry.lens import Lens, h36m_lenses, pinholes
from meshreg.geometry.mirror import mirror
from meshreg.lifters.baselines import mlp_baseline
from meshreg.lifters.released import load_released
from meshreg.lifters.uao import GraphMLP, UncertainPoses, uao

FRAMES = 6
H36M = skeleton("h36m17")


@pytest.fixture
def lifter() -> GraphMLP:
    return uao(width=16, hidden=16, depth=2, joint_growth=1).eval()


@pytest.fixture
def camera() -> Lens:
    return pinholes(torch.full((FRAMES, 2), 2.2), torch.zeros(FRAMES, 2))


@pytest.fixture
def root() -> Tensor:
    return torch.tensor([0.1, -0.2, 4.0]).expand(FRAMES, 3)


class Plane(nn.Module):
    """A lifter that is right about flat people: joints at a depth of four metres, two units wide.

    Generic: nothing of it but `uncertain` is used.
    """

    predicts, frames, num_joints, in_channels = "centre", 1, 17, 2

    def __init__(self) -> None:
        super().__init__()
        self.size = nn.Parameter(torch.tensor(2.0))

    def uncertain(self, x: Tensor) -> UncertainPoses:
        flat = self.size * (x - x[:, :, :1])
        poses = torch.cat([flat, torch.zeros_like(flat[..., :1])], -1)
        return UncertainPoses(poses, torch.full_like(x[..., 0], -3.0))


def test_the_released_loop_gives_the_same(reference_fixtures: Path) -> None:
    folder = reference_fixtures / "adapt"
    weights = torch.load(folder / "uao_gumlp_L3.pt", weights_only=False)["state_dict"]
    numbers = torch.load(folder / "uao_tto_L3.pt", weights_only=False)
    x = numbers["x2"][:, 0, 0]
    refined = optimize_latent(
        load_released("uao", weights),
        x,
        h36m_lenses(numbers["cam"]),
        root=numbers["gt"][:, 0, 0],
        iters=numbers["iters"],
        lr=numbers["lr"],
        w_proj=numbers["w_proj"],
        w_unc=numbers["w_gauss"],
    )
    assert relative_error(refined.poses, numbers["mu_final"][:, 0]) < CLOSE
    assert relative_error(x + refined.moved[:, 0], numbers["z_plain"][:, 0]) < CLOSE
    mirrored = numbers["x2"][:, 1, 0] + refined.moved[:, 1]
    assert relative_error(mirrored, numbers["z_flip"][:, 0]) < CLOSE
    distances = torch.tensor([projection for _, projection, _ in numbers["losses"]])
    assert relative_error(2 * refined.projection, distances) < CLOSE


def test_the_input_moves_no_farther_than_its_steps(
    lifter: GraphMLP, camera: Lens, root: Tensor
) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    for iters, lr in ((4, 1e-3), (7, 5e-3)):
        refined = optimize_latent(lifter, x, camera, root=root, iters=iters, lr=lr)
        assert 0.5 * lr < refined.moved.abs().max() <= 1.01 * iters * lr
        assert refined.projection.shape == (iters,)


def test_exact_joints_and_the_true_root_pull_the_projection_closer_every_step(
    camera: Lens, root: Tensor
) -> None:
    truth = torch.cat([0.4 * torch.randn(FRAMES, 17, 2), torch.zeros(FRAMES, 17, 1)], -1)
    truth = truth - truth[:, :1]
    x = camera.project(truth + root[:, None])
    refined = optimize_latent(Plane(), x, camera, root=root, iters=8)
    assert (refined.projection.diff() < 0).all()
    before, after = ((p - truth).norm(dim=-1).mean() for p in (refined.first, refined.poses))
    assert after < before


def test_a_network_gets_closer_to_the_picture_too(camera: Lens, root: Tensor) -> None:
    lifter = uao(width=16, hidden=16, depth=1, joint_growth=1)
    truth = 0.3 * torch.randn(FRAMES, 17, 3)
    truth = truth - truth[:, :1]
    x = camera.project(truth + root[:, None])
    refined = optimize_latent(lifter, x, camera, root=root)
    assert (refined.projection.diff() < 0).all()


def test_without_the_picture_the_pose_stays(lifter: GraphMLP, camera: Lens, root: Tensor) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    refined = optimize_latent(lifter, x, camera, root=root, w_proj=0.0)
    assert torch.equal(refined.poses, refined.first)
    none = optimize_latent(lifter, x, camera, root=root, iters=0)
    torch.testing.assert_close(none.poses, refined.first)


def test_the_brake_holds_poses_back(camera: Lens, root: Tensor) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    moved = [
        (refined.poses - refined.first).norm(dim=-1).mean()
        for refined in (
            optimize_latent(Plane(), x, camera, root=root, w_unc=w_unc, iters=16)
            for w_unc in (0.0, 1.0)
        )
    ]
    assert moved[1] < 0.5 * moved[0]


def test_a_mirrored_picture_gives_the_mirrored_pose(lifter: GraphMLP, camera: Lens) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    root = torch.tensor([0.0, 0.1, 4.0]).expand(FRAMES, 3)
    plain = optimize_latent(lifter, x, camera, root=root)
    mirrored = optimize_latent(lifter, mirror(x, H36M.flip), camera, root=root)
    torch.testing.assert_close(mirrored.first, mirror(plain.first, H36M.flip))
    # The released loop projects both answers onto the plain joints: the mirrored picture is seen
    # through the same two answers with their roles exchanged.
    torch.testing.assert_close(mirrored.poses, mirror(plain.poses, H36M.flip), atol=1e-5, rtol=1e-4)


def test_frames_do_not_influence_each_other(lifter: GraphMLP, camera: Lens, root: Tensor) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    whole = optimize_latent(lifter, x, camera, root=root)
    parts = optimize_latent(lifter, x, camera, root=root, batch_size=4)
    torch.testing.assert_close(parts.poses, whole.poses, atol=1e-6, rtol=1e-5)
    alone = optimize_latent(lifter, x[2:3], camera.frames(slice(2, 3)), root=root[2:3])
    torch.testing.assert_close(alone.poses[0], whole.poses[2], atol=1e-6, rtol=1e-5)


def test_joints_without_confidence_do_not_pull(
    lifter: GraphMLP, camera: Lens, root: Tensor
) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    confidence = torch.zeros(FRAMES, 17)
    refined = optimize_latent(lifter, x, camera, root=root, confidence=confidence)
    assert torch.equal(refined.poses, refined.first)


def test_weights_stay_and_are_as_they_were(lifter: GraphMLP, camera: Lens, root: Tensor) -> None:
    before = {name: value.clone() for name, value in lifter.state_dict().items()}
    lifter.train()
    optimize_latent(lifter, 0.3 * torch.randn(FRAMES, 17, 2), camera, root=root)
    assert lifter.training and all(p.requires_grad for p in lifter.parameters())
    assert all(torch.equal(before[name], value) for name, value in lifter.state_dict().items())
    assert all(p.grad is None for p in lifter.parameters())
    mlp = Plane()
    optimize_latent(mlp, 0.3 * torch.randn(FRAMES, 17, 2), camera, root=root)
    assert mlp.size.requires_grad and mlp.size.grad is None and mlp.training


def test_a_rule_is_asked_once_about_the_whole_clip(
    lifter: GraphMLP, camera: Lens, root: Tensor
) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    asked = []

    def rule(sighting: object) -> Tensor:
        asked.append(sighting)
        return given(root)(sighting)  # type: ignore[arg-type]

    by_rule = optimize_latent(lifter, x, camera, root=rule, batch_size=2, fps=25.0)
    assert len(asked) == 1 and asked[0].fps == 25.0  # type: ignore[attr-defined]
    assert torch.equal(by_rule.root, root)
    first = first_answer(lifter, x, H36M)
    torch.testing.assert_close(first.poses[:, 0], by_rule.first, atol=1e-6, rtol=1e-5)
    assert optimize_latent(lifter, x, camera, root=solved).poses.isfinite().all()


def test_faults_are_one_sentence(lifter: GraphMLP, camera: Lens, root: Tensor) -> None:
    x = 0.3 * torch.randn(FRAMES, 17, 2)
    with pytest.raises(InputError, match="does not tell how uncertain"):
        optimize_latent(mlp_baseline(width=8, num_joints=17), x, camera, root=root)
    with pytest.raises(InputError, match="not finite"):
        optimize_latent(lifter, x.index_fill(0, torch.tensor([1]), torch.nan), camera, root=root)
    with pytest.raises(InputError, match="6 cameras for 5 frames"):
        optimize_latent(lifter, x[:5], camera, root=root[:5])
    with pytest.raises(InputError, match="5 places for 6 frames"):
        optimize_latent(lifter, x, camera, root=root[:5])
    with pytest.raises(InputError, match="in front of the camera"):
        optimize_latent(lifter, x, camera, root=-root)
    with pytest.raises(InputError, match="no frames"):
        optimize_latent(lifter, x[:0], camera.frames(slice(0, 0)), root=root[:0])
    with pytest.raises(InputError, match="sees 3 frames"):
        wide = uao(width=8, hidden=8, depth=1, joint_growth=1, frames=3)
        optimize_latent(wide, x, camera, root=root)
