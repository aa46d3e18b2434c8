"""People rendered inside the training loop: in order, without end, each by one worker only."""

from itertools import islice

import torch
from plain_people import BareBodies, plain_body, plain_people, plain_planner
from torch.utils.data import DataLoader

from meshreg.data.sample import Batch
from meshreg.data.synthetic.endless import SyntheticPeople


def first_indices(people: object, count: int) -> list[int]:
    return [int(i) for batch in islice(iter(people), count) for i in batch.index]


def test_batches_follow_each_other() -> None:
    people = plain_people()
    assert first_indices(people, 3) == list(range(12))
    later = SyntheticPeople(people.planner, people.generator, batch_size=3, start_index=100)
    assert first_indices(later, 2) == list(range(100, 106))


def test_a_sample_is_the_same_in_whatever_company() -> None:
    people = plain_people()
    alone, together = people.render([7])[0], people.render([9, 7, 3])[1]
    assert torch.equal(alone.image, together.image)
    torch.testing.assert_close(alone.joints_cam, together.joints_cam)


def test_ranks_take_turns() -> None:
    planner, generator = plain_planner(), BareBodies(plain_body())
    ranks = [
        SyntheticPeople(planner, generator, batch_size=2, rank=rank, world_size=2)
        for rank in range(2)
    ]
    assert [first_indices(people, 2) for people in ranks] == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_data_loaders_with_workers_see_each_sample_once() -> None:
    loader = DataLoader(plain_people(), batch_size=None, num_workers=2)
    batches: list[Batch] = list(islice(iter(loader), 4))
    assert sorted(int(i) for batch in batches for i in batch.index) == list(range(16))
