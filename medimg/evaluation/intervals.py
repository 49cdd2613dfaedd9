"""Intervals for every metric of a split, from resamples of its patients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.by_unit import RANKING_METRICS, ByUnit
from medimg.evaluation.counts import Floats
from medimg.evaluation.influence import influences
from medimg.evaluation.metrics import all_metrics
from medimg.evaluation.proportions import Interval, effective_number, freedom, on_logit_scale, wilson
from medimg.evaluation.resampling import replicates
from medimg.evaluation.support import AVERAGES, Support, absent, supports
from medimg.evaluation.units import Kind, Units, strata_of

LEFT_OUT = (
    "The intervals say how far chance in who is in this split can move a metric of these predictions. They leave out "
    "the chance in training and in choosing the epoch and the settings, and that other hospitals differ."
)
_FEW = 4.0  # degrees of freedom below which a handful of units makes up all of an interval's width
_NO_VARIANCE = 1e-18  # what rounding leaves of a variance of 0
_UNDEFINED = 0.01  # the share of resamples without a value above which it is said


@dataclass(frozen=True)
class Intervals:
    """Intervals of metrics, and what has to be known about them.

    Attributes:
        ci: for each metric that has one, its lower and upper end.
        flags: for metrics whose interval is missing or may not hold what it says: why, in words for a footnote.
        method: for each metric in `ci`, `wilson` or `logit`.
        unit: what was resampled.
        units: how many of those there are.
        level: the coverage that is aimed at, 0.95 for 95 % intervals.
    """

    ci: dict[str, Interval]
    flags: dict[str, str]
    method: dict[str, str]
    unit: Kind
    units: int
    level: float


@dataclass(frozen=True)
class _Spread:
    """A metric's value, the variance of its resamples, and how well that is known."""

    value: float
    variance: float
    freedom: float
    undefined: float


def intervals(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    positive: str | None,
    units: Units,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Intervals for the keys of `all_metrics`, by resampling units stratified by class.

    The variance of a metric is that of its resamples. It becomes an interval by Student's t with the degrees of
    freedom that the units' influences give (`proportions.freedom`): for metrics of counts as Wilson's interval with the
    effective number of trials, for AUROC and average precision on the logit scale. Where nothing varies, as where a
    class has no errors, it is Wilson's interval with every unit counted once. Percentiles of resamples are not used:
    they cover too little near 1 and with few patients. docs/coverage.md has the coverage in simulations.

    Args:
        logits: [N, K].
        labels: int [N].
        classes: the K class names.
        positive: as in `classification_metrics`.
        units: what is independent, of each image.
        resamples: how many.
        seed: of the resamples; the same seed gives the same intervals.
        level: the coverage that is aimed at.
    """
    values = all_metrics(logits, labels, classes, positive)
    if len(units.codes) != len(labels):
        raise ValueError(f"{len(units.codes)} unit codes do not go with {len(labels)} labels")
    if resamples < 2:
        raise ValueError(f"resamples={resamples}: two give a variance, 2,000 a good one")
    found = Intervals({}, {}, {}, units.kind, units.number, level)
    if not len(labels) or not np.isfinite(logits).all():
        why = "no interval: a logit is not finite" if len(labels) else "no interval: there are no images"
        return replace(found, flags=dict.fromkeys(values, why))
    by_unit, strata = ByUnit.of(logits, labels, units.codes, classes, positive), strata_of(units, labels, len(classes))
    drawn, moved = replicates(by_unit, strata, resamples=resamples, seed=seed), influences(by_unit)
    spreads = {metric: _spread(value, drawn[metric], moved.get(metric), strata) for metric, value in values.items()}
    rests_on = supports(units, labels, logits.argmax(axis=1), classes)
    missing = absent(labels, classes)
    for metric, spread in spreads.items():
        reasons = _reasons(metric, spread, rests_on[metric], missing)
        if reasons:
            found.flags[metric] = "; ".join(reasons)
        if _given(spread, rests_on[metric]):
            found.method[metric], found.ci[metric] = _interval(metric, spread, rests_on[metric].number, level)
    return found


def _spread(value: float, drawn: Floats, moved: Floats | None, strata: NDArray[np.int64]) -> _Spread:
    known = drawn[~np.isnan(drawn)]
    if math.isnan(value) or moved is None or len(known) < 2:
        return _Spread(value, math.nan, math.nan, 1.0)
    return _Spread(value, float(known.var(ddof=1)), freedom(moved, strata, len(known)), 1 - len(known) / len(drawn))


def _given(spread: _Spread, support: Support) -> bool:
    return not math.isnan(spread.variance) and support.number > 1


def _interval(metric: str, spread: _Spread, units: int, level: float) -> tuple[str, Interval]:
    from scipy.special import ndtri, stdtrit

    # Matthews' correlation runs from -1 to 1: its interval is made on 0..1.
    scale = 2.0 if metric == "mcc" else 1.0
    value, variance = 1 - (1 - spread.value) / scale, spread.variance / scale**2
    tail = (1 + level) / 2
    if variance < _NO_VARIANCE or not 0 < value < 1:
        method, (low, high) = "wilson", wilson(value, units, float(ndtri(tail)))
    elif metric.startswith(RANKING_METRICS):
        method, (low, high) = "logit", on_logit_scale(value, variance, float(stdtrit(spread.freedom, tail)))
    else:
        number = effective_number(value, variance)
        method, (low, high) = "wilson", wilson(value, number, float(stdtrit(spread.freedom, tail)))
    return method, (1 - (1 - low) * scale, 1 - (1 - high) * scale)


def _reasons(metric: str, spread: _Spread, support: Support, missing: Sequence[str]) -> list[str]:
    """What is wrong with an interval, or why there is none."""
    if math.isnan(spread.variance):
        return ["no interval: not defined here"]
    if not _given(spread, support):
        return [f"no interval: it would rest on {support}"]
    reasons = []
    nothing_varies = spread.variance < _NO_VARIANCE
    safe = f" ({support.floor} or more are safe)" if support.number < support.floor else ""
    if nothing_varies:
        what = "no errors" if spread.value == 1 else "the same in every resample"
        reasons.append(f"{what}, so each of {support} counts once")
        reasons += [f"few{safe}"] if safe else []
    elif spread.freedom < _FEW:
        reasons.append(f"hangs on very few of {support}{safe}")
    elif safe:
        reasons.append(f"few: {support}{safe}")
    if spread.undefined > _UNDEFINED:
        reasons.append(f"not defined in {spread.undefined:.0%} of the resamples")
    if missing and metric in AVERAGES:
        reasons.append(f"there are no images of {', '.join(missing)}: not averaged, or as 0 where it is predicted")
    return reasons
