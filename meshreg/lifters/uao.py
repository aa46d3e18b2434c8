"""UAO's lifter: the joints of one frame in space, and how far off each is likely to be.

Every block first mixes joints along the skeleton, then channels and joints in two small networks
side by side (Wang et al., "Uncertainty-Aware Testing-Time Optimization for 3D Human Pose
Estimation", IEEE TMM 2025).
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.body.skeleton import Skeleton, mirrored_name, skeleton
from meshreg.geometry.windows import middle
from meshreg.lifters.blocks import DropPath, rising
from meshreg.lifters.staged import check_clip

NUM_PLANES = 4  # a joint itself, its neighbours farther out, those nearer the middle, its twin
EPS = 1e-6  # of all norms
_EMBED, _HEAD = 64, 256  # widths of the layers without activation at both ends
_JOINT_DROPOUT = 0.5  # share of the channels' dropout that the joints' network has

# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    (r"^encoder\.fc1\.", "embed.0."),
    (r"^encoder\.fc5\.", "embed.1."),
    (r"^GCN_MLP\.blocks\.", "blocks."),
    (r"\.norm1\.", ".graph_norm."),
    (r"\.gcn1\.conv1d\.", ".graph.mix."),
    (r"\.norm2\.", ".channel_norm."),
    (r"\.norm3\.", ".joint_norm."),
    (r"\.channel_mlp\.linear_down\.linear\.0\.", ".channels.into.0."),
    (r"\.channel_mlp\.linear_mid\.linear\.0\.", ".channels.middle."),
    (r"\.channel_mlp\.linear_up\.linear\.0\.", ".channels.out.0."),
    (r"\.spatial_mlp\.linear_up1\.linear\.0\.", ".joints.into.0."),
    (r"\.spatial_mlp\.linear_up2\.linear\.0\.", ".joints.into.1."),
    (r"\.spatial_mlp\.linear_mid\.linear\.0\.", ".joints.middle."),
    (r"\.spatial_mlp\.linear_down1\.linear\.0\.", ".joints.out.0."),
    (r"\.spatial_mlp\.linear_down2\.linear\.0\.", ".joints.out.1."),
    (r"^GCN_MLP\.norm_mu\.", "pose_head.norm."),
    (r"^GCN_MLP\.norm_s\.", "scale_head.norm."),
    (r"^pred_mu\.fc1\.", "pose_head.inner."),
    (r"^pred_mu\.fc5\.", "pose_head.outer."),
    (r"^pred_s\.fc1\.", "scale_head.inner."),
    (r"^pred_s\.fc5\.", "scale_head.outer."),
)


@dataclass(frozen=True, eq=False)
class UncertainPoses:
    """Poses, and how much each joint of them can be trusted."""

    poses: Float[Tensor, "B S J 3"]  # metres from the root joint
    log_scale: Float[Tensor, "B S J"]  # its exponential is the expected distance, metres


@runtime_checkable
class KnowsUncertainty(Protocol):
    """A lifter that can say how far off it may be."""

    def uncertain(self, x: Float[Tensor, "B T J 2"]) -> UncertainPoses:
        """Poses in metres from the root joint, with the logarithm of their expected errors."""
        ...


class GraphMLP(nn.Module):
    """Lifts the 2D joints of one frame, the middle one of any window, and tells its own errors."""

    predicts = "centre"

    def __init__(  # noqa: PLR0913
        self,
        *,
        joint_set: Skeleton,
        frames: int = 1,
        width: int = 512,
        hidden: int = 256,
        depth: int = 3,
        joint_growth: int = 3,
        dropout: float = 0.1,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.frames, self.num_joints, self.in_channels = frames, len(joint_set), 2
        planes = graph_planes(joint_set)
        self.embed = nn.Sequential(nn.Linear(self.in_channels, _EMBED), nn.Linear(_EMBED, width))
        self.blocks = nn.ModuleList(
            Block(
                width,
                hidden,
                planes=planes,
                joint_growth=joint_growth,
                dropout=dropout,
                drop_path=rate,
            )
            for rate in rising(drop_path, depth)
        )
        self.pose_head = Head(width, 3)
        self.scale_head = Head(width, 1)

    def forward(
        self, x: Float[Tensor, "B T J C"], *, whole: bool = False
    ) -> Float[Tensor, "B 1 J 3"] | UncertainPoses:
        """The pose of the middle frame, metres from the root joint; with its scales if `whole`.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        return self.uncertain(x) if whole else self.pose_head(self._features(x))[:, None]

    def uncertain(self, x: Float[Tensor, "B T J 2"]) -> UncertainPoses:
        """The pose of the middle frame and how far off each joint of it may be.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        features = self._features(x)
        poses, log_scale = self.pose_head(features), self.scale_head(features)
        return UncertainPoses(poses=poses[:, None], log_scale=log_scale[:, None, :, 0])

    def _features(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B J D"]:
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)
        y = self.embed(x[:, middle(self.frames)])
        for block in self.blocks:
            y = block(y)
        return y


class Block(nn.Module):
    """Corrections of every joint's channels: from the skeleton, then from all there is."""

    def __init__(  # noqa: PLR0913
        self,
        width: int,
        hidden: int,
        *,
        planes: Float[Tensor, "P J J"],
        joint_growth: int,
        dropout: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        num_joints = planes.shape[-1]
        grown = joint_growth * num_joints
        self.graph_norm = nn.LayerNorm(num_joints, eps=EPS)
        self.graph = SkeletonMix(width, planes=planes)
        self.channel_norm = nn.LayerNorm(width, eps=EPS)
        self.channels = UShape((width, hidden), dropout=dropout)
        self.joint_norm = nn.LayerNorm(num_joints, eps=EPS)
        self.joints = UShape((num_joints, grown, 2 * grown), dropout=_JOINT_DROPOUT * dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "B J D"]) -> Float[Tensor, "B J D"]:
        x = x + self.drop_path(self.graph(self.graph_norm(x.mT).mT))
        channels = self.channels(self.channel_norm(x))
        return x + self.drop_path(channels + self.joints(self.joint_norm(x.mT)).mT)


class SkeletonMix(nn.Module):
    """Every joint gathers from itself, its neighbours on either side and its twin."""

    gather: Tensor

    def __init__(self, width: int, *, planes: Float[Tensor, "P J J"]) -> None:
        super().__init__()
        # For each joint the four sums of others, so that one matrix mixes them all.
        self.register_buffer("gather", planes.permute(2, 0, 1).flatten(0, 1), persistent=False)
        self.mix = nn.Conv1d(width, len(planes) * width, 1)

    def forward(self, x: Float[Tensor, "B J D"]) -> Float[Tensor, "B J D"]:
        gathered = (self.gather @ x).view(*x.shape[:2], -1)
        weight, bias = self.merged()
        return F.linear(gathered, weight) + bias

    def merged(self) -> tuple[Float[Tensor, "D E"], Float[Tensor, "J D"]]:
        """The convolution as one matrix over all that was gathered, and each joint's bias."""
        width = self.mix.in_channels
        weight = self.mix.weight.view(-1, width, width)
        assert self.mix.bias is not None
        shares = self.gather.sum(1).view(-1, len(weight))  # of each relation in each joint
        bias = (shares[..., None] * self.mix.bias.view(-1, width)).sum(1)
        return weight.transpose(0, 1).flatten(1), bias


class UShape(nn.Module):
    """Layers to another width and back, with a shortcut around the one in the middle."""

    def __init__(self, widths: tuple[int, ...], *, dropout: float) -> None:
        super().__init__()
        steps = list(zip(widths, widths[1:], strict=False))
        self.into = nn.ModuleList(nn.Linear(here, there) for here, there in steps)
        self.middle = nn.Linear(widths[-1], widths[-1])
        self.out = nn.ModuleList(nn.Linear(there, here) for here, there in reversed(steps))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        for layer in self.into:
            x = self._step(layer, x)
        x = x + self._step(self.middle, x)
        for layer in self.out:
            x = self._step(layer, x)
        return x

    def _step(self, layer: nn.Module, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch E"]:
        return self.dropout(F.gelu(layer(x)))


class Head(nn.Module):
    """A norm and two layers; without an activation between them, as released."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.inner = nn.Linear(width, _HEAD)
        self.outer = nn.Linear(_HEAD, out)

    def forward(self, x: Float[Tensor, "B J D"]) -> Float[Tensor, "B J E"]:
        return self.outer(self.inner(self.norm(x)))


def graph_planes(joint_set: Skeleton) -> Float[Tensor, "P J J"]:
    """From which joints (rows) each joint (column) gathers, for each of the four relations.

    Bones and left-right pairs link joints; how far a joint is out is counted in bones from the
    spine. All links into one joint, its own included, weigh the same and sum to one.
    """
    count = len(joint_set)
    bones = torch.zeros(count, count)
    for child, parent in joint_set.bones:
        bones[child, parent] = bones[parent, child] = 1
    twins = torch.zeros(count, count)
    for place, name in enumerate(joint_set.joints):
        if (twin := joint_set.joints.index(mirrored_name(name))) != place:
            twins[place, twin] = 1
    out = _bones_from_middle(joint_set)
    farther, nearer = out[:, None] > out, out[:, None] < out
    planes = torch.stack([torch.eye(count), bones * farther, bones * nearer, twins])
    return planes / planes.sum((0, 1))


def _bones_from_middle(joint_set: Skeleton) -> Tensor:
    """How many bones are between each joint and the spine, or the root of sets without one."""
    spines = [place for place, name in enumerate(joint_set.joints) if "spine" in name]
    start = spines[0] if spines else joint_set.parents.index(-1)
    steps = {start: 0}
    while len(steps) < len(joint_set):
        for pair in joint_set.bones:
            for here, there in (pair, pair[::-1]):
                if here in steps and there not in steps:
                    steps[there] = steps[here] + 1
    return torch.tensor([steps[place] for place in range(len(joint_set))])


def uao(*, joint_set: Skeleton | None = None, **options: Any) -> GraphMLP:
    """The network of the paper: three blocks of 512 channels; five with depth=5."""
    return GraphMLP(joint_set=joint_set or skeleton("h36m17"), **options)
