"""How much each unit moves each metric: the derivatives by its weight, from which the spread of a metric is judged."""

import numpy as np

from medimg.evaluation.by_unit import RANKING_METRICS, ByUnit
from medimg.evaluation.counts import Counts, Floats, count_metrics

_STEP = 1e-4  # of each count, in both directions: the error is of the order of its square


def influences(by_unit: ByUnit) -> dict[str, Floats]:
    """For each metric that is defined, its derivative by the weight of each unit: [U], where all weights are 1.

    These are the components of the infinitesimal jackknife (Jaeckel 1972; Efron 1982, doi:10.1137/1.9781611970319):
    the sum of their squares, taken from the mean of their stratum, is near the variance of the metric.
    """
    return _of_counts(by_unit) | _of_rankings(by_unit)


def _of_counts(by_unit: ByUnit) -> dict[str, Floats]:
    parts = (by_unit.counts.hits, by_unit.counts.present, by_unit.counts.predicted)
    own = np.concatenate(parts, axis=1)
    total = own.sum(axis=0)
    # A count of 0 has no unit behind it. Moving it would also change which classes are averaged.
    moved = np.flatnonzero(total)
    change = np.zeros((len(moved), len(total)))
    change[np.arange(len(moved)), moved] = _STEP * total[moved]
    up, down = (_metrics(total + change, by_unit), _metrics(total - change, by_unit))
    slopes = {metric: (up[metric] - down[metric]) / (2 * _STEP * total[moved]) for metric in up}
    return {metric: own[:, moved] @ slope for metric, slope in slopes.items() if np.isfinite(slope).all()}


def _metrics(parts: Floats, by_unit: ByUnit) -> dict[str, Floats]:
    return count_metrics(Counts(*np.split(parts, 3, axis=1)), by_unit.classes)


def _of_rankings(by_unit: ByUnit) -> dict[str, Floats]:
    units = len(by_unit.counts.hits)
    pairs = {number: each.influence(units) for number, each in enumerate(by_unit.rankings) if each.both_sides}
    found: dict[str, Floats] = {}
    for position, metric in enumerate(RANKING_METRICS):
        found |= {f"{metric}/{by_unit.classes[number]}": pair[position] for number, pair in pairs.items()}
        if by_unit.averaged:
            found[metric] = np.mean([pairs[number][position] for number in by_unit.averaged], axis=0)
    return found
