"""How GLA-GCN was trained: Ranger, batch norms that settle, targets a little off."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lifting_files import write_motion
from torch import Tensor, nn
from toy_task import OPTIMISER, RUN, run_toy, toy_model, toy_task

from meshreg.data.lifting import LiftingBatch
from meshreg.data.lifting_windows import ClipWindows
from meshreg.data.target_noise import UnsteadyTargets, turned
from meshreg.errors import InputError
from meshreg.lifters.lifting import ClipSizes
from meshreg.train.lifter_config import LifterDataConfig
from meshreg.train.lifter_data import make_lifter_data
from meshreg.train.ranger import Ranger
from meshreg.train.same_run import check_same_run
from meshreg.train.schedule import NormMomentum

RANGER = replace(OPTIMISER, kind="ranger", betas=(0.95, 0.999), norm_momentum=0.01, ema=0.0)


def descended(p0: Tensor, loss: object, steps: int, lr: float) -> Tensor:
    parameter = nn.Parameter(p0.clone())
    optimizer, path = Ranger([parameter], lr=lr), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(parameter).backward()  # type: ignore[operator]
        optimizer.step()
        path.append(parameter.detach().clone())
    return torch.stack(path)


def test_it_goes_the_way_of_the_released_one(reference_fixtures: Path) -> None:
    known = torch.load(reference_fixtures / "lifters" / "ranger.pt", weights_only=True)
    path = descended(
        known["p0"],
        lambda p: (p * known["A"] - known["target"]).square().sum(),
        len(known["traj"]),
        known["lr"],
    )
    torch.testing.assert_close(path, known["traj"], rtol=1e-5, atol=1e-6)


def test_it_goes_the_way_of_its_equations() -> None:
    """Step by step in plain numbers, from the papers."""
    b1, b2, lr = 0.95, 0.999, 0.03
    p, slow, m, v, wanted = 1.5, 1.5, 0.0, 0.0, []
    longest = 2 / (1 - b2) - 1
    for t in range(1, 15):
        gradient = 4 * p**3
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        length = longest - 2 * t * b2**t / (1 - b2**t)
        step = lr * m / (1 - b1**t)
        if length > 5:
            sure = (length - 4) * (length - 2) * longest
            sure /= (longest - 4) * (longest - 2) * length
            step *= math.sqrt(sure * (1 - b2**t)) / (math.sqrt(v) + 1e-5)
        p -= step
        if t % 6 == 0:
            slow += 0.5 * (p - slow)
            p = slow
        wanted.append(p)
    path = descended(torch.tensor([1.5], dtype=torch.float64), lambda x: (x**4).sum(), 14, lr)
    torch.testing.assert_close(path[:, 0], torch.tensor(wanted, dtype=torch.float64))


def test_a_weight_without_gradients_stays() -> None:
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Ranger([moved, still], lr=0.1)
    for _ in range(7):
        optimizer.zero_grad()
        moved.square().sum().backward()
        optimizer.step()
    assert (moved < 1).all() and torch.equal(still, torch.ones(2))


def test_a_run_that_was_stopped_goes_on_alike(tmp_path: Path) -> None:
    whole, halves = toy_task(), toy_task()
    assert run_toy(tmp_path / "whole", whole, optimiser=RANGER)
    # 20 is no multiple of six: slow weights are between two looks there.
    with pytest.raises(InputError, match="not finite|is nan"):
        poisoned = replace(halves, batches=type(halves.batches)(poisoned=25))
        run_toy(tmp_path / "halves", poisoned, optimiser=RANGER)
    resumed = toy_task(model=toy_model(seed=9))
    assert run_toy(tmp_path / "halves", resumed, optimiser=RANGER)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert run_toy(tmp_path / "adamw", other := toy_task(), optimiser=replace(RANGER, kind="adamw"))
    assert not torch.equal(next(other.model.parameters()), next(whole.model.parameters()))


def test_batch_norms_settle() -> None:
    model = toy_model()
    norm = model[1]
    settling = NormMomentum(model, 0.01)
    found = []
    for step in (0, 50, 100):
        settling.set(step, 101)
        found.append(norm.momentum)
    assert found == pytest.approx([0.1, 0.01, 0.001])
    untouched = toy_model()
    NormMomentum(untouched, 1.0).set(100, 101)
    assert untouched[1].momentum == 0.1


def test_the_loop_lets_them_settle(tmp_path: Path) -> None:
    task = toy_task()
    assert run_toy(tmp_path, task, optimiser=RANGER, run=replace(RUN, steps=8))
    assert task.model[1].momentum == pytest.approx(0.001)


# --- targets --------------------------------------------------------------------------------------
class Same(ClipWindows):
    """Windows that are always alike."""

    def __init__(self, poses: Tensor) -> None:
        object.__setattr__(self, "poses", poses)

    def at(self, number: int) -> LiftingBatch:
        B, T = self.poses.shape[:2]
        x, index = self.poses[..., :2], torch.arange(B)
        root = torch.zeros(B, T, 3)
        return LiftingBatch(x=x, poses=self.poses, root=root, known=torch.ones(B, T), index=index)


def test_a_quarter_turn_takes_x_to_y() -> None:
    poses = torch.tensor([1.0, 0.0, 3.0]).expand(1, 2, 17, 3)
    found = turned(poses, torch.tensor([math.pi / 2]))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0.0, 1.0, 3.0]))


def test_targets_are_turned_and_scaled_and_what_is_seen_stays() -> None:
    poses = torch.randn(300, 1, 17, 3, generator=torch.Generator().manual_seed(0))
    windows = UnsteadyTargets(Same(poses), turn=5.0, scale=0.05)
    batch = windows.at(3)
    torch.testing.assert_close(windows.at(3).poses, batch.poses)
    torch.testing.assert_close(batch.x, poses[..., :2])
    sizes = batch.poses.flatten(1).norm(dim=1) / poses.flatten(1).norm(dim=1)
    assert set(sizes.mul(100).round().tolist()) == {95.0, 100.0, 105.0}
    flat, before = batch.poses[:, 0, 0, :2], poses[:, 0, 0, :2]
    cross = before[:, 0] * flat[:, 1] - before[:, 1] * flat[:, 0]
    angle = torch.atan2(cross, (before * flat).sum(-1)).rad2deg()
    assert set(angle.round().abs().tolist()) == {0.0, 5.0}
    assert (angle > 4).sum() > 60 < (angle < -4).sum()
    torch.testing.assert_close(batch.poses[..., 2] / sizes[:, None, None], poses[..., 2])


def test_a_config_turns_them_on(tmp_path: Path) -> None:
    write_motion(tmp_path / "motion.npz")
    plain = LifterDataConfig(path=tmp_path / "motion.npz", batch_size=4, shapes=1)
    sizes = ClipSizes(frames=9, num_joints=17, in_channels=2, predicts="centre")
    steady, unsteady = (
        make_lifter_data(config, sizes, "h36m17", seed=0).batches.at(0)
        for config in (plain, replace(plain, target_turn=5.0, target_scale=0.05))
    )
    torch.testing.assert_close(steady.x, unsteady.x)
    assert not torch.equal(steady.poses, unsteady.poses)
    with pytest.raises(InputError, match=r"data.target_turn must be 0 to 180, not -1"):
        replace(plain, target_turn=-1.0)


def test_runs_from_before_there_was_a_choice_go_on(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    old = {"optimiser": {"lr": 0.1}}
    check_same_run(tmp_path, old)
    (tmp_path / "checkpoints" / "latest").write_text("step_00000001\n")
    with pytest.raises(InputError, match="optimiser.kind 'adamw' instead of 'ranger'"):
        check_same_run(tmp_path, {"optimiser": {"lr": 0.1, "kind": "ranger"}})
    check_same_run(tmp_path, {"optimiser": {"lr": 0.1, "kind": "adamw", "norm_momentum": 1.0}})
