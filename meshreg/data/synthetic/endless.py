"""Synthetic people rendered inside the training loop: an endless data set without files."""

from collections.abc import Iterator, Sequence

from torch.utils.data import IterableDataset, get_worker_info

from meshreg.data.sample import Batch
from meshreg.data.synthetic.scene import Generator, Planner


class SyntheticPeople(IterableDataset[Batch]):
    """Batches of samples `start_index`, `start_index + 1`, ... of the planner's seed, for ever.

    It yields whole batches: give it to a `DataLoader` with `batch_size=None`, or iterate over it.
    Workers and ranks take turns, so that no sample comes twice.
    """

    def __init__(  # noqa: PLR0913
        self,
        planner: Planner,
        generator: Generator,
        *,
        batch_size: int,
        start_index: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        assert batch_size > 0, batch_size
        assert 0 <= rank < world_size, (rank, world_size)
        self.planner, self.generator = planner, generator
        self.batch_size, self.start_index = batch_size, start_index
        self.rank, self.world_size = rank, world_size

    def render(self, indices: Sequence[int]) -> Batch:
        """These samples as one batch."""
        return self.generator.render([self.planner.plan(index) for index in indices])

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        turns = self.world_size * (worker.num_workers if worker else 1)
        turn = self.rank + self.world_size * (worker.id if worker else 0)
        while True:
            first = self.start_index + turn * self.batch_size
            yield self.render(range(first, first + self.batch_size))
            turn += turns
