"""A small source kept in memory: made once, then there at once."""

from collections.abc import Sequence
from dataclasses import fields, replace

from meshreg.data.mixture import Source
from meshreg.data.sample import Batch, Sample


class Remembered:
    """All samples of a source with an end, taken when the first is asked for."""

    def __init__(self, source: Source) -> None:
        assert source.count is not None, "an endless source cannot be remembered"
        self.source, self.count = source, source.count
        self._all: Batch | None = None

    def take(self, indices: Sequence[int]) -> Batch:
        """These samples."""
        if self._all is None:
            self._all = self.source.take(range(self.count))
        whole, rows = self._all, list(indices)
        return replace(whole, **{f.name: getattr(whole, f.name)[rows] for f in fields(Sample)})
