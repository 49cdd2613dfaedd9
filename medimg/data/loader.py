"""Batches made ahead by a thread, so that training never waits for what is read from a cache."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from medimg.data.dataset import Batch

T = TypeVar("T")

_AHEAD = 2  # batches
_SMALL = 2**20  # bytes of a batch that is read in less time than a thread takes to hand it over


class AheadLoader(DataLoader[T]):
    """A DataLoader without worker processes that fetches, collates and pins its next batches in a thread.

    Gathering rows of a cache is a copy of memory, which releases Python's lock; processes would have to be started, and
    would send every batch through shared memory.
    """

    def __iter__(self) -> Any:
        """The batches in their order, which is asked for with the first; randomness is drawn when this is called."""
        return _ahead(super().__iter__())


def pays(features: Dataset[Batch], batch_size: int) -> bool:
    """Whether batches of these features are large enough to be made ahead."""
    if not len(features):  # type: ignore[arg-type]  # all of ours have a length
        return False
    one = features[0].features
    return one is not None and one.nbytes * batch_size > _SMALL


def _ahead(batches: Iterator[T]) -> Iterator[T]:
    with ThreadPoolExecutor(1, "batches") as thread:
        pending = deque(thread.submit(next, batches, None) for _ in range(_AHEAD))
        while (batch := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, batches, None))
            yield batch
