"""The order of images: a function of (seed, epoch) in training, and a plain share for each process in evaluation."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray
from torch.utils.data import Sampler

from medimg.randomness import Stream, derive_seed, uniform


class EpochSampler(Sampler[int]):
    """The positions of one training epoch, decided by (seed, epoch) and nothing else.

    `shuffle` takes every image once. `balanced` draws with replacement, every class equally often in expectation; an
    epoch stays as long as the split. With several processes all get equally many: the order is dealt out in turn, and
    where it does not come out even it begins again from its start.

    Args:
        labels: the class of each image of the dataset, in its order.
        seed: the training seed.
        kind: `shuffle` or `balanced`.
        same_order: for debugging: every epoch has the order of the first.
        rank: this process, from 0; by default what torch.distributed says, or 0.
        world_size: how many processes; by default what torch.distributed says, or 1.
    """

    def __init__(
        self,
        labels: Sequence[int],
        seed: int,
        kind: Literal["shuffle", "balanced"] = "shuffle",
        *,
        same_order: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.seed = seed
        self.kind = kind
        self.same_order = same_order
        self.rank, self.world_size = _place(rank, world_size)
        self.epoch = 0
        self._done = (0, 0)

    def start_at(self, epoch: int, done: int) -> None:
        """The first epoch of a resumed run, of which this process has had the first `done` positions already."""
        self.epoch = epoch
        self._done = (epoch, done)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of every epoch, the first after resuming included."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.world_size)

    def __iter__(self) -> Iterator[int]:
        order = np.resize(self._order(), len(self) * self.world_size)
        epoch, done = self._done
        return iter(order[self.rank :: self.world_size].tolist()[done if self.epoch == epoch else 0 :])

    def _order(self) -> NDArray[np.int64]:
        epoch = 0 if self.same_order else self.epoch
        which, member = uniform(derive_seed(self.seed, Stream.ORDER), epoch, (0, 1), len(self.labels))
        if self.kind == "shuffle" or not len(self.labels):
            return np.argsort(which, kind="stable").astype(np.int64)
        # Images grouped by class: draw a class, then one of its members.
        grouped = np.argsort(self.labels, kind="stable")
        _, start, count = np.unique(self.labels[grouped], return_index=True, return_counts=True)
        chosen = (which * len(count)).astype(np.int64)
        order: NDArray[np.int64] = grouped[start[chosen] + (member * count[chosen]).astype(np.int64)]
        return order


class ShardSampler(Sampler[int]):
    """Evaluation: every position of a dataset of `n` images exactly once over all processes; rank r takes r, r+W, ...

    Unlike torch's DistributedSampler it doubles no image to make the shares even: doubled images distort metrics.
    """

    def __init__(self, n: int, rank: int | None = None, world_size: int | None = None) -> None:
        rank, world_size = _place(rank, world_size)
        self.positions = range(rank, n, world_size)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Which process this is, of how many."""
    distributed = dist.is_available() and dist.is_initialized()
    if rank is None:
        rank = dist.get_rank() if distributed else 0
    if world_size is None:
        world_size = dist.get_world_size() if distributed else 1
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not one of 0 .. {world_size - 1}")
    return rank, world_size
