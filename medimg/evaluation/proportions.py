"""Intervals for numbers in 0..1, from their variance: shapes that stay honest near 0 and 1 and with few units."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.counts import Floats

Interval = tuple[float, float]

_MANY = 10**9  # no resamples: the variance is computed outright


def wilson(share: float, number: float, quantile: float) -> Interval:
    """The score interval of a proportion (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Args:
        share: the proportion, 0..1.
        number: of what it is a share; for clustered data the effective number, which need not be whole.
        quantile: of the normal distribution, or of Student's t where `number` is estimated; 1.96 for 95 %.
    """
    square = quantile**2 / number
    center = (share + square / 2) / (1 + square)
    half = quantile / (1 + square) * math.sqrt(share * (1 - share) / number + square / (4 * number))
    return max(0.0, center - half), min(1.0, center + half)


def effective_number(share: float, variance: float) -> float:
    """How many independent trials would give the variance: the number of images over the design effect (Kish 1965)."""
    return share * (1 - share) / variance


def clustered_share(right: NDArray[np.bool_], codes: NDArray[np.integer[Any]], level: float = 0.95) -> Interval:
    """Wilson's interval of the share of rows that are right, with as many trials as its variance over units allows.

    The variance is that of a ratio of totals over units; where nothing varies, each unit counts as one trial.

    Args:
        right: bool [N].
        codes: int [N], the unit (patient) of each row.
        level: the coverage that is aimed at.

    Returns:
        0 and 1 where there are no rows.
    """
    from scipy.special import ndtri, stdtrit

    if not len(right):
        return 0.0, 1.0
    unit = np.unique(codes, return_inverse=True)[1]
    share, units = float(right.mean()), int(unit.max()) + 1
    moved = np.bincount(unit, right - share) / len(right)  # the influence of each unit
    variance = float((moved**2).sum()) * units / max(1, units - 1)
    tail = (1 + level) / 2
    if variance == 0 or units < 2:
        return wilson(share, units, float(ndtri(tail)))
    quantile = float(stdtrit(freedom(moved, np.zeros(units, dtype=np.int64), _MANY), tail))
    return wilson(share, effective_number(share, variance), quantile)


def on_logit_scale(value: float, variance: float, quantile: float) -> Interval:
    """An interval that is symmetrical on the logit scale, for 0 < value < 1.

    For AUROC see Pepe 2003, "The statistical evaluation of medical tests", section 5.2: near 1 it covers where the
    symmetrical one does not.
    """
    center = math.log(value / (1 - value))
    half = quantile * math.sqrt(variance) / (value * (1 - value))
    return _expit(center - half), _expit(center + half)


def freedom(influence: Floats, strata: NDArray[np.integer[Any]], resamples: int) -> float:
    """How well the variance is known, as degrees of freedom of Student's t: at least 1, inf where nothing varies.

    A variance that a few units make up is itself uncertain, and mostly too small where such units are missing from the
    sample. Satterthwaite's rule (1946, doi:10.2307/3002019), 2 variance^2 / var(variance), with the fourth moments of
    the units' influences, says how uncertain: with normal influences it gives the number of units, where one unit makes
    up all it gives about 2. That the variance is computed from so many resamples is counted as well.

    Args:
        influence: [U], of each unit.
        strata: int [U].
        resamples: how many gave the variance.
    """
    total = spread = 0.0
    units = 0
    for number in np.unique(strata):
        own = influence[strata == number]
        squares = (own - own.mean()) ** 2
        if squares.any():
            total += float(squares.sum())
            spread += float(((squares - squares.mean()) ** 2).sum())
            units += len(own) - 1
    if not units:
        return math.inf
    by_moments = 2 * total**2 / spread if spread else math.inf
    return max(1.0, 1 / (1 / min(by_moments, units) + 1 / (resamples - 1)))


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
