"""MHFormer: three hypotheses of the pose, refined on their own and by one another (Li et al. 2022).

An encoder over joints guesses, two more correct it in turn; each guess becomes a stream of tokens,
one per frame. The streams attend to themselves, then to each other, and are read off together.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.lifters.blocks import MLP, Attention, Block, CrossAttention, DropPath, rising
from meshreg.lifters.hot import TokenPruning
from meshreg.lifters.staged import StagedLifter

NUM_STREAMS = 3
_EPS = 1e-6  # of the norms inside blocks
_HEADS = 8
_REFINING = 2  # layers in which each hypothesis attends to itself
_GUESS_HEADS = 9  # the width of a guess is its number of frames, a multiple of 9
_FEW_FRAMES = 27  # up to here the released networks normalise and drop the embedded joints

_STREAM_NAMES = [
    pair
    for k in range(NUM_STREAMS)
    for pair in (
        (rf"^norm_{k + 1}\.", f"guesses.{k}.norm_in."),
        (rf"^Transformer_encoder_{k + 1}\.pos_embed$", f"guesses.{k}.places"),
        (rf"^Transformer_encoder_{k + 1}\.", f"guesses.{k}."),
        (rf"^embedding_{k + 1}\.(\d)", rf"embeddings.{k}.\1"),
        (rf"^embedding_{k + 1}\.", f"embeddings.{k}.0."),
        (rf"^Transformer_hypothesis\.pos_embed_{k + 1}$", f"places.{k}"),
        (rf"\.norm1_{k + 1}\.", f".streams.{k}.norm."),
        (rf"\.norm3_{k + 1}1\.", f".streams.{k}.norm_query."),
        (rf"\.norm3_{k + 1}2\.", f".streams.{k}.norm_key."),
        (rf"\.norm3_{k + 1}3\.", f".streams.{k}.norm_value."),
        (rf"\.attn_{k + 1}\.", f".streams.{k}.attn."),
    )
]
# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    *_STREAM_NAMES,
    (r"^Transformer_hypothesis\.SHR_blocks\.", "layers."),
    # Released networks have two refining layers before the interacting one.
    (r"^Transformer_hypothesis\.CHI_blocks\.0\.", f"layers.{_REFINING}."),
    (r"^Transformer_hypothesis\.norm\.", "norm."),
    (r"^layers\.(\d+)\.norm2\.", r"layers.\1.together.norm."),
    (r"^layers\.(\d+)\.mlp\.", r"layers.\1.together.mlp."),
    (r"^regression\.", "head."),
)


class MHFormer(StagedLifter):
    """Lifts a clip of 2D joints to the 3D poses of its frames; the centre's is the one meant.

    Every frame has a token for each hypothesis.
    """

    predicts = "centre"

    def __init__(
        self,
        *,
        frames: int,
        num_joints: int,
        width: int,
        guesses: Sequence["Guess"],
        layers: Sequence["Refine | Interact"],
        in_channels: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(frames=frames, num_joints=num_joints, in_channels=in_channels, width=width)
        assert len(guesses) == NUM_STREAMS, len(guesses)
        coordinates = in_channels * num_joints
        self.guesses = nn.ModuleList(guesses)
        self.embeddings = nn.ModuleList(
            _embedding(coordinates, width, frames=frames) for _ in guesses
        )
        self.places = nn.ParameterList(torch.zeros(1, frames, width) for _ in guesses)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(NUM_STREAMS * width, eps=_EPS)
        self.head = nn.Sequential(
            nn.BatchNorm1d(NUM_STREAMS * width), nn.Conv1d(NUM_STREAMS * width, 3 * num_joints, 1)
        )

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T 3 D"]:
        guess = x.flatten(2).transpose(1, 2)
        streams = []
        parts = zip(self.guesses, self.embeddings, self.places, strict=True)
        for correct, embedding, places in parts:
            guess = correct(guess)
            streams.append(embedding(guess).transpose(1, 2) + places)
        return self.dropout(torch.stack(streams, 2))

    def layer(self, index: int, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T 3 D"]:
        return self.layers[index](tokens)

    def regress(self, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T J 3"]:
        together = self.norm(tokens.flatten(2)).transpose(1, 2)
        return self.head(together).transpose(1, 2).unflatten(-1, (self.num_joints, 3))

    def describe(self, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T K"]:
        return tokens.flatten(2)


def _embedding(in_channels: int, width: int, *, frames: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv1d(in_channels, width, 1)]
    if frames <= _FEW_FRAMES:
        layers += [nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.25)]
    return nn.Sequential(*layers)


class Guess(nn.Module):
    """Corrects the coordinates of each joint over time, by attention between joints."""

    def __init__(
        self, *, frames: int, num_tokens: int, blocks: Sequence[Block], dropout: float
    ) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(frames)
        self.places = nn.Parameter(torch.zeros(1, num_tokens, frames))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(frames, eps=_EPS)

    def forward(self, x: Float[Tensor, "B N T"]) -> Float[Tensor, "B N T"]:
        return x + self.norm(self.blocks(self.dropout(self.norm_in(x) + self.places)))


class Refine(nn.Module):
    """Each hypothesis attends to itself, then one small network corrects all."""

    def __init__(self, *, streams: Sequence["SelfStream"], together: "Together") -> None:
        super().__init__()
        self.streams, self.together = nn.ModuleList(streams), together

    def forward(self, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T 3 D"]:
        own = [attend(x) for attend, x in zip(self.streams, tokens.unbind(2), strict=True)]
        return self.together(torch.stack(own, 2))


class Interact(nn.Module):
    """Each hypothesis asks the other two in turn, then one small network corrects all."""

    def __init__(self, *, streams: Sequence["CrossStream"], together: "Together") -> None:
        super().__init__()
        self.streams, self.together = nn.ModuleList(streams), together

    def forward(self, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T 3 D"]:
        streams = list(tokens.unbind(2))
        for place, cross in enumerate(self.streams):  # later ones see the earlier ones' answers
            query, key = streams[:place] + streams[place + 1 :]
            streams[place] = cross(query, key, streams[place])
        return self.together(torch.stack(streams, 2))


class SelfStream(nn.Module):
    """Attention of a stream to itself, as a correction."""

    def __init__(self, width: int, num_heads: int, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.attn = Attention(width, num_heads, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        return x + self.drop_path(self.attn(self.norm(x)))


class CrossStream(nn.Module):
    """A stream's frames mixed as two other streams compare, as a correction."""

    def __init__(self, width: int, num_heads: int, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm_query, self.norm_key, self.norm_value = (
            nn.LayerNorm(width, eps=_EPS) for _ in range(3)
        )
        self.attn = CrossAttention(width, num_heads, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        query: Float[Tensor, "B T D"],
        key: Float[Tensor, "B T D"],
        value: Float[Tensor, "B T D"],
    ) -> Float[Tensor, "B T D"]:
        mixed = self.attn(self.norm_query(query), self.norm_key(key), self.norm_value(value))
        return value + self.drop_path(mixed)


class Together(nn.Module):
    """A small network over all streams side by side, as a correction."""

    def __init__(self, width: int, hidden: int, *, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(NUM_STREAMS * width, eps=_EPS)
        self.mlp = MLP(NUM_STREAMS * width, hidden, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Float[Tensor, "B T 3 D"]) -> Float[Tensor, "B T 3 D"]:
        x = tokens.flatten(2)
        return (x + self.drop_path(self.mlp(self.norm(x)))).unflatten(2, (NUM_STREAMS, -1))


def mhformer(
    *,
    frames: int = 351,
    num_joints: int = 17,
    width: int = 512,
    hidden: int = 1024,
    depths: tuple[int, int, int] = (4, _REFINING, 1),
    drop: float = 0.1,
    drop_path: float = 0.2,
) -> MHFormer:
    """The network of the paper; `depths` are the blocks of a guess, of refining, of interaction."""
    guess_depth, refine_depth, interact_depth = depths
    if frames < 1 or frames % _GUESS_HEADS:
        raise InputError(
            f"MHFormer cannot take {frames} frames: choose a multiple of {_GUESS_HEADS}."
        )

    def guess() -> Guess:
        blocks = [
            Block(frames, 2 * frames, _GUESS_HEADS, dropout=drop, drop_path=rate, eps=_EPS)
            for rate in rising(drop_path, guess_depth)
        ]
        return Guess(frames=frames, num_tokens=2 * num_joints, blocks=blocks, dropout=drop)

    def layer(index: int, rate: float) -> Refine | Interact:
        chance = {"dropout": drop, "drop_path": rate}
        together = Together(width, hidden, **chance)
        if index < refine_depth:
            own = [SelfStream(width, _HEADS, **chance) for _ in range(NUM_STREAMS)]
            return Refine(streams=own, together=together)
        cross = [CrossStream(width, _HEADS, **chance) for _ in range(NUM_STREAMS)]
        return Interact(streams=cross, together=together)

    rates = rising(drop_path, refine_depth + interact_depth)
    return MHFormer(
        frames=frames,
        num_joints=num_joints,
        width=width,
        guesses=[guess() for _ in range(NUM_STREAMS)],
        layers=[layer(index, rate) for index, rate in enumerate(rates)],
        dropout=drop,
    )


def tpc_mhformer(*, keep: int = 117, after: int = 1, **sizes: Any) -> TokenPruning:
    """MHFormer that works on a third of the frames after 1 of its 3 layers (Li et al. 2024)."""
    return TokenPruning(lifter=mhformer(**sizes), keep=keep, after=after)
