"""KTPFormer: the trunk of MixSTE behind priors of skeleton and time (Peng et al. 2024).

Before the first attention among joints, a graph convolution along the bones of the skeleton mixes
them; before the first among frames, two along the chain of time. Both graphs can be corrected while
training.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshreg.body.skeleton import Skeleton, skeleton
from meshreg.lifters.blocks import Block, rising
from meshreg.lifters.linear import linear
from meshreg.lifters.mixste import NUM_HEADS, TRUNK_NAMES, SpaceTimeTrunk, pose_head
from meshreg.lifters.staged import StagedLifter

_SMALL = 1e-6  # the learned correction of a graph at the start of training
_GAIN = 1.414

# Names in released files, as regular expressions, and what the same layers are called here.
RELEASED_NAMES = (
    *TRUNK_NAMES,
    (r"^kpattention\.attn\.kpa\.", "kinematic.prior."),
    (r"^tpattention\.attn\.tpa\.gconv1\.", "trajectory.prior.first."),
    (r"^tpattention\.attn\.tpa\.gconv2\.", "trajectory.prior.second."),
    (r"^kpattention\.attn\.Spatial_pos_embed$", "kinematic.places"),
    (r"^tpattention\.attn\.Temporal_pos_embed$", "trajectory.places"),
    (r"^kpattention\.attn\.norm1\.", "kinematic.block.norm1."),
    (r"^tpattention\.attn\.norm1\.", "trajectory.block.norm1."),
    (r"^kpattention\.", "kinematic.block."),
    (r"^tpattention\.", "trajectory.block."),
    (r"\.gconv\.W$", ".graph.weight"),
    (r"\.gconv\.M$", ".graph.modulation"),
    (r"\.gconv\.adj2$", ".graph.correction"),
    (r"\.gconv\.bias$", ".graph.bias"),
    (r"\.bn\.", ".norm."),
)


class KTPFormer(StagedLifter):
    """Lifts a clip of 2D joints to the 3D poses of all its frames."""

    def __init__(
        self,
        *,
        kinematic: "PriorBlock",
        trajectory: "PriorBlock",
        trunk: SpaceTimeTrunk,
        width: int,
        in_channels: int = 2,
    ) -> None:
        super().__init__(
            frames=trajectory.places.shape[1],
            num_joints=kinematic.places.shape[1],
            in_channels=in_channels,
            width=width,
        )
        self.kinematic, self.trajectory = kinematic, trajectory
        self.trunk = trunk
        self.head = pose_head(width)

    @property
    def num_layers(self) -> int:
        return len(self.trunk)

    def embed(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T J D"]:
        tokens = self.trunk.across_joints(self.kinematic, x)
        return self.trunk.across_frames(self.trajectory, tokens)

    def layer(self, index: int, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J D"]:
        tokens = self.trunk.across_joints(self.trunk.spatial[index], tokens)
        return self.trunk.across_frames(self.trunk.temporal[index], tokens)

    def regress(self, tokens: Float[Tensor, "B T J D"]) -> Float[Tensor, "B T J 3"]:
        return self.head(tokens)


class PriorBlock(nn.Module):
    """A transformer block whose tokens are first mixed along a graph, then told their places."""

    def __init__(self, *, prior: nn.Module, num_nodes: int, width: int, block: Block) -> None:
        super().__init__()
        self.prior = prior
        self.places = nn.Parameter(torch.zeros(1, num_nodes, width))
        self.block = block
        self.block.norm1 = nn.LayerNorm(width)  # the released networks keep torch's epsilon here

    def forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N D"]:
        return self.block(self.prior(x) + self.places)


class GraphPrior(nn.Module):
    """A graph convolution, normalised over the batch, that lets only positive values through."""

    def __init__(self, in_width: int, width: int, *, graph: Float[Tensor, "N N"]) -> None:
        super().__init__()
        self.graph = GraphConv(in_width, width, graph=graph)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N D"]:
        return self.norm(self.graph(x).flatten(0, 1)).unflatten(0, x.shape[:2]).relu()


class StackedPrior(nn.Module):
    """Two graph priors in a row, as a correction."""

    def __init__(self, width: int, *, graph: Float[Tensor, "N N"]) -> None:
        super().__init__()
        self.first = GraphPrior(width, width, graph=graph)
        self.second = GraphPrior(width, width, graph=graph)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return x + self.second(self.first(x))


class GraphConv(nn.Module):
    """Mixes nodes along a graph that training may correct; a node has other weights for itself."""

    graph: Tensor  # (N, N)

    def __init__(self, in_width: int, width: int, *, graph: Float[Tensor, "N N"]) -> None:
        super().__init__()
        self.register_buffer("graph", graph.clone(), persistent=False)  # released files lack it
        self.correction = nn.Parameter(torch.full_like(graph, _SMALL))
        self.weight = nn.Parameter(torch.empty(2, in_width, width))  # of a node itself, of others
        self.modulation = nn.Parameter(torch.ones(len(graph), width))
        self.bias = nn.Parameter(torch.empty(width))
        nn.init.xavier_uniform_(self.weight, gain=_GAIN)
        nn.init.uniform_(self.bias, -(width**-0.5), width**-0.5)

    def forward(self, x: Float[Tensor, "B N C"]) -> Float[Tensor, "B N D"]:
        links = self.graph + self.correction
        links = (links + links.T) / 2
        own = links.diagonal()
        both = linear(x, self.weight.transpose(1, 2).flatten(0, 1), None)
        to_self, to_others = (self.modulation * part for part in both.chunk(2, -1))
        return own[:, None] * to_self + (links - own.diag()) @ to_others + self.bias


def tree_graph(parents: tuple[int, ...]) -> Float[Tensor, "N N"]:
    """Each node's share of its neighbours in a tree, which sum to one, and one of the node itself.

    `parents` is -1 for the root.
    """
    links = torch.zeros(len(parents), len(parents))
    for child, parent in enumerate(parents):
        if parent >= 0:
            links[child, parent] = links[parent, child] = 1
    links = links / links.sum(1, keepdim=True).clamp_min(1)
    return links.fill_diagonal_(1)


def ktpformer(
    *,
    frames: int = 243,
    joint_set: Skeleton | None = None,
    in_channels: int = 2,
    width: int = 512,
    hidden: int = 1024,
    depth: int = 7,
    num_heads: int = NUM_HEADS,
    drop_path: float = 0.1,
) -> KTPFormer:
    """The network of the paper; joints are those of Human3.6M unless another set is given."""
    bones = tree_graph((joint_set or skeleton("h36m17")).parents)
    chain = tree_graph(tuple(range(-1, frames - 1)))

    def prior_block(prior: nn.Module, num_nodes: int) -> PriorBlock:
        block = Block(width, hidden, num_heads)
        return PriorBlock(prior=prior, num_nodes=num_nodes, width=width, block=block)

    trunk = SpaceTimeTrunk(
        width=width,
        hidden=hidden,
        num_heads=num_heads,
        drop_path_rates=rising(drop_path, depth + 1)[1:],  # the first is that of the priors, zero
    )
    return KTPFormer(
        kinematic=prior_block(GraphPrior(in_channels, width, graph=bones), len(bones)),
        trajectory=prior_block(StackedPrior(width, graph=chain), frames),
        trunk=trunk,
        width=width,
        in_channels=in_channels,
    )
