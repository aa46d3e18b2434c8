"""MotionBERT's DSTformer: space then time, beside time then space (Zhu et al. 2023).

The input has three channels: the two coordinates of a joint and the detector's confidence.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.lifters.blocks import Block, among_frames, among_joints

_EPS = 1e-6

# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    (r"^temp_embed$", "frame_places"),
    (r"^pos_embed$", "joint_places"),
    (r"^joints_embed\.", "embed."),
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


class MotionBERT(nn.Module):
    """Lifts a clip of 2D joints with confidences to the 3D poses of all its frames."""

    def __init__(
        self,
        *,
        layers: Sequence["DualLayer"],
        max_frames: int,
        num_joints: int = 17,
        width: int = 256,
        representation: int = 512,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(in_channels, width)
        self.joint_places = nn.Parameter(torch.empty(1, num_joints, width))
        self.frame_places = nn.Parameter(torch.empty(1, max_frames, 1, width))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.represent = nn.Linear(width, representation)
        self.head = nn.Linear(representation, 3)
        for places in (self.joint_places, self.frame_places):
            nn.init.trunc_normal_(places, std=0.02)

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J 3"]:
        """The poses of all frames, metres from the root joint."""
        tokens = self.tokens(x)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.decode(self.norm(tokens))

    def tokens(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        """A token for every joint of every frame, that knows which it is."""
        frames = x.shape[1]
        assert frames <= self.frame_places.shape[1], (frames, self.frame_places.shape)
        return self.embed(x) + self.joint_places + self.frame_places[:, :frames]

    def decode(self, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J 3"]:
        """Poses read off normalised tokens."""
        return self.head(self.represent(tokens).tanh())


class DualLayer(nn.Module):
    """Two branches in opposite order, mixed by weights that each token finds for itself."""

    def __init__(self, *, space_first: "SpaceTime", time_first: "SpaceTime", width: int) -> None:
        super().__init__()
        self.space_first, self.time_first = space_first, time_first
        self.weigh = nn.Linear(2 * width, 2)
        nn.init.zeros_(self.weigh.weight)  # at first both branches count the same
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
) -> MotionBERT:
    """The network of 16 M parameters that Hourglass Tokenizer starts from.

    The one of MotionBERT's own paper has width=512.
    """

    def branch(*, time_first: bool) -> SpaceTime:
        space, time = (Block(width, hidden, 8) for _ in range(2))
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
        max_frames=frames,
        num_joints=num_joints,
        width=width,
        representation=representation,
    )
