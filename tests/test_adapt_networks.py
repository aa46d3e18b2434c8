"""The augmentor and its judges: PoseAug's numbers, and what a change may do to a person."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from meshreg.adapt.bones import bone_tree, bone_vectors, pose_of_bones
from meshreg.adapt.discriminators import PairJudge, PoseJudge, ScreenJudge
from meshreg.adapt.files import load_augmentor, load_poseaug, save_augmentor
from meshreg.adapt.game import Game, Pool, Round, bend_range, constant, half_square, ratio_range
from meshreg.adapt.generator import Augmentor, Change
from meshreg.body.skeleton import SKELETONS, skeleton
from meshreg.errors import InputError

H16 = skeleton("h36m16")
SETS = ("h36m16", "h36m17", "mpi_inf_3dhp17", "humaneva15")


@pytest.fixture(scope="module")
def released(reference_fixtures: Path) -> dict[str, Any]:
    return torch.load(reference_fixtures / "adapt" / "poseaug_gan.pt", weights_only=False)


def changed(name: str, *, frames: int = 6, seed: int = 0) -> tuple[torch.Tensor, Change]:
    """Clips of people, and what an augmentor with strong opinions does to them."""
    torch.manual_seed(seed)
    joints = skeleton(name)
    augmentor = Augmentor(joints, width=32)
    poses = 0.3 * torch.randn(9, frames, len(joints), 3)
    poses = poses - poses[..., [joints.parents.index(-1)], :]
    with torch.no_grad():
        for trunk in (augmentor.angles, augmentor.lengths, augmentor.rotation):
            trunk.head.weight.mul_(20)
        return poses, augmentor(poses[:, frames // 2], augmentor.draw(9))


# --- numbers of others ----------------------------------------------------------------------------
def test_the_generator_of_poseaug(released: dict[str, Any]) -> None:
    augmentor = Augmentor(H16).eval()
    load_poseaug(augmentor, released["G"])
    poses = released["input3d"] - released["input3d"][:, :1]
    change = augmentor(poses, torch.stack(released["noise"][:3], 1))
    out = released["out"]

    def rooted(name: str) -> torch.Tensor:
        return out[name] - out[name][:, :1]

    close = torch.testing.assert_close
    close(change.bent(poses[:, None])[:, 0], rooted("pose_ba"), atol=5e-6, rtol=0)
    close(change.bend, out["ba_diff"], atol=1e-6, rtol=0)
    close(change.ratio, out["blr"], atol=1e-6, rtol=0)
    close(change.rotvec, out["rt"][0], atol=2e-5, rtol=0)
    unturned = replace(change, rotvec=torch.zeros_like(change.rotvec))
    close(unturned.applied(poses[:, None])[:, 0], rooted("pose_bl"), atol=5e-6, rtol=0)
    close(change.applied(poses[:, None])[:, 0], rooted("pose_rt"), atol=1e-4, rtol=0)
    count = sum(p.numel() for p in augmentor.parameters())
    assert count == 302_125 + 296_713 + 582_662 // 2  # without the place in space


def test_the_discriminators_of_poseaug(released: dict[str, Any]) -> None:
    poses, screen = PoseJudge(H16), ScreenJudge(H16)
    load_poseaug(poses, released["D3"])
    load_poseaug(screen, released["D2"])
    torch.testing.assert_close(poses(released["input3d"]), released["d3_out"], atol=1e-6, rtol=0)
    torch.testing.assert_close(screen(released["d2_in"]), released["d2_out"], atol=1e-6, rtol=0)
    assert sum(p.numel() for p in poses.parameters()) == 1_076_205
    assert sum(p.numel() for p in screen.parameters()) == 43_801


def test_other_weights_are_refused(released: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no weights of PoseAug"):
        load_poseaug(ScreenJudge(H16), released["D3"])
    with pytest.raises(InputError, match="no weights of PoseAug"):
        load_poseaug(Augmentor(H16), released["G"] | {"more": torch.zeros(1)})
    with pytest.raises(InputError, match="do not fit"):
        load_poseaug(Augmentor(skeleton("h36m17")), released["G"])


# --- bones ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SETS)
def test_bones_and_back(name: str) -> None:
    joints = skeleton(name)
    tree = bone_tree(joints)
    poses = torch.randn(3, 2, len(joints), 3)
    poses = poses - poses[..., [tree.root], :]
    back = pose_of_bones(bone_vectors(poses, tree), tree)
    torch.testing.assert_close(back, poses, atol=1e-5, rtol=0)
    names = [joints.joints[child] for child in tree.children]
    for one, other in zip(names, tree.length_of, strict=True):
        image = joints.joints[joints.flip[joints.joints.index(one)]]
        assert tree.length_of[names.index(image)] == other
    assert {bone for part in tree.parts for bone in part} == set(range(len(tree)))


def test_the_parts_of_poseaug() -> None:
    tree = bone_tree(H16)
    assert tree.trunk == (6, 7) and tree.fixed_length == 4
    assert tree.length_of == (0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8)
    assert [list(part) for part in tree.parts] == [
        [7, 9, 10, 11],
        [7, 12, 13, 14],
        [0, 1, 2, 3, 6],
        [0, 3, 4, 5, 6],
        [0, 3, 6, 7, 8, 9, 12],
    ]


def test_sets_without_a_trunk_are_refused() -> None:
    with pytest.raises(InputError, match="no left_hip"):
        bone_tree(SKELETONS["lsp14"])
    with pytest.raises(InputError, match="no bone from hips to shoulders"):
        bone_tree(SKELETONS["coco17"])


# --- changes --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SETS)
def test_bending_keeps_lengths_and_the_trunk(name: str) -> None:
    poses, change = changed(name)
    tree = change.tree
    old, new = bone_vectors(poses, tree), bone_vectors(change.bent(poses), tree)
    torch.testing.assert_close(new.norm(dim=-1), old.norm(dim=-1), atol=1e-5, rtol=1e-4)
    trunk = list(tree.trunk)
    torch.testing.assert_close(new[..., trunk, :], old[..., trunk, :], atol=1e-6, rtol=0)
    assert float(change.bend.mean()) > 0.05, "nothing is bent: the test says nothing"
    there = bone_vectors(change.bent(poses)[:, 3], tree)
    unit = there / there.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit, change.new, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", SETS)
def test_lengths_change_alike_on_both_sides_and_over_time(name: str) -> None:
    poses, change = changed(name)
    tree = change.tree
    before = bone_vectors(poses, tree).norm(dim=-1)
    ratio = bone_vectors(change.applied(poses), tree).norm(dim=-1) / before - 1
    assert float(ratio.abs().max()) <= 0.2 + 1e-4 and float(ratio.abs().max()) > 0.02
    assert float(ratio[..., tree.length_of.index(tree.fixed_length)].abs().max()) < 1e-4
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), atol=1e-4, rtol=0)
    for number in range(tree.num_lengths):
        bones = [b for b, n in enumerate(tree.length_of) if n == number]
        torch.testing.assert_close(
            ratio[..., bones], ratio[..., bones[:1]].expand(-1, -1, len(bones)), atol=1e-4, rtol=0
        )


def test_the_whole_person_turns_rigidly() -> None:
    poses, change = changed("h36m16")
    straight = replace(change, new=change.old, ratio=torch.zeros_like(change.ratio))
    turned = straight.applied(poses)
    torch.testing.assert_close(
        torch.cdist(turned, turned), torch.cdist(poses, poses), atol=1e-4, rtol=0
    )
    assert float((turned - poses).norm(dim=-1).mean()) > 0.05
    walk = torch.randn(9, 6, 3)
    moved = straight.moved(walk, 2)
    torch.testing.assert_close(moved[:, 2], walk[:, 2])
    torch.testing.assert_close(
        moved.diff(dim=1).norm(dim=-1), walk.diff(dim=1).norm(dim=-1), atol=1e-5, rtol=0
    )


def test_changes_of_clips_move_no_faster_than_before() -> None:
    """Bones turn as fast as they did; adding the same vector to each frame's bones would not do."""
    poses, change = changed("h36m17")
    old, new = (bone_vectors(p, change.tree) for p in (poses, change.bent(poses)))

    def speed(bones: torch.Tensor) -> torch.Tensor:
        unit = bones / bones.norm(dim=-1, keepdim=True)
        return unit.diff(dim=1).norm(dim=-1)

    torch.testing.assert_close(speed(new), speed(old), atol=1e-3, rtol=0)


def test_judges_of_poses_see_neither_lengths_nor_views() -> None:
    judge, pairs = PoseJudge(H16), PairJudge(H16)
    poses, change = changed("h36m16")
    one = poses[:, 0]
    straight = replace(change, new=change.old)
    other = straight.applied(one[:, None])[:, 0]
    torch.testing.assert_close(judge(one), judge(other), atol=1e-4, rtol=0)
    torch.testing.assert_close(pairs(one, one), pairs(other, one), atol=1e-4, rtol=0)
    bent = change.bent(one[:, None])[:, 0]
    assert not torch.allclose(judge(one), judge(bent), atol=1e-4)
    assert not torch.allclose(pairs(one, bent), pairs(bent, one), atol=1e-4), "order counts"


# --- the game -------------------------------------------------------------------------------------
def a_round(count: int = 32) -> Round:
    poses = 0.3 * torch.randn(2, count, 16, 3)
    poses = poses - poses[:, :, :1]
    return Round(
        pose=poses[0],
        later=poses[1],
        target=0.2 * torch.randn(count, 16, 2),
        seen=torch.ones(count, 16, dtype=torch.bool),
        intrinsics=torch.tensor([1.5, 1.5, 0.0, 0.0]).expand(count, 4),
        noise=torch.randn(count, 3, 48),
    )


@pytest.mark.parametrize("anchor", ["pair", "none"])
def test_nobody_learns_from_the_losses_of_the_others(anchor: Any) -> None:
    game = Game(Augmentor(H16, width=16), anchor=anchor)
    values = game(a_round(), judges_learn=True)
    judges = [*game.screen_judge.parameters(), *game.pose_judge.parameters()]
    attack = values["screen"] + values["pose"] + values["range"]
    lesson = values["screen_judge"] + values["pose_judge"]
    # The losses of one side do not depend on the weights of the other in any way.
    of_judges = torch.autograd.grad(attack, judges, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in of_judges)
    attackers = list(game.augmentor.parameters())
    gradients = torch.autograd.grad(lesson, attackers, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in gradients)
    assert all(g is not None for g in torch.autograd.grad(lesson, judges, retain_graph=True))
    assert all(g.isfinite().all() for g in torch.autograd.grad(attack, attackers))
    assert set(game(a_round(), judges_learn=False)) == {"screen", "pose", "range"}


def test_judges_learn_to_tell_and_augmentors_to_pass() -> None:
    torch.manual_seed(1)
    game = Game(Augmentor(H16, width=32), anchor="none")
    given = a_round(32)
    judges = torch.optim.Adam(
        [*game.screen_judge.parameters(), *game.pose_judge.parameters()], 1e-3
    )
    lessons = []
    for _ in range(20):
        values = game(given, judges_learn=True)
        loss = values["pose_judge"] + values["screen_judge"]
        judges.zero_grad()
        loss.backward()
        judges.step()
        lessons.append(float(loss.detach()))
    assert lessons[-1] < 0.7 * lessons[0]
    augmentor = torch.optim.Adam(game.augmentor.parameters(), 1e-3)
    attempts = []
    for _ in range(20):
        loss = game(given, judges_learn=False)["screen"]
        augmentor.zero_grad()
        loss.backward()
        augmentor.step()
        attempts.append(float(loss.detach()))
    assert attempts[-1] < 0.9 * attempts[0]


def test_weights_are_learnt_again_afterwards() -> None:
    net = torch.nn.Linear(2, 1)
    net.bias.requires_grad_(False)
    with constant(net):
        assert not net.weight.requires_grad
    assert net.weight.requires_grad and not net.bias.requires_grad


def test_losses_by_hand() -> None:
    assert float(half_square(torch.tensor([[0.5], [2.0]]), 1.0)) == pytest.approx(0.3125)
    tree = bone_tree(H16)
    old = torch.tensor([1.0, 0, 0]).expand(3, 15, 3)
    cosines = torch.tensor([1.0, 1 - 0.2, 1 - 0.6])  # too little, as wanted, too much
    new = torch.stack([cosines, (1 - cosines**2).sqrt(), 0 * cosines], -1)[:, None].expand(3, 15, 3)
    ratio = torch.zeros(3, 9)
    ratio[0, 2], ratio[1, 3] = 0.2, -0.05
    change = Change(tree, old, new, ratio, torch.zeros(3, 3))
    expected = (0.205**2 + 0.395**2) / 3
    assert float(bend_range(change)) == pytest.approx(expected, rel=1e-4)
    assert float(ratio_range(change)) == pytest.approx(0.04 / 27, rel=1e-4)


def test_a_pool_gives_back_half_old_half_new() -> None:
    pool = Pool((1,), size=100)
    for start in range(0, 100, 20):
        new = torch.arange(start, start + 20.0)[:, None]
        assert torch.equal(pool.exchanged(new), new)
    new = torch.arange(1000.0, 1060.0)[:, None]
    given = pool.exchanged(new)
    old = given < 1000
    assert 15 < int(old.sum()) < 45
    assert int((pool.content >= 1000).sum()) == int(old.sum()), "old ones make room for new ones"
    assert len(set(given.flatten().tolist())) == 60
    again = Pool((1,), size=100)
    again.load_state_dict(pool.state_dict())
    torch.manual_seed(3)
    one = pool.exchanged(new + 100)
    torch.manual_seed(3)
    assert torch.equal(again.exchanged(new + 100), one)


def test_an_augmentor_comes_back_from_its_file(tmp_path: Path) -> None:
    augmentor = Augmentor(skeleton("h36m17"), width=16).eval()
    save_augmentor(tmp_path / "a.safetensors", augmentor)
    again = load_augmentor(tmp_path / "a.safetensors")
    poses, noise = torch.randn(4, 17, 3), augmentor.draw(4)
    torch.testing.assert_close(again(poses, noise).rotvec, augmentor(poses, noise).rotvec)
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="no augmentor"):
        load_augmentor(tmp_path / "b.safetensors")
