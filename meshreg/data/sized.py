"""Sources seen otherwise: at another size, or only their beginning."""

from collections.abc import Sequence
from dataclasses import dataclass

from meshreg.data.mixture import Source
from meshreg.data.resized import resized
from meshreg.data.sample import Batch


@dataclass(frozen=True)
class Sized:
    """A source's samples with pictures of another size."""

    source: Source
    size: int

    @property
    def count(self) -> int | None:
        return self.source.count

    def take(self, indices: Sequence[int]) -> Batch:
        return resized(self.source.take(indices), self.size)


@dataclass(frozen=True)
class First:
    """The first samples of a source."""

    source: Source
    most: int

    @property
    def count(self) -> int:
        known = self.source.count
        return self.most if known is None else min(self.most, known)

    def take(self, indices: Sequence[int]) -> Batch:
        return self.source.take(indices)
