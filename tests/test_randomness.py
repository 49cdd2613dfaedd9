import itertools

import numpy as np
import pytest
from scipy import stats

from medimg.randomness import Stream, derive_seed, uniform


def test_seeds_differ_for_different_keys_and_lengths():
    keys = [key for length in range(4) for key in itertools.product((0, 1, 2**32, 2**32 + 1), repeat=length)]
    assert len({derive_seed(*key) for key in keys}) == len(keys)


def test_a_seed_has_64_bits_and_stays_the_same():
    seeds = [derive_seed(0, number) for number in range(64)]
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert max(seeds) > 2**62
    # Written down: a change here changes every run.
    assert derive_seed(0) == 7434755675892716031
    assert derive_seed(2**40, 3, 7) == 11311103078454651435


def test_numpy_integers_are_keys_too():
    assert derive_seed(np.int64(3), Stream.NOISE) == derive_seed(3, 3)


@pytest.mark.parametrize("key", [-1, 2**64])
def test_keys_out_of_range_are_refused(key):
    with pytest.raises(ValueError, match="keys must lie in"):
        derive_seed(0, key)


def test_rows_do_not_depend_on_the_other_samples():
    together = uniform(5, 2, [7, 0, 123456], 6)
    assert together.shape == (3, 6)
    for row, sample in zip(together, [7, 0, 123456], strict=True):
        assert (uniform(5, 2, [sample], 6)[0] == row).all()


def test_more_columns_begin_with_the_same_numbers():
    assert (uniform(5, 2, [7], 9)[:, :4] == uniform(5, 2, [7], 4)).all()


def test_rows_differ_by_seed_epoch_and_sample():
    rows = [uniform(seed, epoch, [sample], 2) for seed in (0, 1) for epoch in (0, 1) for sample in (0, 1)]
    assert len(np.unique(np.concatenate(rows), axis=0)) == 8


def test_numbers_are_uniform_and_independent():
    numbers = uniform(0, 0, range(4000), 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 0.001
    across = np.corrcoef(np.column_stack([numbers[:-1], numbers[1:]]), rowvar=False)
    assert np.abs(across - np.eye(6)).max() < 0.06


def test_no_samples_give_no_rows():
    assert uniform(0, 0, [], 3).shape == (0, 3)


def test_global_generators_are_left_alone():
    before = np.random.get_state()[1].copy()
    uniform(0, 0, [1], 3)
    assert (np.random.get_state()[1] == before).all()


def test_numbers_stay_the_same():
    assert uniform(5, 2, [7], 2).tolist() == [[0.09003250738069146, 0.9789662942907987]]
