"""Cutting clips into windows of a fixed number of frames, and putting the pieces together again.

Places of a window beyond the clip hold its first or last frame; `inside` tells them apart.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshreg.errors import InputError

# Where windows lie:
# "spread"  one every `stride` frames; what they cover too much lies half before, half after the
#           clip (training of MixSTE, KTPFormer and HoT).
# "flush"   one every `stride` frames from the first frame on; the last one ends with the clip, so
#           that it overlaps the one before; only a clip shorter than a window is filled up, at its
#           end (their evaluation).
# "centred" one around every `stride`-th frame, which half windows of padding at both ends allow
#           (networks that predict the middle frame).
Policy = Literal["spread", "flush", "centred"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Which frames of a clip its windows hold."""

    frames: Int[Tensor, "W T"]  # number of the frame at each place
    inside: Bool[Tensor, "W T"]  # false: the place is beyond the clip's ends

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, place: int) -> "Windows":
        """The same windows with only one place each."""
        return Windows(self.frames[:, place : place + 1], self.inside[:, place : place + 1])


def windows(length: int, frames: int, *, policy: Policy, stride: int | None = None) -> Windows:
    """Cut a clip of `length` frames; the stride is a whole window, or 1 if they are centred.

    Raises:
        InputError: if there is nothing to cut, or windows would leave out frames.
    """
    starts = window_starts(length, frames, policy=policy, stride=stride)
    return windows_from(starts, length, frames)


def windows_from(starts: Int[Tensor, " W"], length: int, frames: int) -> Windows:
    """Windows that begin at these frames of a clip, which may be before its first one."""
    places = starts[:, None] + torch.arange(frames)
    kept = places.clamp(0, length - 1)
    return Windows(frames=kept, inside=kept == places)


def window_starts(
    length: int, frames: int, *, policy: Policy, stride: int | None = None
) -> Int[Tensor, " W"]:
    """Where the windows begin; a whole window apart, or one frame if they are centred.

    Raises:
        InputError: if there is nothing to cut, or windows would leave out frames.
    """
    step = stride or (1 if policy == "centred" else frames)
    if length < 1:
        raise InputError("the clip has no frames: give at least one.")
    if min(frames, step) < 1 or (policy != "centred" and step > frames):
        raise InputError(
            f"windows of {frames} frames cannot start every {step} frames: choose a stride of 1 "
            f"to {max(frames, 1)}."
        )
    return _starts(length, frames, policy, step)


def _starts(length: int, frames: int, policy: Policy, step: int) -> Int[Tensor, " W"]:
    if policy == "centred":
        return torch.arange(0, length, step) - middle(frames)
    count = max(math.ceil((length - frames) / step), 0) + 1
    starts = torch.arange(count) * step
    if policy == "flush":
        return starts.clamp(max=max(length - frames, 0))
    return starts - ((count - 1) * step + frames - length) // 2


def middle(frames: int) -> int:
    """The place in a window that networks of one frame predict."""
    return (frames - 1) // 2


def merged(
    values: Float[Tensor, "W T *rest"], where: Windows, length: int
) -> Float[Tensor, "L *rest"]:
    """The clip again: the mean of all that windows say about a frame; padding is left out."""
    assert values.shape[:2] == where.frames.shape, (values.shape, where.frames.shape)
    inside = where.inside.to(values.device)
    frames = where.frames.to(values.device)[inside]
    sums = values.new_zeros(length, *values.shape[2:]).index_add(0, frames, values[inside])
    counts = values.new_zeros(length).index_add(0, frames, values.new_ones(len(frames)))
    assert (counts > 0).all(), "a frame is in no window"
    return sums / counts.view(-1, *[1] * (values.ndim - 2))
