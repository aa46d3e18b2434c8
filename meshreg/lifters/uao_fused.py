"""UAO's lifter for prediction, the same function with about three quarters of the arithmetic.

Layers without an activation between them become one; norms' constants move into the layer after
them. Joints mix by four matrices, one for each relation, but most relations reach only some joints,
and a joint and its twin share the work: (A+B)(l+r)/2 and (A-B)(l-r)/2 give both A l + B r and
A r + B l. Joints are the first axis throughout, so that everything is a product of two matrices.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.geometry.windows import middle
from meshreg.lifters.staged import check_clip
from meshreg.lifters.uao import EPS, Block, GraphMLP, Head, SkeletonMix, UncertainPoses, UShape


def fused(network: nn.Module) -> nn.Module:
    """The faster twin of a lifter, if it has one; else the lifter itself."""
    return FusedGraphMLP(network) if isinstance(network, GraphMLP) else network


class FusedGraphMLP(nn.Module):
    """A `GraphMLP` that cannot be trained; its outputs agree up to rounding."""

    predicts = "centre"
    embed: Tensor
    start: Tensor
    heads: Tensor
    last: Tensor

    def __init__(self, network: GraphMLP) -> None:
        super().__init__()
        self.frames, self.num_joints = network.frames, network.num_joints
        self.in_channels = network.in_channels
        with torch.no_grad():
            first, second = (_linear(layer) for layer in network.embed)
            weight, bias = _chained(first, second)
            pose, scale = (_head(head) for head in (network.pose_head, network.scale_head))
            self.register_buffer("embed", weight)
            self.register_buffer("start", bias)
            self.register_buffer("heads", torch.cat([pose[0], scale[0]]))
            self.register_buffer("last", torch.cat([pose[1], scale[1]]))
            blocks: list[Any] = list(network.blocks)
            self.blocks = nn.ModuleList(FusedBlock(block) for block in blocks)
        self.eval()

    def forward(self, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B 1 J 3"]:
        """The pose of the middle frame, metres from the root joint.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        return self.uncertain(x).poses

    def uncertain(self, x: Float[Tensor, "B T J 2"]) -> UncertainPoses:
        """The pose of the middle frame and how far off each joint of it may be.

        Raises:
            InputError: if the clip has other frames, joints or channels than the network.
        """
        check_clip(x, frames=self.frames, num_joints=self.num_joints, in_channels=self.in_channels)
        y = F.linear(x[:, middle(self.frames)].transpose(0, 1), self.embed, self.start)
        for block in self.blocks:
            y = block(y)
        normed = F.layer_norm(y, y.shape[-1:], eps=EPS)
        said = F.linear(normed, self.heads, self.last).transpose(0, 1)
        return UncertainPoses(poses=said[:, None, :, :3], log_scale=said[:, None, :, 3])


class FusedBlock(nn.Module):
    """A block of the lifter on joints (J, B, D)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.graph = FusedMix(block.graph, block.graph_norm)
        self.channels = _Layers(block.channels, _normed(block.channels, block.channel_norm))
        weight, bias = _normed(block.joints, block.joint_norm)
        centred = weight - weight.mean(1, keepdim=True)
        self.joints = _Layers(block.joints, (centred, bias))

    def forward(self, x: Float[Tensor, "J B D"]) -> Float[Tensor, "J B D"]:
        x = x + self.graph(x)
        channels = self.channels.run(F.layer_norm(x, x.shape[-1:], eps=EPS))
        return x + channels + self.joints.run_on_first_axis(x, _spread(x))


class FusedMix(nn.Module):
    """A `SkeletonMix` and the norm before it, without products that are zero or come twice."""

    gather: Tensor
    gather_bias: Tensor
    spread: Tensor
    bias: Tensor

    def __init__(self, graph: SkeletonMix, norm: nn.Module) -> None:
        super().__init__()
        count = graph.gather.shape[1]
        planes = graph.gather.view(count, -1, count).permute(1, 2, 0)
        width = graph.mix.in_channels
        own, farther, nearer, twin = graph.mix.weight.view(-1, width, width)
        groups = [
            *zip((own + twin, own - twin, own), _twins(planes[0], planes[3]), strict=True),
            (farther, _fewest(planes[1])),
            (nearer, _fewest(planes[2])),
        ]
        groups = [group for group in groups if len(group[1][0])]
        self.weights = nn.ParameterList(
            nn.Parameter(weight.clone(), requires_grad=False) for weight, _ in groups
        )
        self.sizes = [len(rows) for _, (rows, _) in groups]
        gather = torch.cat([rows for _, (rows, _) in groups])
        scale, shift = _affine(norm)
        scaled = gather * scale
        self.register_buffer("gather", scaled - scaled.mean(1, keepdim=True))
        self.register_buffer("gather_bias", (gather @ shift)[:, None, None])
        self.register_buffer("spread", torch.cat([columns for _, (_, columns) in groups], 1))
        self.register_buffer("bias", graph.merged()[1][:, None])

    def forward(self, x: Float[Tensor, "J B D"]) -> Float[Tensor, "J B D"]:
        gathered = _mixed(self.gather, x) * _spread(x) + self.gather_bias
        parts = gathered.split(self.sizes)
        done = [F.linear(part, w) for part, w in zip(parts, self.weights, strict=True)]
        return _mixed(self.spread, torch.cat(done)) + self.bias


class _Layers(nn.Module):
    """A `UShape` whose first layer has taken in the norm before it."""

    def __init__(self, shape: UShape, first: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        rest = [_linear(layer) for layer in [*shape.into[1:], shape.middle, *shape.out]]
        pairs = [first, *rest]
        self.weights = nn.ParameterList(nn.Parameter(w.clone(), False) for w, _ in pairs)
        self.biases = nn.ParameterList(nn.Parameter(b.clone(), False) for _, b in pairs)
        self.middle = len(shape.into)

    def run(self, x: Float[Tensor, "J B D"]) -> Float[Tensor, "J B D"]:
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            y = F.gelu(F.linear(x, weight, bias))
            x = x + y if place == self.middle else y
        return x

    def run_on_first_axis(
        self, x: Float[Tensor, "J B D"], scale: Float[Tensor, "B D"]
    ) -> Float[Tensor, "J B D"]:
        """The layers between joints; `scale` is what the norm divides by, one over it."""
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            mixed = _mixed(weight, x)
            y = F.gelu((mixed * scale if place == 0 else mixed) + bias[:, None, None])
            x = x + y if place == self.middle else y
        return x


def _mixed(matrix: Float[Tensor, "N J"], x: Float[Tensor, "J B D"]) -> Float[Tensor, "N B D"]:
    """Sums over the first axis."""
    return (matrix @ x.flatten(1)).unflatten(1, x.shape[1:])


def _spread(x: Float[Tensor, "J B D"]) -> Float[Tensor, "B D"]:
    """One over the standard deviation between joints; `var` along a first axis is slow."""
    return ((x - x.mean(0)).square().mean(0) + EPS).rsqrt()


def _twins(
    own: Float[Tensor, "J J"], twin: Float[Tensor, "J J"]
) -> list[tuple[Float[Tensor, "_ J"], Float[Tensor, "J _"]]]:
    """Sums and differences of twins, then joints without one: what to gather, where to put it."""
    count, share = len(own), own.diagonal()
    eye = torch.eye(count).to(own)
    pairs = [(i, int(twin[i].argmax())) for i in range(count) if twin[i].any()]
    pairs = [(i, j) for i, j in pairs if i < j]
    single = [i for i in range(count) if not twin[i].any()]
    found = []
    for sign in (1, -1):
        rows = [(eye[i] + sign * eye[j]) / 2 for i, j in pairs]
        columns = [share[i] * eye[i] + sign * share[j] * eye[j] for i, j in pairs]
        found.append(_stacked(rows, columns, eye))
    alone = _stacked([eye[i] for i in single], [share[i] * eye[i] for i in single], eye)
    return [*found, alone]


def _fewest(
    plane: Float[Tensor, "J J"],
) -> tuple[Float[Tensor, "_ J"], Float[Tensor, "J _"]]:
    """A relation by way of the joints that give, or of those that take, whichever are fewer."""
    eye = torch.eye(len(plane)).to(plane)
    takers = [k for k in range(len(plane)) if plane[:, k].any()]
    givers = [k for k in range(len(plane)) if plane[k].any()]
    if len(takers) < len(givers):
        return _stacked([plane[:, k] for k in takers], [eye[k] for k in takers], eye)
    return _stacked([eye[k] for k in givers], [plane[k] for k in givers], eye)


def _stacked(
    rows: list[Tensor], columns: list[Tensor], eye: Float[Tensor, "J J"]
) -> tuple[Float[Tensor, "_ J"], Float[Tensor, "J _"]]:
    if not rows:
        return eye[:0], eye[:, :0]
    return torch.stack(rows), torch.stack(columns, 1)


def _linear(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    return norm.weight, norm.bias


def _chained(
    first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "E C"], Float[Tensor, " E"]]:
    """Two linear layers, one after the other, as one."""
    return second[0] @ first[0], second[0] @ first[1] + second[1]


def _normed(shape: UShape, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """The first layer with the scales and shifts of the norm before it."""
    (weight, bias), (scale, shift) = _linear(shape.into[0]), _affine(norm)
    return weight * scale, bias + weight @ shift


def _head(head: Head) -> tuple[Tensor, Tensor]:
    """A head's two layers and its norm's constants as one layer."""
    scale, shift = _affine(head.norm)
    weight, bias = _chained(_linear(head.inner), _linear(head.outer))
    return weight * scale, bias + weight @ shift
