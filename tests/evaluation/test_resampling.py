import numpy as np
import pytest

from medimg.evaluation.by_unit import ByUnit
from medimg.evaluation.metrics import all_metrics
from medimg.evaluation.resampling import replicates, stratified_weights

STRATA = np.array([0, 0, 0, 1, 0, 1, 2, 0])


def weights(resamples=500, seed=0, at_a_time=500, strata=STRATA):
    return np.concatenate(list(stratified_weights(strata, resamples, seed, at_a_time)))


def test_every_stratum_keeps_its_weight():
    drawn = weights()
    for stratum in (0, 1, 2):
        own = stratum == STRATA
        assert drawn[:, own].sum(axis=1) == pytest.approx(own.sum())
    assert (drawn[:, STRATA == 2] == 1).all()
    assert drawn[:, STRATA == 0].std() > 0.5


def test_a_function_of_the_seed_alone():
    assert (weights(at_a_time=500) == weights(at_a_time=7)).all()
    assert (weights(seed=1) != weights(seed=2)).any()


def test_the_variance_of_a_mean_is_the_unbiased_one():
    values = np.random.default_rng(0).normal(size=6)
    means = weights(200_000, at_a_time=20_000, strata=np.zeros(6, dtype=int)) @ values / 6
    assert means.var() == pytest.approx(values.var(ddof=1) / 6, rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)


def test_replicates_are_the_metrics_of_resamples_that_are_written_out():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(24), rng.integers(1, 5, 24))
    labels = codes % 3
    logits = rng.normal(size=(len(codes), 3)) + 2 * np.eye(3)[labels]
    strata = np.arange(24) % 3
    by_unit = ByUnit.of(logits, labels, codes, "abc")
    found = replicates(by_unit, strata, resamples=30, seed=3)
    for number, weight in enumerate(weights(30, seed=3, strata=strata)):
        # Of 8 units in a stratum each draw counts 8 / 7; the metrics do not depend on the scale.
        times = np.rint(weight * 7 / 8).astype(int)
        rows = np.repeat(np.arange(len(codes)), times[codes])
        expected = all_metrics(logits[rows], labels[rows], "abc")
        assert {metric: values[number] for metric, values in found.items()} == pytest.approx(expected, nan_ok=True)
