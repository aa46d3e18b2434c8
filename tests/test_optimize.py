"""Staged minimisation on toys with a known answer."""

import math

import pytest
import torch
from torch import Tensor

from meshreg.fit.optimize import STEP_SIZES, Stage, minimise, total
from meshreg.fit.variables import BodyVariables


def start(count: int = 3) -> BodyVariables:
    return BodyVariables(
        betas=torch.zeros(count, 10),
        root_rotmat=torch.eye(3).expand(count, 3, 3).clone(),
        root_rotvec=torch.zeros(count, 3),
        body_pose=torch.zeros(count, 23, 3),
        bearing=torch.zeros(count, 2),
        log_depth=torch.zeros(count),
    )


GOAL_BETAS = torch.linspace(-1, 1, 30).reshape(3, 10)
GOAL_DEPTH = torch.tensor([0.5, -0.2, 0.1])


def bowl(v: BodyVariables) -> dict[str, Tensor]:
    """A quadratic whose steepness differs by a thousand between the candidates."""
    steep = torch.tensor([0.1, 1.0, 100.0])
    return {
        "betas": steep * (v.betas - GOAL_BETAS).square().sum(-1),
        "depth": steep * (v.log_depth - GOAL_DEPTH).square(),
    }


def test_a_bowl_is_descended_at_any_scale() -> None:
    found, terms = minimise(start(), bowl, Stage("all", 300))
    torch.testing.assert_close(found.betas, GOAL_BETAS, atol=0.02, rtol=0)
    torch.testing.assert_close(found.log_depth, GOAL_DEPTH, atol=0.01, rtol=0)
    expected = bowl(found)
    for name in ("betas", "depth"):
        torch.testing.assert_close(terms[name], expected[name])
        assert not terms[name].requires_grad


def test_only_what_is_free_moves() -> None:
    begin = start()
    found, _ = minimise(begin, bowl, Stage("depth", 40, free=("log_depth",)))
    assert found.log_depth.abs().min() > 0
    for name in ("betas", "root_rotmat", "body_pose", "bearing"):
        assert torch.equal(getattr(found, name), getattr(begin, name)), name
    assert not begin.log_depth.any(), "the start is left alone"


def test_a_turn_ends_in_the_starting_rotation_of_the_next_stage() -> None:
    goal = torch.linalg.matrix_exp(torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]) * 0.8)

    def energy(v: BodyVariables) -> dict[str, Tensor]:
        return {"turn": (v.pose_rotmat()[:, 0] - goal).square().sum((-1, -2))}

    found, terms = minimise(start(), energy, Stage("turn", 150, free=("root_rotvec",)))
    assert not found.root_rotvec.any()
    torch.testing.assert_close(found.root_rotmat, goal.expand(3, 3, 3), atol=0.02, rtol=0)
    torch.testing.assert_close(energy(found)["turn"], terms["turn"], atol=1e-5, rtol=1e-3)


def test_candidates_do_not_disturb_each_other() -> None:
    together, _ = minimise(start(), bowl, Stage("all", 30))

    def alone(v: BodyVariables) -> dict[str, Tensor]:
        return {name: term[:1] for name, term in bowl(v).items()}

    first, _ = minimise(start(), alone, Stage("all", 30))
    torch.testing.assert_close(first.betas[0], together.betas[0])


def test_every_step_is_reported_and_speed_scales_the_first_one() -> None:
    calls: list[int] = []
    minimise(start(), bowl, Stage("all", 7), on_step=lambda: calls.append(1))
    assert len(calls) == 7
    once, _ = minimise(start(), bowl, Stage("all", 1))
    twice, _ = minimise(start(), bowl, Stage("all", 1, speed=2.0))
    torch.testing.assert_close(2 * once.log_depth, twice.log_depth)
    torch.testing.assert_close(
        once.log_depth.abs(), torch.full((3,), STEP_SIZES["log_depth"]), atol=1e-6, rtol=1e-4
    )


def test_a_stage_without_steps_changes_nothing() -> None:
    found, terms = minimise(start(), bowl, Stage("skipped", 0))
    assert torch.equal(found.betas, torch.zeros(3, 10))
    torch.testing.assert_close(terms, bowl(start()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_term_that_is_not_finite_is_named(value: float) -> None:
    terms = {"good": torch.zeros(3), "mask": torch.tensor([0.0, value, 0.0])}
    with pytest.raises(FloatingPointError, match="'mask'"):
        total(terms)

    def energy(v: BodyVariables) -> dict[str, Tensor]:
        return {"good": v.betas.sum(-1), "bad": v.log_depth * value}

    with pytest.raises(FloatingPointError, match="'bad'"):
        minimise(start(), energy, Stage("all", 5))


def test_the_total_is_the_sum_per_candidate() -> None:
    terms = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([0.5, -2.0])}
    assert total(terms).tolist() == [1.5, 0.0]
