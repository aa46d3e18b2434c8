"""The two networks that lifters are measured against: convolutions over time, and no time at all.

`TemporalConvNet` is VideoPose3D's dilated convolution (Pavllo et al. 2019), `FrameNet` the residual
network on single frames of Martinez et al. (2017).
"""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.errors import InputError
from meshreg.geometry.windows import middle
from meshreg.lifters.staged import check_clip

_STEP = 3  # frames that each convolution joins


class TemporalConvNet(nn.Module):
    """Lifts a clip of 3^m frames of 2D joints to the 3D pose of its centre.

    Clips of more frames give the poses of all frames that have half a window on either side.
    """

    predicts = "centre"

    def __init__(
        self,
        *,
        frames: int,
        num_joints: int = 17,
        in_channels: int = 2,
        width: int = 1024,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        levels = round(math.log(max(frames, 1), _STEP))
        if frames != _STEP**levels or levels < 1:
            raise InputError(f"{frames} frames are not a power of {_STEP}: choose 27, 81 or 243.")
        self.frames, self.num_joints, self.in_channels = frames, num_joints, in_channels
        self.first = TimeStep(num_joints * in_channels, width, dropout=dropout)
        self.levels = nn.ModuleList(TimeLevel(width, dropout=dropout) for _ in range(levels - 1))
        self.head = nn.Conv1d(width, 3 * num_joints, 1)

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B S J 3"]:
        """Poses in metres from the root joint: one for a window, more for longer clips.

        Raises:
            InputError: if the clip is shorter than a window or has other joints or channels.
        """
        length = x.shape[1] if x.ndim == 4 else self.frames
        frames = max(length, self.frames)
        check_clip(x, frames=frames, num_joints=self.num_joints, in_channels=self.in_channels)
        # A single pose needs only every third intermediate result, then every ninth.
        is_strided = length == self.frames
        y = self.first(x.flatten(2).transpose(1, 2), dilation=1, strided=is_strided)
        for number, level in enumerate(self.levels, start=1):
            y = level(y, dilation=_STEP**number, strided=is_strided)
        return self.head(y).transpose(1, 2).unflatten(-1, (self.num_joints, 3))


class TimeStep(nn.Module):
    """A convolution over three frames, near or far apart, then a norm."""

    def __init__(self, in_width: int, width: int, *, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_width, width, _STEP, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B C T"], *, dilation: int, strided: bool
    ) -> Float[Tensor, "B D S"]:
        stride, apart = (_STEP, 1) if strided else (1, dilation)
        y = F.conv1d(x, self.conv.weight, stride=stride, dilation=apart)
        return self.dropout(self.norm(y).relu())


class TimeLevel(nn.Module):
    """Three frames become one, as a correction of the middle one."""

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.step = TimeStep(width, width, dropout=dropout)
        self.mix = nn.Conv1d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "B D T"], *, dilation: int, strided: bool
    ) -> Float[Tensor, "B D S"]:
        last = x.shape[2] - dilation
        centre = x[:, :, _STEP // 2 :: _STEP] if strided else x[:, :, dilation:last]
        y = self.mix(self.step(x, dilation=dilation, strided=strided))
        return centre + self.dropout(self.norm(y).relu())


class FrameNet(nn.Module):
    """Lifts the 2D joints of one frame, the middle one of any window, to its 3D pose."""

    predicts = "centre"

    def __init__(  # noqa: PLR0913
        self,
        *,
        frames: int = 1,
        num_joints: int = 17,
        in_channels: int = 2,
        width: int = 1024,
        depth: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.frames, self.num_joints, self.in_channels = frames, num_joints, in_channels
        self.first = _dense(num_joints * in_channels, width, dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(_dense(width, width, dropout), _dense(width, width, dropout))
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 3 * num_joints)

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B 1 J 3"]:
        """The pose of the middle frame, metres from the root joint.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)
        y = self.first(x[:, middle(self.frames)].flatten(1))
        for block in self.blocks:
            y = y + block(y)
        return self.head(y).unflatten(-1, (self.num_joints, 3))[:, None]


def _dense(in_width: int, width: int, dropout: float) -> nn.Sequential:
    """A layer, its norm, and chance."""
    layer = nn.Linear(in_width, width)
    nn.init.kaiming_normal_(layer.weight)
    return nn.Sequential(layer, nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout))


def tcn_baseline(*, frames: int = 243, width: int = 1024, **options: int | float) -> nn.Module:
    """VideoPose3D's network: 243 frames, 1024 channels."""
    return TemporalConvNet(frames=frames, width=width, **options)  # type: ignore[arg-type]


def mlp_baseline(*, width: int = 1024, depth: int = 2, **options: int | float) -> nn.Module:
    """The network of Martinez et al.: two residual blocks of 1024 channels."""
    return FrameNet(width=width, depth=depth, **options)  # type: ignore[arg-type]
