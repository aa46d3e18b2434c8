"""What a detector of joints gets wrong, so that lifters learn from more than perfect joints.

Every joint trembles; its error stays alike from frame to frame, and ends of limbs tremble more.
Now and then one is found in the wrong place for a few frames, or not at all; then it stays where it
was seen last.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from meshreg.body.skeleton import Skeleton
from meshreg.data.lifting_settings import NoiseSettings

# How much more or less than the average these joints tremble.
_OF_PART = {
    "ankle": 1.3,
    "wrist": 1.5,
    "elbow": 1.2,
    "knee": 1.0,
    "hip": 1.1,
    "shoulder": 0.9,
    "spine": 0.9,
    "thorax": 0.7,
    "jaw": 0.7,
    "head": 0.8,
}
_SMALLEST = 20.0  # pixels: a person's size below which errors no longer shrink


def joint_scales(joints: Skeleton) -> Float[Tensor, " J"]:
    """How much the joints of a set tremble, compared with the average one."""
    scales = [
        next((scale for part, scale in _OF_PART.items() if part in name), 1.0)
        for name in joints.joints
    ]
    return torch.tensor(scales)


def detected(
    keypoints_px: Float[Tensor, "B T J 2"],
    joints: Skeleton,
    generator: torch.Generator,
    settings: NoiseSettings,
) -> Float[Tensor, "B T J 2"]:
    """Joints as a detector might find them."""
    if settings.clean >= 1:
        return keypoints_px
    B, T, J, _ = keypoints_px.shape
    size = keypoints_px.amax((1, 2)) - keypoints_px.amin((1, 2))  # of all that is seen of a clip
    per_frame = (keypoints_px.amax(2) - keypoints_px.amin(2)).norm(dim=-1).mean(1)
    unit = torch.minimum(per_frame, size.norm(dim=-1)).clamp_min(_SMALLEST)[:, None, None, None]
    share = 0.5 + torch.rand(B, 1, 1, 1, generator=generator)
    scale = joint_scales(joints)[None, None, :, None]
    trembling = _remembered((B, T, J, 2), settings.memory, generator)
    noisy = keypoints_px + trembling * settings.tremble * unit * share * scale
    # One place for the whole run: the other arm, say.
    astray = torch.randn(B, 1, J, 2, generator=generator) * settings.outlier_size * unit
    wrong = _runs((B, T, J), settings.outliers, settings.run, generator)
    noisy = torch.where(wrong[..., None], noisy + astray, noisy)
    missed = _runs((B, T, J), settings.missed, settings.run, generator)
    missed[:, 0] = False
    noisy = _held(noisy, missed)
    clean = torch.rand(B, 1, 1, 1, generator=generator) < settings.clean
    return torch.where(clean, keypoints_px, noisy)


def _remembered(
    shape: tuple[int, int, int, int], memory: float, generator: torch.Generator
) -> Float[Tensor, "B T J 2"]:
    """Normal numbers of standard deviation 1 that resemble those one frame earlier."""
    fresh = torch.randn(shape, generator=generator)
    frames = [fresh[:, 0]]
    for frame in range(1, shape[1]):
        frames.append(memory * frames[-1] + (1 - memory**2) ** 0.5 * fresh[:, frame])
    return torch.stack(frames, 1)


def _runs(
    shape: tuple[int, int, int], rate: float, run: float, generator: torch.Generator
) -> Tensor:
    """Frames of joints in runs of some length, in all this share of them."""
    length = max(round(run), 1)
    starts = (torch.rand(shape, generator=generator) < rate / length).float()
    flat = starts.transpose(1, 2).flatten(0, 1)[:, None]
    padded = torch.nn.functional.pad(flat, (length - 1, 0))
    on = torch.nn.functional.max_pool1d(padded, length, stride=1)[:, 0] > 0
    return on.unflatten(0, (shape[0], shape[2])).transpose(1, 2)


def _held(points: Float[Tensor, "B T J 2"], missed: Tensor) -> Float[Tensor, "B T J 2"]:
    """Points that are missed stay where they were last."""
    frame = torch.arange(points.shape[1])[None, :, None].expand(missed.shape)
    last = torch.where(missed, torch.zeros_like(frame), frame).cummax(1).values
    return points.gather(1, last[..., None].expand(points.shape))
