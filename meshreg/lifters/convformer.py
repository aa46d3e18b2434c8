"""ConvFormer: attention whose queries, keys and values are convolutions (Diaz-Arias and Shin 2023).

First the joints of each frame attend to one another. Then frames do, and there the frames are the
channels of the convolutions, which slide along the features of all joints: each query has already
seen every frame. No weights were released; what the text leaves open is set so that the numbers of
parameters in the paper's tables come out.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.errors import InputError
from meshreg.lifters.attention import attend, split_heads
from meshreg.lifters.blocks import MLP, DropPath, among_joints, rising
from meshreg.lifters.linear import Linear
from meshreg.lifters.staged import check_clip

# Which axis of (tokens, features) a convolution takes as its channels; it slides along the other.
Channels = Literal["features", "tokens"]


class ConvFormer(nn.Module):
    """Lifts a clip of 2D joints to the 3D pose of its centre."""

    predicts = "centre"

    def __init__(
        self,
        *,
        frames: int,
        num_joints: int = 17,
        spatial: Sequence["ConvBlock"],
        temporal: Sequence["ConvBlock"],
        width: int = 32,
        in_channels: int = 2,
    ) -> None:
        super().__init__()
        self.frames, self.num_joints, self.in_channels = frames, num_joints, in_channels
        features = num_joints * width
        self.embedding = Linear(in_channels, width)
        self.joint_places = nn.Parameter(torch.zeros(1, num_joints, width))
        self.frame_places = nn.Parameter(torch.zeros(1, frames, features))
        self.spatial = nn.Sequential(*spatial)
        self.temporal = nn.Sequential(*temporal)
        self.head = Linear(features, 3 * num_joints)
        self.merge_frames = nn.Conv1d(frames, 1, 1)

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B 1 J 3"]:
        """The pose of the centre frame, metres from the root joint.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)
        tokens = among_joints(self.spatial, self.embedding(x) + self.joint_places)
        poses = self.head(self.temporal(tokens.flatten(2) + self.frame_places))
        return self.merge_frames(poses).unflatten(-1, (self.num_joints, 3))


class ConvBlock(nn.Module):
    """Dynamic convolutional attention, then a small network on each token, both as corrections."""

    def __init__(
        self,
        *,
        attention: "ConvAttention",
        features: int,
        mlp_ratio: int = 2,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm_attention, self.norm_mlp = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attention = attention
        self.mlp = MLP(features, mlp_ratio * features)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = x + self.drop_path(self.attention(self.norm_attention(x)))
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class ConvAttention(nn.Module):
    """Multi-headed attention between tokens that convolutions have mixed beforehand."""

    def __init__(
        self,
        *,
        channels: Channels,
        num_channels: int,
        kernels: Sequence[int] = (7, 7, 7),
        num_heads: int = 8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.channels, self.num_heads = channels, num_heads
        self.to_query, self.to_key, self.to_value = (
            DynamicConv(num_channels, kernels=kernels, dropout=dropout) for _ in range(3)
        )
        self.out = nn.Conv1d(num_channels, num_channels, 1)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = self._turned(x)
        query, key, value = (
            split_heads(self._turned(conv(x)), self.num_heads)
            for conv in (self.to_query, self.to_key, self.to_value)
        )
        return self._turned(self.out(self._turned(attend(query, key, value))))

    def _turned(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B M E"]:
        """Between (tokens, features) and (channels, places); its own inverse."""
        return x if self.channels == "tokens" else x.transpose(1, 2)


class DynamicConv(nn.Module):
    """A weighted mean of several convolutions, whose weights are learned and sum to 1."""

    def __init__(self, num_channels: int, *, kernels: Sequence[int], dropout: float) -> None:
        super().__init__()
        if not kernels or not all(kernel % 2 for kernel in kernels):
            raise InputError(f"kernels {tuple(kernels)} have no middle each: choose odd sizes.")
        self.convs = nn.ModuleList(
            nn.Conv1d(num_channels, num_channels, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.share_logits = nn.Parameter(torch.zeros(len(kernels)))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B C L"]) -> Float[Tensor, "B C L"]:
        y = torch.zeros_like(x)
        for share, conv in zip(self.share_logits.softmax(0), self.convs, strict=True):
            y = y + share * conv(x)
        return self.dropout(y)


def convformer(
    *,
    frames: int = 243,
    num_joints: int = 17,
    width: int = 32,
    depths: tuple[int, int] = (2, 2),
    kernels: Sequence[int] = (7, 7, 7),
    num_heads: int = 8,
    drop: float = 0.2,
) -> ConvFormer:
    """The network of the paper; `depths` are the numbers of spatial and of temporal blocks.

    Whole branches are dropped the more often the later they come in their stage.
    """
    features = num_joints * width
    if width % num_heads:
        raise InputError(
            f"{num_heads} heads cannot share {width} channels equally: choose a number that "
            f"divides {width}."
        )

    def block(channels: Channels, rate: float) -> ConvBlock:
        attention = ConvAttention(
            channels=channels,
            num_channels=width if channels == "features" else frames,
            kernels=kernels,
            num_heads=num_heads,
            dropout=drop,
        )
        size = width if channels == "features" else features
        return ConvBlock(attention=attention, features=size, drop_path=rate)

    return ConvFormer(
        frames=frames,
        num_joints=num_joints,
        spatial=[block("features", rate) for rate in rising(drop, depths[0])],
        temporal=[block("tokens", rate) for rate in rising(drop, depths[1])],
        width=width,
    )
