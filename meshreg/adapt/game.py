"""The game in which the augmentor learns: it wins if judges take its poses for real ones.

All losses are least squares (Mao et al., ICCV 2017), the weights of the terms PoseAug's. The lifter
takes no part in the game.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from meshreg.adapt.alignment import place_root
from meshreg.adapt.discriminators import PairJudge, PoseJudge, ScreenJudge
from meshreg.adapt.generator import Augmentor, Change
from meshreg.geometry.screen import project_to_screen

# Mean of 1 - cosine over the bones of a pose, and how far from it a pose may be at no cost: bones
# turn by 16 to 51 degrees on average.
_BEND, _BEND_BAND = 0.205, 0.165
_RATIO_BAND = 0.1  # shares of its length by which a bone may change at no cost
POOL = 4096  # earlier attempts that are kept


@dataclass(frozen=True, eq=False)
class Round:
    """What one round of the game is played with."""

    pose: Float[Tensor, "B J 3"]  # real, metres from the root joint
    later: Float[Tensor, "B J 3"]  # another frame of the same clip
    target: Float[Tensor, "B J 2"]  # people of the target, on the screen
    seen: Bool[Tensor, "B J"]  # which joints of the target are to be believed
    intrinsics: Float[Tensor, "B 4"]  # fx, fy, cx, cy of the target's cameras
    noise: Float[Tensor, "B 3 Z"]  # chance for the augmentor

    def __len__(self) -> int:
        return len(self.pose)

    def to(self, device: torch.device | str) -> "Round":
        return Round(**{name: value.to(device) for name, value in vars(self).items()})


class Game(nn.Module):
    """The augmentor, its judges, and what the judges remember."""

    def __init__(self, augmentor: Augmentor, *, anchor: Literal["pair", "none"]) -> None:
        super().__init__()
        joints = augmentor.joints
        self.augmentor, self.root = augmentor, augmentor.tree.root
        self.screen_judge = ScreenJudge(joints)
        self.pose_judge: PairJudge | PoseJudge = (
            PairJudge(joints) if anchor == "pair" else PoseJudge(joints)
        )
        self.shown = Pool((len(joints), 2))
        self.attempts = Pool((2, len(joints), 3))  # each with the pose that it was made of

    def forward(self, given: Round, *, judges_learn: bool) -> dict[str, Tensor]:
        """The losses of a round by name; those of the judges are zero if they do not learn."""
        change = self.augmentor(given.pose, given.noise)
        bent = change.bent(given.pose[:, None])[:, 0]
        shown = self._shown(change.applied(given.pose[:, None])[:, 0], given)
        with constant(self.screen_judge), constant(self.pose_judge):
            values = {
                "screen": half_square(self.screen_judge(shown), 1.0),
                "pose": half_square(self._judged(given.pose, bent), 1.0),
            }
        values["range"] = bend_range(change) + ratio_range(change)
        if judges_learn:
            values |= self._lessons(given, bent.detach(), shown.detach())
        return values

    def _shown(self, poses: Float[Tensor, "B J 3"], given: Round) -> Float[Tensor, "B J 2"]:
        """As the target's camera would see them at the place of somebody of the target."""
        place = place_root(poses, given.target, given.intrinsics, root=self.root, seen=given.seen)
        return project_to_screen(poses + place[:, None], given.intrinsics)

    def _judged(self, anchor: Tensor, pose: Tensor) -> Float[Tensor, "B 5"]:
        if isinstance(self.pose_judge, PairJudge):
            return self.pose_judge(anchor, pose)
        return self.pose_judge(pose)

    def _lessons(self, given: Round, bent: Tensor, shown: Tensor) -> dict[str, Tensor]:
        """How wrong the judges are about real poses and about attempts, early and late ones."""
        old_shown = self.shown.exchanged(shown)
        old_anchor, old_bent = self.attempts.exchanged(torch.stack([given.pose, bent], 1)).unbind(1)
        return {
            "screen_judge": half_square(self.screen_judge(given.target), 1.0)
            + half_square(self.screen_judge(old_shown), 0.0),
            "pose_judge": half_square(self._judged(given.pose, given.later), 1.0)
            + half_square(self._judged(old_anchor, old_bent), 0.0),
        }


class Pool(nn.Module):
    """Remembers earlier attempts, so that judges do not forget them (Shrivastava et al. 2017).

    Its content is part of the weights, so a run that goes on has the same one.
    """

    content: Tensor  # (N, ...)
    filled: Tensor  # how much of it is in use

    def __init__(self, shape: tuple[int, ...], *, size: int = POOL) -> None:
        super().__init__()
        self.register_buffer("content", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def exchanged(self, new: Tensor) -> Tensor:
        """The new entries; once it is full, half of them change places with old ones."""
        size, filled = len(self.content), int(self.filled)
        count = min(len(new), size - filled)
        if count > 0:
            self.content[filled : filled + count] = new[:count]
            self.filled += count
            return new
        rows = torch.randperm(size, device=new.device)[: len(new)]
        swap = torch.rand(len(rows), device=new.device) < 0.5
        given = new.clone()
        kept = self.content[rows[swap]]
        self.content[rows[swap]] = new[: len(rows)][swap]
        given[: len(rows)][swap] = kept
        return given


@contextmanager
def constant(network: nn.Module) -> Iterator[None]:
    """Gradients pass through what is computed here, but do not reach the network's weights."""
    learning = [p for p in network.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def half_square(scores: Float[Tensor, "B N"], wanted: float) -> Float[Tensor, ""]:
    """Half the mean square of how far scores are from what is wanted."""
    return (scores - wanted).square().mean() / 2


def bend_range(change: Change) -> Float[Tensor, ""]:
    """Poses should be bent, but not out of shape: squares of what is outside of a band."""
    away = change.bend.mean(1) - _BEND
    return torch.where(away.abs() > _BEND_BAND, away.square(), 0.0).mean()


def ratio_range(change: Change) -> Float[Tensor, ""]:
    """Bones should not get much longer or shorter."""
    ratio = change.ratio
    return torch.where(ratio.abs() > _RATIO_BAND, ratio.square(), 0.0).mean()
