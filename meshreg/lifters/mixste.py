"""MixSTE: attention among joints and among frames in turn, for every frame (Zhang et al. 2022).

Its trunk carries other lifters too: KTPFormer puts another embedding before it, the Hourglass
Tokenizer leaves out frames in its middle.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.lifters.blocks import Block, among_frames, among_joints, rising
from meshreg.lifters.linear import Linear
from meshreg.lifters.staged import StagedLifter

NUM_HEADS = 8  # of all released networks; their weights do not tell
_EPS = 1e-6  # of all norms but the head's

TRUNK_NAMES = (
    (r"^STEblocks\.", "trunk.spatial."),
    (r"^TTEblocks\.", "trunk.temporal."),
    (r"^Spatial_norm\.", "trunk.spatial_norm."),
    (r"^Temporal_norm\.", "trunk.temporal_norm."),
)
# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    *TRUNK_NAMES,
    (r"^Spatial_patch_to_embedding\.", "embedding."),
    (r"^Spatial_pos_embed$", "joint_places"),
    (r"^Temporal_pos_embed$", "frame_places"),
)


class SpaceTimeTrunk(nn.Module):
    """Pairs of blocks; one norm follows every spatial block, another every temporal block."""

    def __init__(
        self, *, width: int, hidden: int, num_heads: int, drop_path_rates: list[float]
    ) -> None:
        super().__init__()

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(
                Block(width, hidden, num_heads, drop_path=rate, eps=_EPS)
                for rate in drop_path_rates
            )

        self.spatial, self.temporal = blocks(), blocks()
        self.spatial_norm = nn.LayerNorm(width, eps=_EPS)
        self.temporal_norm = nn.LayerNorm(width, eps=_EPS)

    def __len__(self) -> int:
        return len(self.spatial)

    def across_joints(
        self, block: nn.Module, tokens: Float[Tensor, "B T J C"]
    ) -> Float[Tensor, "B T J D"]:
        """The tokens after a spatial block and the norm that follows all of them."""
        return self.spatial_norm(among_joints(block, tokens))

    def across_frames(
        self, block: nn.Module, tokens: Float[Tensor, "B T J C"]
    ) -> Float[Tensor, "B T J D"]:
        """The tokens after a temporal block and the norm that follows all of them."""
        return self.temporal_norm(among_frames(block, tokens))


class MixSTE(StagedLifter):
    """Lifts a clip of 2D joints to the 3D poses of all its frames."""

    def __init__(
        self,
        *,
        trunk: SpaceTimeTrunk,
        width: int,
        frames: int,
        num_joints: int = 17,
        in_channels: int = 2,
    ) -> None:
        super().__init__(frames=frames, num_joints=num_joints, in_channels=in_channels, width=width)
        self.embedding = Linear(in_channels, width)
        self.joint_places = nn.Parameter(torch.zeros(1, num_joints, width))
        self.frame_places = nn.Parameter(torch.zeros(1, frames, width))
        self.trunk = trunk
        self.head = pose_head(width)

    @property
    def num_layers(self) -> int:
        return len(self.trunk)

    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        return self.embedding(x) + self.joint_places

    def layer(self, index: int, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        tokens = self.trunk.across_joints(self.trunk.spatial[index], tokens)
        if index == 0:  # joints are compared before frames are told apart
            tokens = tokens + self.frame_places.transpose(0, 1)
        return self.trunk.across_frames(self.trunk.temporal[index], tokens)

    def regress(self, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J 3"]:
        return self.head(tokens)


def pose_head(width: int) -> nn.Sequential:
    """A norm, then the three coordinates of each token."""
    return nn.Sequential(nn.LayerNorm(width), Linear(width, 3))


def mixste(
    *,
    frames: int = 243,
    num_joints: int = 17,
    in_channels: int = 2,
    width: int = 512,
    hidden: int = 1024,
    depth: int = 8,
    num_heads: int = NUM_HEADS,
    drop_path: float = 0.1,
) -> MixSTE:
    """The network of the paper."""
    trunk = SpaceTimeTrunk(
        width=width,
        hidden=hidden,
        num_heads=num_heads,
        drop_path_rates=rising(drop_path, depth),
    )
    return MixSTE(
        trunk=trunk, width=width, frames=frames, num_joints=num_joints, in_channels=in_channels
    )
