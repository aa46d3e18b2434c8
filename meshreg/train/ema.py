"""A moving average of a model's weights, which is usually better than the weights themselves."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average (EMA) of all weights and running statistics.

    Statistics of batches follow the weights that they were taken with: averaged weights beside the
    latest statistics can be far worse than either model. Counters are copied.

    The average starts as the weights themselves and, so that they are soon forgotten, decays by
    (1 + n) / (10 + n) at update n as long as that is less than `decay`.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        assert 0 <= decay <= 1, decay
        self.decay, self.updates = decay, 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present weights in."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        current = model.state_dict()
        averaged = [name for name, value in current.items() if value.is_floating_point()]
        averages = [self.weights[name] for name in averaged]
        torch._foreach_lerp_(averages, [current[name].detach() for name in averaged], 1 - decay)
        for name in current.keys() - averaged:
            self.weights[name].copy_(current[name])

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the averaged weights for a while."""
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        assert weights.keys() == self.weights.keys(), weights.keys() ^ self.weights.keys()
        for name, value in weights.items():
            self.weights[name].copy_(value)
        self.updates = updates
