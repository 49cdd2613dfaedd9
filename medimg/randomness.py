"""Randomness without state: numbers made from (seed, epoch, step, sample) alone, never from what was drawn before."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

_WORD = 2**32


class Stream(IntEnum):
    """What numbers are drawn for: a key that keeps the draws of one purpose apart from those of another."""

    STEP = 0
    ORDER = 1
    AUGMENT = 2
    NOISE = 3
    VIEWS = 4


def derive_seed(*keys: int) -> int:
    """A 64-bit seed from any number of keys, each in 0 .. 2**64-1; (0,), (0, 0) and (1, 0) give different seeds.

    NumPy promises that SeedSequence answers alike on every machine and in every version.
    """
    if any(not 0 <= key < _WORD**2 for key in keys):
        raise ValueError(f"keys must lie in 0 .. 2**64-1, found {keys}")
    # Alone, SeedSequence takes [1] and [1, 0] for the same: the number of keys and two words for each tell them apart.
    words = [len(keys), *(word for key in keys for word in divmod(int(key), _WORD))]
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])


def uniform(seed: int, epoch: int, samples: Sequence[int], n: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), float64 [len(samples), n]: a row for each sample, whatever the other samples are.

    Drawn by the counter-based generator Philox (Salmon et al., 2011), whose raw stream NumPy keeps the same in all
    versions; (seed, epoch) is the key and the sample is part of the counter.
    """
    key = derive_seed(seed, epoch)
    rows = [np.random.Philox(key=key, counter=[0, int(sample), 0, 0]).random_raw(n) for sample in samples]
    raw = np.array(rows, dtype=np.uint64).reshape(len(rows), n)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
