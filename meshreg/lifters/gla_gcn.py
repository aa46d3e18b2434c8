"""GLA-GCN: graph convolutions whose graph adapts to the clip, in strides of time (Yu et al. 2023).

Each level keeps every third frame, so that a clip of 3^m frames ends as one pose, that of its
centre. The released networks are this local branch alone; the paper's global branch, which predicts
every frame from the widest features, is an option.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.errors import InputError
from meshreg.lifters.linear import linear
from meshreg.lifters.staged import check_clip

NUM_SUBSETS = 3  # each joint with itself, with its parent's side, with its children's side
_TIME_KERNEL = 9  # frames that one temporal convolution sees
_STRIDE = 3
# Almost nothing at first: a block starts as its shortcut, the learned graph as the skeleton.
_SMALL = 1e-6

# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    (r"^data_bn\.", "norm_in."),
    (r"^expand_gcn\.", "expand."),
    (r"^layers_tcngcn\.", "blocks."),
    (r"^fc\.", "head."),
    (r"\.gcn1\.PA$", ".graph.learned"),
    (r"\.gcn1\.conv_a\.", ".graph.source."),
    (r"\.gcn1\.conv_b\.", ".graph.target."),
    (r"\.gcn1\.conv_d\.", ".graph.mix."),
    (r"\.gcn1\.down\.0\.", ".graph.shortcut.conv."),
    (r"\.gcn1\.down\.1\.", ".graph.shortcut.norm."),
    (r"\.gcn1\.bn\.", ".graph.norm."),
    (r"\.tcn1\.bn\.", ".time.norm."),
    (r"\.tcn1\.", ".time."),
    (r"\.residual\.bn\.", ".shortcut.norm."),
    (r"\.residual\.", ".shortcut."),
)


@dataclass(frozen=True, eq=False)
class LocalGlobal:
    """What the two branches say."""

    centre: Float[Tensor, "B 1 J 3"]  # the pose of the middle frame, metres
    sequence: Float[Tensor, "B T J 3"]  # the poses of all frames, metres


class GLAGCN(nn.Module):
    """Lifts a clip of 3^m frames of 2D joints to the 3D pose of its centre."""

    predicts = "centre"

    def __init__(
        self,
        *,
        joint_set: Skeleton,
        frames: int,
        width: int = 96,
        in_channels: int = 2,
        dropout: float = 0.1,
        global_head: bool = False,
    ) -> None:
        super().__init__()
        levels = _levels(frames)
        self.frames, self.num_joints, self.in_channels = frames, len(joint_set), in_channels
        graph = skeleton_graph(joint_set)
        self.norm_in = nn.BatchNorm1d(in_channels * len(joint_set))
        self.expand = GraphTimeBlock(in_channels, width, graph=graph, dropout=dropout)
        self.blocks = nn.ModuleList()
        for _ in range(levels):
            self.blocks.append(GraphTimeBlock(width, width, graph=graph, dropout=dropout))
            self.blocks.append(
                GraphTimeBlock(
                    width, width, graph=graph, dropout=dropout, stride=_STRIDE, residual=False
                )
            )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(width, 3, 1)
        self.global_head = GlobalHead(width, graph=graph, dropout=dropout) if global_head else None

    def forward(
        self, x: Float[Tensor, "B T J C"], *, whole: bool = False
    ) -> Float[Tensor, "B 1 J 3"] | LocalGlobal:
        """The pose of the centre frame, metres from the root joint; what `both` says if `whole`.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        return self.both(x) if whole else self.centre(self.embed(x))

    def both(self, x: Float[Tensor, "B T J C"]) -> LocalGlobal:
        """The centre's pose and those of all frames, for a loss over both branches.

        Raises:
            InputError: if there is no global branch, or the clip does not fit the network.
        """
        if self.global_head is None:
            raise InputError("this network has no global branch: build it with global_head=True.")
        features = self.embed(x)
        return LocalGlobal(centre=self.centre(features), sequence=self.global_head(features))

    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        """Features of every joint in every frame."""
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)
        flat = x.permute(0, 2, 3, 1).flatten(1, 2)  # coordinates of one joint side by side
        normed = self.norm_in(flat).unflatten(1, x.shape[2:])
        return self.expand(normed.permute(0, 3, 1, 2))

    def centre(self, features: Float[Tensor, "B T J D"]) -> Float[Tensor, "B 1 J 3"]:
        """The local branch: levels that each keep the middle of three frames."""
        for smooth, reduce in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            middle = features[:, _STRIDE // 2 :: _STRIDE]
            smoothed = self.dropout(smooth(features))
            features = middle + self.dropout(reduce(smoothed))
        return self.head(features.mean(1).transpose(1, 2)).transpose(1, 2)[:, None]


def _levels(frames: int) -> int:
    """How often a third of the frames is kept until one is left."""
    levels = round(math.log(max(frames, 1), _STRIDE))
    if frames != _STRIDE**levels:
        raise InputError(f"{frames} frames are not a power of {_STRIDE}: choose 27, 81 or 243.")
    return levels


class GlobalHead(nn.Module):
    """The global branch's last layer: one graph convolution and one in time, and nothing after.

    A ReLU, as ends every other block, would forbid negative coordinates, and a batch norm would
    make poses depend on the other clips of a batch. No weights of this branch were released.
    """

    def __init__(self, width: int, *, graph: Float[Tensor, "K J J"], dropout: float) -> None:
        super().__init__()
        self.graph = GraphConv(width, width, graph=graph, dropout=dropout)
        self.time = nn.Conv2d(width, 3, (_TIME_KERNEL, 1), padding=(_TIME_KERNEL // 2, 0))

    def forward(self, features: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J 3"]:
        return _channels_last(self.time(_channels_second(self.graph(features))))


class GraphTimeBlock(nn.Module):
    """Mixes joints over an adaptive graph, then frames by a strided convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        graph: Float[Tensor, "K J J"],
        dropout: float,
        stride: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.graph = GraphConv(in_channels, out_channels, graph=graph, dropout=dropout)
        self.time = TimeConv(out_channels, out_channels, kernel=_TIME_KERNEL, stride=stride)
        self.residual = residual
        self.shortcut: nn.Module = nn.Identity()
        if residual and (in_channels != out_channels or stride != 1):
            self.shortcut = TimeConv(in_channels, out_channels, kernel=1, stride=stride)

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B S J D"]:
        y = self.time(self.graph(x))
        return (y + self.shortcut(x) if self.residual else y).relu()


class TimeConv(nn.Module):
    """A normalised convolution over frames, the same for every joint."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, (kernel, 1), stride=(stride, 1), padding=(kernel // 2, 0)
        )
        self.norm = nn.BatchNorm2d(out_channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        nn.init.zeros_(_bias(self.conv))

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B S J D"]:
        return _channels_last(self.norm(self.conv(_channels_second(x))))


class GraphConv(nn.Module):
    """A convolution over joints on three graphs, each the sum of skeleton, learned and attended.

    Attention compares joints over the whole clip, so one graph serves all its frames.
    """

    graph: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        graph: Float[Tensor, "K J J"],
        dropout: float,
    ) -> None:
        super().__init__()
        inner = out_channels // 4
        self.register_buffer("graph", graph, persistent=False)
        self.learned = nn.Parameter(torch.full_like(graph, _SMALL))
        self.source = _pointwise(in_channels, inner)
        self.target = _pointwise(in_channels, inner)
        self.mix = _pointwise(in_channels, out_channels)
        self.norm = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = TimeConv(in_channels, out_channels, kernel=1)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.constant_(self.norm.weight, _SMALL)
        for conv in self.mix:
            assert isinstance(conv, nn.Conv2d)
            nn.init.normal_(conv.weight, std=math.sqrt(2 / (conv.weight.numel() * len(self.mix))))

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        links = self.graph + self.learned + self._attended(x)
        # Joints take from others on all graphs at once, side by side in their channels.
        taken = links.permute(0, 3, 1, 2).flatten(1, 2)[:, None] @ x
        weight = torch.cat([_matrix(conv) for conv in self.mix], 1)
        bias = torch.stack([_bias(conv) for conv in self.mix]).sum(0)
        y = linear(taken.unflatten(2, (-1, NUM_SUBSETS)).flatten(3), weight, bias)
        y = _channels_last(self.norm(_channels_second(y)))
        return (self.dropout(y) + self.shortcut(x)).relu()

    def _attended(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B K J J"]:
        """How much each joint (column) takes from each other (row), on each graph.

        The weights themselves are wanted, to be added to the other graphs, not what they mix.
        """
        convs = [*self.source, *self.target]
        weight = torch.cat([_matrix(conv) for conv in convs])
        y = linear(x, weight, torch.cat([_bias(conv) for conv in convs]))
        give, take = y.unflatten(-1, (2, NUM_SUBSETS, -1)).permute(3, 0, 4, 2, 1, 5).flatten(4)
        return (give @ take.mT / give.shape[-1]).softmax(-2)


def _pointwise(in_channels: int, out_channels: int) -> nn.ModuleList:
    """For every graph a layer that treats all joints and frames alike."""
    layers = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in range(NUM_SUBSETS))
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        nn.init.zeros_(_bias(layer))
    return layers


def _channels_second(x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B C T J"]:
    """As layers of two dimensions expect it; nothing moves in memory."""
    return x.permute(0, 3, 1, 2)


def _channels_last(x: Float[Tensor, "B C T J"]) -> Float[Tensor, "B T J C"]:
    return x.permute(0, 2, 3, 1)


def _matrix(conv: nn.Module) -> Float[Tensor, "D C"]:
    """The weights of a layer that treats all joints and frames alike."""
    assert isinstance(conv, nn.Conv2d)
    return conv.weight.flatten(1)


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    return conv.bias


def skeleton_graph(joint_set: Skeleton) -> Float[Tensor, "K J J"]:
    """Graphs of each joint with itself, along links and against them; columns sum to 1 or 0.

    Links run from child to parent. On HumanEva's skeleton the released networks have those of the
    limbs the other way round.
    """
    links = torch.zeros(len(joint_set), len(joint_set))
    for child, parent in joint_set.bones:
        limb = joint_set.joints[child].startswith(("left_", "right_"))
        if joint_set.name == "humaneva15" and limb:
            links[child, parent] = 1
        else:
            links[parent, child] = 1
    along, against = (m / m.sum(0).clamp_min(1) for m in (links, links.T))
    return torch.stack([torch.eye(len(joint_set)), along, against])


def gla_gcn(*, joint_set: Skeleton | None = None, frames: int = 243, **options: Any) -> GLAGCN:
    """The network of the paper; joints are those of Human3.6M unless another set is given."""
    return GLAGCN(joint_set=joint_set or skeleton("h36m17"), frames=frames, **options)
