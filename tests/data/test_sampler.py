from collections import Counter

import pytest
import torch
from lightning.fabric.utilities.data import _set_sampler_epoch
from scipy import stats
from torch.utils.data import DataLoader

from medimg.data.sampler import EpochSampler, ShardSampler

LABELS = [0] * 60 + [1] * 25 + [3] * 15


def order(seed, epoch, kind="shuffle", labels=LABELS, **place):
    sampler = EpochSampler(labels, seed, kind, **place)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("kind", ["shuffle", "balanced"])
def test_the_order_is_decided_by_seed_and_epoch_alone(kind):
    sampler = EpochSampler(LABELS, 1, kind)
    history = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        history.append(list(sampler))
    torch.rand(3)
    assert history == [order(1, epoch, kind) for epoch in range(4)]
    assert len({tuple(positions) for positions in [*history, order(2, 0, kind)]}) == 5


def test_a_resumed_epoch_goes_on_where_it_was_and_the_next_is_whole():
    sampler = EpochSampler(LABELS, 1, rank=1, world_size=3)
    sampler.start_at(4, 10)
    assert list(sampler) == order(1, 4, rank=1, world_size=3)[10:]
    assert list(sampler) == order(1, 4, rank=1, world_size=3)[10:]  # however often it is asked
    assert len(sampler) == 34  # an epoch's length is what it was
    sampler.set_epoch(5)
    assert list(sampler) == order(1, 5, rank=1, world_size=3)


def test_every_epoch_has_the_order_of_the_first_where_that_is_asked():
    sampler = EpochSampler(LABELS, 1, same_order=True)
    sampler.set_epoch(3)
    assert list(sampler) == order(1, 0)


def test_shuffling_takes_every_image_once():
    assert sorted(order(0, 0)) == list(range(100))
    assert order(0, 0) != list(range(100))


def test_every_image_comes_first_equally_often():
    firsts = Counter(order(0, epoch, labels=[0] * 8)[0] for epoch in range(1600))
    assert stats.chisquare([firsts[position] for position in range(8)]).pvalue > 0.001


def test_balanced_draws_classes_and_their_images_equally_often():
    drawn = Counter(position for epoch in range(200) for position in order(0, epoch, "balanced"))
    assert len(order(0, 0, "balanced")) == 100
    by_class = Counter()
    for position, times in drawn.items():
        by_class[LABELS[position]] += times
    assert stats.chisquare([by_class[label] for label in (0, 1, 3)]).pvalue > 0.001
    assert stats.chisquare([drawn[position] for position in range(85, 100)]).pvalue > 0.001


@pytest.mark.parametrize("kind", ["shuffle", "balanced"])
@pytest.mark.parametrize("world", [2, 3, 7])
def test_processes_get_equally_many_and_together_the_whole_order(kind, world):
    whole = order(5, 2, kind)
    shares = [order(5, 2, kind, rank=rank, world_size=world) for rank in range(world)]
    per_rank = -(-100 // world)
    assert [len(share) for share in shares] == [per_rank] * world
    dealt = [position for turn in zip(*shares, strict=True) for position in turn]
    assert dealt == (whole + whole)[: per_rank * world]


def test_more_processes_than_images():
    shares = [order(0, 0, labels=[0, 1], rank=rank, world_size=5) for rank in range(5)]
    assert [len(share) for share in shares] == [1] * 5
    assert {position for share in shares for position in share} == {0, 1}


@pytest.mark.parametrize("kind", ["shuffle", "balanced"])
def test_no_images(kind):
    sampler = EpochSampler([], 0, kind)
    assert len(sampler) == 0
    assert list(sampler) == []


def test_lightning_sets_the_epoch():
    loader = DataLoader(LABELS, batch_size=10, sampler=EpochSampler(LABELS, 0))
    _set_sampler_epoch(loader, 3)
    assert list(loader.sampler) == order(0, 3)


@pytest.mark.parametrize("n", [0, 1, 10, 12])
@pytest.mark.parametrize("world", [1, 3, 4])
def test_evaluation_doubles_and_loses_nothing(n, world):
    shards = [ShardSampler(n, rank, world) for rank in range(world)]
    assert all(len(list(shard)) == len(shard) for shard in shards)
    assert sorted(position for shard in shards for position in shard) == list(range(n))


def test_alone_evaluation_is_in_order():
    assert list(ShardSampler(4)) == [0, 1, 2, 3]
    assert list(ShardSampler(7, rank=1, world_size=3)) == [1, 4]


def test_the_place_comes_from_torch_distributed(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert list(ShardSampler(5)) == [1, 3]
    assert list(EpochSampler(LABELS, 0)) == order(0, 0, rank=1, world_size=2)


def test_an_impossible_place_is_refused():
    with pytest.raises(ValueError, match=r"rank 2 is not one of 0 \.\. 1"):
        ShardSampler(5, rank=2, world_size=2)
