"""Parts that the lifters share: attention, small networks, dropped paths, choice of an axis."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from meshreg.errors import InputError
from meshreg.lifters.attention import attend, split_heads
from meshreg.lifters.linear import Linear


class DropPath(nn.Module):
    """While training, leaves out a branch for some samples and makes up for it in the others."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"drop_path cannot be {rate}: choose a rate from 0 to below 1.")
        self.rate = rate

    def forward(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "B *rest"]:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)


class MLP(nn.Module):
    """Two linear layers with a GELU between them, on every token by itself."""

    def __init__(self, width: int, hidden: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(width, hidden)
        self.fc2 = Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))


class Attention(nn.Module):
    """Every token looks at all tokens of its sample."""

    def __init__(self, width: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        _check_heads(width, num_heads)
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        query, key, value = (split_heads(part, self.num_heads) for part in self.qkv(x).chunk(3, -1))
        return self.dropout(self.proj(attend(query, key, value)))


class CrossAttention(nn.Module):
    """Every query looks at all keys of its sample and takes home a mixture of their values."""

    def __init__(self, width: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        _check_heads(width, num_heads)
        self.num_heads = num_heads
        self.linear_q = Linear(width, width)
        self.linear_k = Linear(width, width)
        self.linear_v = Linear(width, width)
        self.proj = Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Float[Tensor, "B Q D"],
        key: Float[Tensor, "B N D"],
        value: Float[Tensor, "B N D"],
    ) -> Float[Tensor, "B Q D"]:
        mixed = attend(
            split_heads(self.linear_q(query), self.num_heads),
            split_heads(self.linear_k(key), self.num_heads),
            split_heads(self.linear_v(value), self.num_heads),
        )
        return self.dropout(self.proj(mixed))


class Block(nn.Module):
    """Attention, then a small network on each token, both as corrections of normalised tokens."""

    def __init__(
        self,
        width: int,
        hidden: int,
        num_heads: int,
        *,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, num_heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, hidden, dropout=dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def among_joints(block: nn.Module, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B T N D"]:
    """A network applied to the joints of every frame, one frame at a time."""
    return block(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def among_frames(block: nn.Module, x: Float[Tensor, "B T J C"]) -> Float[Tensor, "B S J D"]:
    """A network applied to the frames of every joint, one joint at a time."""
    return among_joints(block, x.transpose(1, 2)).transpose(1, 2)


def _check_heads(width: int, num_heads: int) -> None:
    if num_heads < 1 or width % num_heads:
        raise InputError(
            f"{num_heads} heads cannot share {width} channels equally: choose a number that "
            f"divides {width}."
        )


def rising(highest: float, count: int) -> list[float]:
    """Rates from zero to `highest` in even steps, so that later blocks drop out more often."""
    return [highest * index / max(count - 1, 1) for index in range(count)]
