"""Resamples of units within strata, as weights; which ones is a function of the seed alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.by_unit import ByUnit
from medimg.evaluation.counts import Floats

_CELLS = 100_000  # of a resamples-by-images table at a time: 800 kB; more than fits into a cache takes longer


def stratified_weights(strata: NDArray[np.integer[Any]], resamples: int, seed: int, at_a_time: int) -> Iterator[Floats]:
    """How much each unit counts in each resample: float64 [R, U] with R up to `at_a_time`, until all were given.

    From a stratum of n units n - 1 are drawn with replacement, and each draw counts n / (n - 1): so the variance of a
    mean over resamples is the unbiased one, where n draws give (n - 1) / n of it (Rao and Wu 1988,
    doi:10.1080/01621459.1988.10478591). The only unit of a stratum always counts 1.

    Args:
        strata: int [U], the stratum of each unit.
        resamples: how many.
        seed: the same seed gives the same resamples, whatever `at_a_time` is.
        at_a_time: how many to hold in memory.
    """
    members = [np.flatnonzero(strata == number) for number in range(int(strata.max(initial=-1)) + 1)]
    generators = [np.random.default_rng([seed, number]) for number in range(len(members))]
    for start in range(0, resamples, at_a_time):
        weights = np.ones((min(at_a_time, resamples - start), len(strata)))
        for own, generator in zip(members, generators, strict=True):
            if len(own) > 1:
                weights[:, own] = _drawn(generator, len(weights), len(own))
        yield weights


def replicates(by_unit: ByUnit, strata: NDArray[np.integer[Any]], *, resamples: int, seed: int) -> dict[str, Floats]:
    """Every metric of every resample: [resamples] each, NaN where a metric is not defined."""
    batch = at_a_time(by_unit)
    parts = [by_unit.metrics(weights) for weights in stratified_weights(strata, resamples, seed, batch)]
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def at_a_time(by_unit: ByUnit) -> int:
    """How many resamples to evaluate at once: so many that what is computed on the way stays in the cache."""
    return max(1, _CELLS // max(len(by_unit.counts.hits), by_unit.rows))


def _drawn(generator: np.random.Generator, rows: int, units: int) -> Floats:
    draws = generator.integers(0, units, (rows, units - 1)) + np.arange(rows)[:, None] * units
    times = np.bincount(draws.ravel(), minlength=rows * units).reshape(rows, units)
    return times.astype(np.float64) * (units / (units - 1))
