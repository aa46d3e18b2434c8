"""Hourglass Tokenizer: most layers see only a few frames that stand for all (Li et al. 2024).

After some layers, neighbouring frames say much the same. A clustering by density keeps frames that
are typical and far from other typical ones; the rest of the network works on these. For sequences,
learned queries, one for each frame, then ask the kept frames for what was left out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.lifters.blocks import CrossAttention, among_frames
from meshreg.lifters.mixste import NUM_HEADS, mixste
from meshreg.lifters.staged import StagedLifter

# Densities are nearly equal, many exactly: two frames that are each other's nearest always tie.
# Noise of this size decides such cases, for densities of about one in single precision.
_NOISE = 1e-6
_GOLDEN = 0.6180339887498949  # multiples of it, modulo one, spread evenly and never repeat

# Names in released files, as regular expressions, and what the same layers are called here. All
# other layers are those of the lifter inside.
RELEASED_NAMES = (
    (r"^pos_embed_token$", "kept_places"),
    (r"^x_token$", "recovery.queries"),
    (r"^cross_attention\.", "recovery.attn."),
)


@dataclass(frozen=True, eq=False)
class KeptPoses:
    """Poses of the frames that were kept."""

    poses: Float[Tensor, "B K J 3"]  # metres from the root joint
    frames: Int[Tensor, "B K"]  # which frames of the clip they are, ascending

    def at(self, frame: int) -> Float[Tensor, "B J 3"]:
        """The poses of one frame of the clip, which must be among the kept ones of all samples.

        Raises:
            InputError: if it is not.
        """
        found = self.frames == frame
        if not found.any(1).all():
            raise InputError(
                f"frame {frame} was left out of some clip: ask for the centre, which is always "
                "kept by networks that predict one frame."
            )
        return self.poses[found]


def representative_frames(
    descriptors: Float[Tensor, "B T K"], *, keep: int, noise: Float[Tensor, "B T"], centre: bool
) -> Int[Tensor, "B f"]:
    """The frames, ascending, that stand for all: dense by themselves and far from denser ones.

    `noise` between 0 and 1 decides between frames of (almost) the same density; `centre` makes sure
    that the centre frame is kept, in the place of the last that would have been chosen.
    """
    score = _typical_and_apart(descriptors.detach(), noise)
    if not centre:
        return score.topk(keep, dim=1).indices.sort(1).values
    middle = (score.shape[1] - 1) // 2
    at_middle = torch.arange(score.shape[1], device=score.device) == middle
    others = score.masked_fill(at_middle, -torch.inf).topk(keep - 1, dim=1).indices
    middles = torch.full_like(score[:, :1], middle, dtype=others.dtype)
    return torch.cat([others, middles], 1).sort(1).values


def _typical_and_apart(
    descriptors: Float[Tensor, "B T K"], noise: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """Density peaks (Rodriguez and Laio 2014): density times the distance to any denser frame."""
    points = descriptors.to(torch.promote_types(descriptors.dtype, torch.float32))
    distance = torch.cdist(points, points) / points.shape[-1] ** 0.5
    nearest = distance.topk(2, largest=False).values  # one of the two is the frame itself
    density = (-nearest.square().mean(-1)).exp() + _NOISE * noise.to(points)
    is_denser = density[:, None, :] > density[:, :, None]
    farthest = distance.amax((1, 2), keepdim=True)
    separation = torch.where(is_denser, distance, farthest).amin(-1)
    return density * separation


class PrunedLifter(nn.Module):
    """A lifter, and how many frames are kept after how many of its layers."""

    def __init__(self, *, lifter: StagedLifter, keep: int, after: int, centre: bool) -> None:
        super().__init__()
        if not 1 <= keep <= lifter.frames:
            raise InputError(f"{keep} of {lifter.frames} frames cannot be kept: keep 1 to all.")
        if not 1 <= after < lifter.num_layers:
            raise InputError(
                f"frames cannot be left out after layer {after} of {lifter.num_layers}: choose "
                f"1 to {lifter.num_layers - 1}."
            )
        self.lifter = lifter
        self.keep, self.after, self.centre = keep, after, centre

    def choose(
        self,
        tokens: Float[Tensor, "B T N D"],
        *,
        noise: Float[Tensor, "_ _"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "B K"]:
        """The frames to keep; without noise or generator the same ones whenever not training."""
        shape = tokens.shape[:2]
        if noise is None:
            noise = self._noise(tokens, generator)
        elif noise.shape != shape:
            raise InputError(
                f"noise has the shape {tuple(noise.shape)}, not {tuple(shape)}: give one number "
                "for each frame of each clip."
            )
        descriptors = self.lifter.describe(tokens)
        return representative_frames(descriptors, keep=self.keep, noise=noise, centre=self.centre)

    def _noise(
        self, tokens: Float[Tensor, "B T N D"], generator: torch.Generator | None
    ) -> Float[Tensor, "B T"]:
        shape = tokens.shape[:2]
        if generator is not None:
            return torch.rand(shape, generator=generator, device=generator.device).to(tokens)
        if self.training:
            return torch.rand(shape, device=tokens.device)
        steps = torch.arange(1, shape[1] + 1, device=tokens.device)
        return (steps * _GOLDEN).frac().expand(shape)

    def _kept(
        self,
        x: Float[Tensor, "B T J C"],
        frames: Int[Tensor, "B K"] | None,
        noise: Float[Tensor, "_ _"] | None,
        generator: torch.Generator | None,
    ) -> tuple[Float[Tensor, "B K N D"], Int[Tensor, "B K"]]:
        """Tokens of the kept frames after the first layers, and which frames these are."""
        self.lifter.check(x)
        tokens = self.lifter.run(self.lifter.embed(x), 0, self.after)
        if frames is None:
            frames = self.choose(tokens, noise=noise, generator=generator)
        elif frames.shape != (len(x), self.keep):
            raise InputError(
                f"frames has the shape {tuple(frames.shape)}, not {(len(x), self.keep)}: give the "
                "frames that the same network chose for the same clips."
            )
        return take_frames(tokens, frames), frames

    def _rest(self, tokens: Float[Tensor, "B K N D"]) -> Float[Tensor, "B K N D"]:
        """Tokens after the layers that see only the kept frames."""
        return self.lifter.finish(self.lifter.run(tokens, self.after, self.lifter.num_layers))


class TokenPruning(PrunedLifter):
    """A lifter of centre frames that drops most frames halfway; the centre is always kept."""

    def __init__(self, *, lifter: StagedLifter, keep: int, after: int) -> None:
        super().__init__(lifter=lifter, keep=keep, after=after, centre=True)

    def forward(
        self,
        x: Float[Tensor, "B T J C"],
        *,
        frames: Int[Tensor, "B K"] | None = None,
        noise: Float[Tensor, "_ _"] | None = None,
        generator: torch.Generator | None = None,
    ) -> KeptPoses:
        """The poses of the kept frames, and which these are.

        `frames` prescribes them, as for the mirrored clip whose answer is averaged with the plain
        one's; `noise` in 0..1 or a generator decides ties while frames are chosen.

        Raises:
            InputError: if the clip, the noise or the frames do not fit the network.
        """
        tokens, kept = self._kept(x, frames, noise, generator)
        return KeptPoses(poses=self.lifter.regress(self._rest(tokens)), frames=kept)


class HourglassTokenizer(PrunedLifter):
    """A lifter of sequences that drops most frames halfway and recovers them at the end."""

    def __init__(self, *, lifter: StagedLifter, keep: int, after: int, num_heads: int) -> None:
        super().__init__(lifter=lifter, keep=keep, after=after, centre=False)
        self.kept_places = nn.Parameter(torch.zeros(1, keep, lifter.width))
        self.recovery = FrameRecovery(frames=lifter.frames, width=lifter.width, num_heads=num_heads)

    def forward(
        self,
        x: Float[Tensor, "B T J C"],
        *,
        frames: Int[Tensor, "B K"] | None = None,
        noise: Float[Tensor, "_ _"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B T J 3"]:
        """The poses of all frames, metres from the root joint.

        `frames` prescribes which are kept halfway; `noise` in 0..1 or a generator decides ties
        while they are chosen.

        Raises:
            InputError: if the clip, the noise or the frames do not fit the network.
        """
        tokens, _ = self._kept(x, frames, noise, generator)
        tokens = self._rest(tokens + self.kept_places.transpose(0, 1))
        return self.lifter.regress(among_frames(self.recovery, tokens))


class FrameRecovery(nn.Module):
    """Learned queries, one for each frame of the clip, that ask the kept frames."""

    def __init__(self, *, frames: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(1, frames, width))
        self.attn = CrossAttention(width, num_heads)

    def forward(self, tokens: Float[Tensor, "B K D"]) -> Float[Tensor, "B T D"]:
        queries = self.queries.expand(len(tokens), -1, -1)
        return queries + self.attn(queries, tokens, tokens)


def wrapped_names(names: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Released names of a pruned lifter, from those of the lifter inside."""
    return (*RELEASED_NAMES, *names, (r"^(?!kept_places$|recovery\.)", "lifter."))


def take_frames(
    tokens: Float[Tensor, "B T N D"], frames: Int[Tensor, "B K"]
) -> Float[Tensor, "B K N D"]:
    """The tokens of some frames, which may be others in each sample."""
    samples = torch.arange(len(tokens), device=tokens.device)
    return tokens[samples[:, None], frames]


def hot_mixste(
    *,
    frames: int = 243,
    keep: int = 81,
    after: int = 3,
    num_heads: int = NUM_HEADS,
    **sizes: Any,
) -> HourglassTokenizer:
    """MixSTE that works on a third of the frames after 3 of its 8 layers, as in the paper."""
    lifter = mixste(frames=frames, num_heads=num_heads, **sizes)
    return HourglassTokenizer(lifter=lifter, keep=keep, after=after, num_heads=num_heads)


def tpc_mixste(*, keep: int = 61, after: int = 7, **sizes: Any) -> TokenPruning:
    """MixSTE for centre frames that drops most frames before its last layer, as in the paper."""
    return TokenPruning(lifter=mixste(**sizes), keep=keep, after=after)
