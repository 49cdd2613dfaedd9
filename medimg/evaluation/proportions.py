"""PLACEHOLDER until wt-intervals is merged."""

from typing import Any


def proportion_interval(hits: Any, codes: Any) -> tuple[float, float]:
    """Interval."""
    from scipy.stats import binomtest

    if not len(hits):
        return (0.0, 1.0)
    found = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
