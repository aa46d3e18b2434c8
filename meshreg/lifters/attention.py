"""What queries take home from keys and values, by whichever way is fastest where they are.

A GPU and long clips want the fused operator. On a processor, the few joints of a frame are done
sooner by two plain matrix products, and so is everything in half precision: the fused operator
computes in single precision inside, and its bfloat16 derivative takes many times as long.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_FEW = 32  # up to so many keys, plain products win in single precision
_NARROW = 32  # below so many channels, small products in half precision lose against single


def split_heads(x: Float[Tensor, "B N D"], num_heads: int) -> Float[Tensor, "B H N d"]:
    """Each head's share of the channels."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attend(
    query: Float[Tensor, "B H Q d"], key: Float[Tensor, "B H N d"], value: Float[Tensor, "B H N d"]
) -> Float[Tensor, "B Q D"]:
    """Values mixed as queries compare with keys, the heads side by side again."""
    if query.device.type != "cpu":
        mixed = F.scaled_dot_product_attention(query, key, value)
    else:
        with torch.autocast("cpu", enabled=False):  # the choice of precision is made here
            mixed = _on_processor(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def _on_processor(
    query: Float[Tensor, "B H Q d"], key: Float[Tensor, "B H N d"], value: Float[Tensor, "B H N d"]
) -> Float[Tensor, "B H Q d"]:
    is_half = query.dtype == torch.bfloat16
    if is_half and query.shape[-1] < _NARROW:
        single = (_whole(x, torch.float32) for x in (query, key, value))
        return _on_processor(*single).to(query.dtype)
    if is_half or key.shape[-2] <= _FEW:
        return _plain(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def _whole(x: Float[Tensor, "B H N d"], dtype: torch.dtype) -> Float[Tensor, "B H N d"]:
    """Cast and laid out one matrix after the other at once, as the products would do next."""
    return x.to(dtype, memory_format=torch.contiguous_format)


def _plain(
    query: Float[Tensor, "B H Q d"], key: Float[Tensor, "B H N d"], value: Float[Tensor, "B H N d"]
) -> Float[Tensor, "B H Q d"]:
    # Scaled afterwards, as in released code: frames that nearly tie are then chosen as there.
    scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
    return scores.softmax(-1) @ value
