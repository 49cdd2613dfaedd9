"""Batches fetched ahead by a thread: the same in the same order, and nothing hangs where it ends early."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medimg.data.dataset import Batch
from medimg.data.loader import AheadLoader, pays
from medimg.data.sampler import EpochSampler


class Numbers(Dataset[int]):
    """Its own positions; notes which were asked for, and by which thread."""

    def __init__(self, length: int, broken: int | None = None) -> None:
        self.length, self.broken = length, broken
        self.asked: list[int] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> int:
        self.asked.append(number)
        self.threads.add(threading.current_thread().name)
        if number == self.broken:
            raise LookupError(f"number {number}")
        return number


def listed(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


def ahead_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 40])
def test_the_batches_of_a_plain_loader(length: int) -> None:
    options: dict[str, Any] = {"batch_size": 4, "sampler": EpochSampler([0] * length, seed=3)}
    plain = listed(DataLoader(Numbers(length), **options))
    loader: AheadLoader[Tensor] = AheadLoader(Numbers(length), **options)
    assert listed(loader) == plain
    assert listed(loader) == plain, "a second time, too"
    assert len(loader) == len(plain)
    assert sum(map(len, plain)) == length


def test_batches_are_made_by_one_other_thread_and_ahead() -> None:
    numbers = Numbers(40)
    loader: AheadLoader[Tensor] = AheadLoader(numbers, batch_size=4)
    batches = iter(loader)
    next(batches)
    end = time.monotonic() + 20
    while len(numbers.asked) < 12 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(0.02)
    assert numbers.asked == list(range(12)), "the one that was given, and two"
    list(batches)
    assert threading.current_thread().name not in numbers.threads
    assert len(numbers.threads) == 1
    assert not ahead_threads()


@pytest.mark.parametrize("broken", [0, 5, 19])
def test_an_exception_comes_in_its_place(broken: int) -> None:
    loader: AheadLoader[Tensor] = AheadLoader(Numbers(20, broken), batch_size=4)
    batches = iter(loader)
    seen = [next(batches).tolist() for _ in range(broken // 4)]
    assert seen == [list(range(first, first + 4)) for first in range(0, broken // 4 * 4, 4)]
    with pytest.raises(LookupError, match=f"number {broken}"):
        next(batches)
    assert not ahead_threads()


def test_who_stops_early_waits_for_no_more_than_what_has_begun() -> None:
    for stop in (0, 1, 3):
        numbers = Numbers(400)
        loader: AheadLoader[Tensor] = AheadLoader(numbers, batch_size=4)
        batches = iter(loader)
        for _ in range(stop):
            next(batches)
        del batches
        assert not ahead_threads()
        assert len(numbers.asked) <= 4 * (stop + 2)


def test_a_process_ends_though_an_epoch_has_not() -> None:
    program = """
import torch
from medimg.data.loader import AheadLoader
batches = iter(AheadLoader(range(100), batch_size=2))
print(next(batches).tolist(), flush=True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[0, 1]\n"


class Noted(EpochSampler):
    """Notes the epochs in which it was asked for its order."""

    def __init__(self, labels: Sequence[int], seed: int) -> None:
        super().__init__(labels, seed)
        self.epochs: list[int] = []

    def __iter__(self) -> Iterator[int]:
        self.epochs.append(self.epoch)
        return super().__iter__()


def test_the_order_is_asked_for_with_the_first_batch() -> None:
    """Lightning tells the sampler its epoch between making the iterator and asking it."""
    sampler = Noted([0] * 12, seed=1)
    loader: AheadLoader[Tensor] = AheadLoader(Numbers(12), batch_size=4, sampler=sampler)
    batches = iter(loader)
    assert sampler.epochs == []
    sampler.set_epoch(3)
    found = [number for batch in batches for number in batch.tolist()]
    assert sampler.epochs == [3]
    expected = EpochSampler([0] * 12, seed=1)
    expected.set_epoch(3)
    assert found == list(expected)


def test_a_resumed_epoch_begins_where_it_was_left() -> None:
    sampler = EpochSampler([0] * 12, seed=1)
    loader: AheadLoader[Tensor] = AheadLoader(Numbers(12), batch_size=4, sampler=sampler)
    sampler.set_epoch(2)
    whole = listed(loader)
    sampler.start_at(2, 8)
    assert listed(loader) == whole[2:]
    sampler.set_epoch(3)
    assert sum(map(len, listed(loader))) == 12


def test_no_randomness_is_drawn_by_the_thread() -> None:
    """It would race with dropout for the generator's state."""
    torch.manual_seed(5)
    loader: AheadLoader[Tensor] = AheadLoader(Numbers(40), batch_size=4)
    batches = iter(loader)
    state = torch.get_rng_state()
    list(batches)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("number", "width", "expected"), [(3, 1280, False), (3, 25088, True), (0, 25088, False)])
def test_small_batches_of_features_are_not_worth_a_thread(number: int, width: int, expected: bool) -> None:
    empty = torch.empty(0)
    rows: Any = [Batch(empty, empty, empty, features=torch.zeros(1, width))] * number
    assert pays(rows, batch_size=32) is expected
