"""MotionBERT's DSTformer: space then time, beside time then space (Zhu et al. 2023).

The input has three channels: the two coordinates of a joint and the detector's confidence.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.lifters.blocks import Block, among_frames, among_joints
from meshreg.lifters.hot import HourglassTokenizer
from meshreg.lifters.linear import Linear
from meshreg.lifters.staged import StagedLifter

_EPS = 1e-6
_HEADS = 8
_SPREAD = 0.02  # of the weights at first

# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    (r"^temp_embed$", "frame_places"),
    (r"^pos_embed$", "joint_places"),
    (r"^joints_embed\.", "embedding."),
    (r"^blocks_st\.(\d+)\.", r"layers.\1.space_first."),
    (r"^blocks_ts\.(\d+)\.", r"layers.\1.time_first."),
    (r"^ts_attn\.(\d+)\.", r"layers.\1.weigh."),
    (r"\.norm1_s\.", ".space.norm1."),
    (r"\.norm2_s\.", ".space.norm2."),
    (r"\.attn_s\.", ".space.attn."),
    (r"\.mlp_s\.", ".space.mlp."),
    (r"\.norm1_t\.", ".time.norm1."),
    (r"\.norm2_t\.", ".time.norm2."),
    (r"\.attn_t\.", ".time.attn."),
    (r"\.mlp_t\.", ".time.mlp."),
    (r"^pre_logits\.fc\.", "represent."),
)


class MotionBERT(StagedLifter):
    """Lifts a clip of 2D joints with confidences to the 3D poses of all its frames."""

    def __init__(
        self,
        *,
        layers: Sequence["DualLayer"],
        frames: int,
        num_joints: int = 17,
        width: int = 256,
        representation: int = 512,
        in_channels: int = 3,
    ) -> None:
        super().__init__(frames=frames, num_joints=num_joints, in_channels=in_channels, width=width)
        self.embedding = Linear(in_channels, width)
        self.joint_places = nn.Parameter(torch.empty(1, num_joints, width))
        self.frame_places = nn.Parameter(torch.empty(1, frames, 1, width))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.represent = Linear(width, representation)
        self.head = Linear(representation, 3)
        self._start_small()
        for layer in layers:
            layer.start_even()

    def _start_small(self) -> None:
        nn.init.trunc_normal_(self.joint_places, std=_SPREAD)
        nn.init.trunc_normal_(self.frame_places, std=_SPREAD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_SPREAD)
                nn.init.zeros_(layer.bias)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        return self.embedding(x) + self.joint_places + self.frame_places

    def layer(self, index: int, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        return self.layers[index](tokens)

    def finish(self, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        return self.norm(tokens)

    def regress(self, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J 3"]:
        return self.head(self.represent(tokens).tanh())


class DualLayer(nn.Module):
    """Two branches in opposite order, mixed by weights that each token finds for itself."""

    def __init__(self, *, space_first: "SpaceTime", time_first: "SpaceTime", width: int) -> None:
        super().__init__()
        self.space_first, self.time_first = space_first, time_first
        self.weigh = Linear(2 * width, 2)
        self.start_even()

    def start_even(self) -> None:
        """Let both branches count the same for every token."""
        nn.init.zeros_(self.weigh.weight)
        nn.init.constant_(self.weigh.bias, 0.5)

    def forward(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        one, other = self.space_first(x), self.time_first(x)
        share = self.weigh(torch.cat([one, other], -1)).softmax(-1)
        return one * share[..., :1] + other * share[..., 1:]


class SpaceTime(nn.Module):
    """Attention among the joints of a frame and the frames of a joint, one after the other."""

    def __init__(self, *, space: Block, time: Block, time_first: bool) -> None:
        super().__init__()
        self.space, self.time, self.time_first = space, time, time_first

    def forward(self, x: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        if self.time_first:
            return among_joints(self.space, among_frames(self.time, x))
        return among_frames(self.time, among_joints(self.space, x))


def motionbert(
    *,
    frames: int = 243,
    num_joints: int = 17,
    width: int = 256,
    hidden: int = 1024,
    depth: int = 5,
    representation: int = 512,
    in_channels: int = 3,
) -> MotionBERT:
    """The network of 16 M parameters that Hourglass Tokenizer starts from.

    The one of MotionBERT's own paper has width=512.
    """

    def branch(*, time_first: bool) -> SpaceTime:
        space, time = (Block(width, hidden, _HEADS, eps=_EPS) for _ in range(2))
        return SpaceTime(space=space, time=time, time_first=time_first)

    return MotionBERT(
        layers=[
            DualLayer(
                space_first=branch(time_first=False),
                time_first=branch(time_first=True),
                width=width,
            )
            for _ in range(depth)
        ],
        frames=frames,
        num_joints=num_joints,
        width=width,
        representation=representation,
        in_channels=in_channels,
    )


def hot_motionbert(*, keep: int = 81, after: int = 1, **sizes: Any) -> HourglassTokenizer:
    """MotionBERT that works on a third of the frames after 1 of its 5 layers (Li et al. 2024)."""
    lifter = motionbert(**sizes)
    return HourglassTokenizer(lifter=lifter, keep=keep, after=after, num_heads=_HEADS)
