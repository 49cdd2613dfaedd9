import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from medimg.evaluation.proportions import clustered_share, effective_number, freedom, on_logit_scale, wilson

NORMAL = 1.959963984540054


@pytest.mark.parametrize(("hits", "number"), [(0, 10), (3, 10), (10, 10), (499, 500), (1, 2)])
def test_wilson(hits, number):
    expected = binomtest(hits, number).proportion_ci(0.95, "wilson")
    assert wilson(hits / number, number, NORMAL) == pytest.approx((expected.low, expected.high))


def test_the_effective_number_undoes_the_design_effect():
    assert effective_number(0.3, 0.3 * 0.7 / 50) == pytest.approx(50)
    assert effective_number(0.3, 2 * 0.3 * 0.7 / 50) == pytest.approx(25)


def test_on_the_logit_scale():
    low, high = on_logit_scale(0.95, 0.02**2, 2.0)
    half = 2 * 0.02 / (0.95 * 0.05)
    assert (low, high) == pytest.approx((expit(logit(0.95) - half), expit(logit(0.95) + half)))
    assert on_logit_scale(1 - 1e-12, 0.1, 2.0) == pytest.approx((0, 1))


def test_freedom_is_near_the_number_of_units_where_influences_are_normal():
    influence = np.random.default_rng(0).normal(size=20_000)
    assert freedom(influence, np.zeros(20_000, dtype=int), 10**9) == pytest.approx(20_000, rel=0.05)


def test_freedom_of_the_variance_is_what_simulation_finds():
    """Satterthwaite's degrees of freedom are those of the chi-square with the relative variance of s^2."""
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(4000, 200))
    relative = draws.var(axis=1, ddof=1).var() / draws.var(axis=1, ddof=1).mean() ** 2
    found = np.mean([1 / freedom(row, np.zeros(200, dtype=int), 10**9) for row in draws])
    assert 2 * found == pytest.approx(relative, rel=0.15)


def test_freedom_is_about_two_where_one_unit_makes_up_all():
    influence = np.zeros(1000)
    influence[7] = 1
    assert freedom(influence, np.zeros(1000, dtype=int), 10**9) == pytest.approx(2, rel=0.01)


def test_strata_without_influence_add_no_freedom():
    influence = np.array([1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 0.0])
    assert freedom(influence, np.array([0, 0, 0, 0, 1, 1, 1]), 10**9) == pytest.approx(3)
    assert freedom(np.zeros(7), np.zeros(7, dtype=int), 100) == math.inf


def test_few_resamples_cost_freedom():
    influence = np.random.default_rng(0).normal(size=500)
    few, many = (freedom(influence, np.zeros(500, dtype=int), resamples) for resamples in (100, 10**9))
    assert 1 / few == pytest.approx(1 / many + 1 / 99)


def test_a_share_of_independent_rows_is_near_wilsons_interval():
    right = np.random.default_rng(0).random(400) < 0.8
    found = clustered_share(right, np.arange(400))
    assert found == pytest.approx(wilson(float(right.mean()), 400, 1.96), abs=0.002)


def test_rows_of_one_unit_count_once_where_they_agree():
    right = np.random.default_rng(1).random(100) < 0.7
    once = clustered_share(right, np.arange(100))
    assert clustered_share(np.repeat(right, 5), np.repeat(np.arange(100), 5)) == pytest.approx(once)


def test_a_share_without_errors_counts_units():
    low, high = clustered_share(np.ones(60, dtype=bool), np.repeat(np.arange(20), 3))
    interval = binomtest(20, 20).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=1e-4)
    assert clustered_share(np.ones(0, dtype=bool), np.ones(0, dtype=int)) == (0, 1)
