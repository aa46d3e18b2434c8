"""Sum gradients that several CPU threads add to at the same time."""

import torch
from torch import Tensor


class ThreadSums:
    """One gradient buffer per thread: additions of two CPU threads to one number could collide."""

    def __init__(self, shape: torch.Size, like: Tensor, shared: bool) -> None:
        self.total = like.new_zeros(shape)
        self.shared = shared  # one set of values for all images
        self.taken = 0  # images up to here are written to `total` itself
        self.parts: list[tuple[slice, Tensor]] = []

    def part(self, begin: int, stop: int) -> Tensor:
        """A zero buffer for the images begin..stop, to be filled by one thread.

        Parts must be asked for in the order of their images.
        """
        images = slice(0, 1) if self.shared else slice(begin, stop)
        if images.start >= self.taken:
            self.taken = images.stop
            return self.total[images]
        buffer = torch.zeros_like(self.total[images])
        self.parts.append((images, buffer))
        self.taken = max(self.taken, images.stop)
        return buffer

    def sum(self) -> Tensor:
        for images, buffer in self.parts:
            self.total[images] += buffer
        return self.total
