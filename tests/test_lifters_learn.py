"""Every lifter learns four clips by heart: nothing stops gradients, and no frame is mixed up."""

from collections.abc import Callable

import pytest
import torch
from lifter_parity import without_chance
from torch import Tensor, nn

from meshreg.lifters.convformer import convformer
from meshreg.lifters.gla_gcn import gla_gcn
from meshreg.lifters.hot import KeptPoses, hot_mixste, tpc_mixste
from meshreg.lifters.ktpformer import ktpformer
from meshreg.lifters.mhformer import mhformer, tpc_mhformer
from meshreg.lifters.mixste import mixste
from meshreg.lifters.motionbert import hot_motionbert, motionbert

FRAMES = 9
STEPS = 400
MIXSTE = {"frames": FRAMES, "width": 64, "hidden": 128, "depth": 2}
MOTIONBERT = MIXSTE | {"in_channels": 2}


def swinging_people() -> tuple[Tensor, Tensor]:
    """Four clips of joints that swing, root at rest: normalised 2D with confidence, and 3D."""
    generator = torch.Generator().manual_seed(1)
    size, phase = torch.rand(2, 4, 1, 17, 3, generator=generator)
    speed = 0.1 + 0.2 * torch.rand(4, 1, 17, 3, generator=generator)
    times = torch.arange(FRAMES)[None, :, None, None]
    poses = size * (speed * times + 6.28 * phase).sin()
    poses = poses - poses[:, :, :1]
    seen = poses + torch.tensor([0.0, 0.0, 5.0])  # five metres before the camera
    points = 2.3 * seen[..., :2] / seen[..., 2:]
    return torch.cat([points, torch.ones_like(points[..., :1])], -1), poses


def compared(answer: Tensor | KeptPoses, poses: Tensor) -> tuple[Tensor, Tensor]:
    """The predicted poses, and the true ones of the same frames."""
    if isinstance(answer, KeptPoses):
        frames = answer.frames[..., None, None].expand(-1, -1, 17, 3)
        return answer.poses, poses.gather(1, frames)
    return answer, poses if answer.shape[1] == FRAMES else poses[:, FRAMES // 2 :][:, :1]


def told_apart(model: nn.Module) -> nn.Module:
    """Frames and joints that differ from the start: MixSTE needs long to find out by itself."""
    for name, parameter in model.named_parameters():
        if name.endswith(("places", "queries")):
            nn.init.normal_(parameter)
    return model


# Which frames are kept changes by chance while a pruned lifter learns: hence its wider bound.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "bound"),  # metres; joints swing by about half a metre
    [
        (lambda: ktpformer(**MIXSTE), 0.01),
        (lambda: told_apart(mixste(**MIXSTE)), 0.015),
        (lambda: told_apart(hot_mixste(keep=3, after=1, **MIXSTE)), 0.08),
        (lambda: told_apart(tpc_mixste(keep=3, after=1, **MIXSTE)), 0.04),
        (lambda: gla_gcn(frames=FRAMES, width=32), 0.005),
        (lambda: convformer(frames=FRAMES, width=8), 0.005),
        (lambda: mhformer(frames=FRAMES, width=64, hidden=128), 0.01),
        (lambda: tpc_mhformer(keep=3, frames=FRAMES, width=64, hidden=128), 0.06),
        (lambda: motionbert(**MOTIONBERT), 0.02),
        (lambda: hot_motionbert(keep=3, **MOTIONBERT), 0.06),
    ],
    ids=[
        *("ktpformer", "mixste", "hot_mixste", "tpc_mixste", "gla_gcn"),
        *("convformer", "mhformer", "tpc_mhformer", "motionbert", "hot_motionbert"),
    ],
)
def test_four_clips_are_learned_by_heart(build: Callable[[], nn.Module], bound: float) -> None:
    model, (seen, poses) = build(), swinging_people()
    without_chance(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        predicted, true = compared(model(seen[..., :2]), poses)
        error = (predicted - true).norm(dim=-1).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        schedule.step()
    assert error.item() < bound
