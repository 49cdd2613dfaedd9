"""Two runs on the same images: how far apart they are, with an interval and a p-value."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.weighted import Evaluate, Floats, Integers, weighted_metric

_AT_ONCE = 2**20  # weights in memory at a time; few enough for the processor's cache
_FEW = 50  # units of the smallest class; in simulations with fewer, intervals held the truth in 89 to 93 of 100 cases
_SHOWN = 3


@dataclass(frozen=True)
class Comparison:
    """A metric of two runs. `difference` is a - b, and `ci95` and `p_value` belong to it; NaN where not defined.

    `units` is the number of patients (or of whatever was resampled). `caution` says why not to rely on the interval
    or the p-value, where there is a reason.
    """

    metric: str
    a: float
    b: float
    difference: float
    ci95: tuple[float, float]
    p_value: float
    units: int
    images: int
    caution: str | None


def compare(
    a: Predictions,
    b: Predictions,
    codes: Integers,
    metric: str = "f1_macro",
    *,
    positive: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """How two runs differ on the same images, whole units at a time.

    The interval is the percentile interval of a paired bootstrap: units are drawn with replacement within their
    class (a unit of several classes belongs to its most common one), and both runs are evaluated on the same draw.

    The two-sided p-value is of a permutation test: each unit's predictions change places between the runs or stay,
    with equal chances. It asks whether the runs could be exchanged for one another, and is never 0 (Phipson and Smyth
    2010). The AUROC is permuted by ranks within each run (after Venkatraman and Begg 1996), so that a run which is
    surer of everything is not taken for another one.

    Neither covers what another training, with another seed, would have given.

    Args:
        a: one run's predictions.
        b: the other's, of the same images in any order.
        codes: int [N], the unit (patient) of each row of `a`.
        metric: one of `metric_names`.
        positive: the class whose AUROC is given where there are two; by default the second.
        resamples: of the bootstrap, and of the permutation.
        seed: of both.

    Raises:
        RequestError: images, labels or classes differ, or the metric is unknown.
    """
    b = _aligned(a, b)
    _check(a, b, codes)
    unit = np.unique(codes, return_inverse=True)[1]
    units = int(unit.max()) + 1
    of_a, of_b, of_both = _evaluators(a, b, unit, metric, positive)
    value_a, value_b = (float(of(np.ones((1, units)))[0]) for of in (of_a, of_b))
    strata = _strata(a.labels, unit, len(a.classes))
    rows = max(1, _AT_ONCE // (2 * len(unit)))
    draws = np.concatenate([of_a(weights) - of_b(weights) for weights in _bootstrap(strata, resamples, rows, seed)])
    swaps = np.concatenate(
        [
            of_both(np.hstack([1 - swap, swap])) - of_both(np.hstack([swap, 1 - swap]))
            for swap in _swaps(units, resamples, rows, seed)
        ]
    )
    return Comparison(
        metric=metric,
        a=value_a,
        b=value_b,
        difference=value_a - value_b,
        ci95=_percentiles(draws),
        p_value=_p_value(value_a - value_b, swaps),
        units=units,
        images=len(unit),
        caution=_caution(draws, strata),
    )


def _evaluators(
    a: Predictions, b: Predictions, unit: Integers, metric: str, positive: str | None
) -> tuple[Evaluate, Evaluate, Evaluate]:
    """The metric of `a`, of `b`, and of both pooled: there `b`'s units follow `a`'s, and weights choose whose count."""
    scores = [_ranks(run.logits) if metric == "auroc" else run.logits.astype(np.float64) for run in (a, b)]
    of_a, of_b = (weighted_metric(metric, each, a.labels, unit, a.classes, positive) for each in scores)
    labels, units = np.tile(a.labels, 2), np.concatenate([unit, unit + unit.max() + 1])
    return of_a, of_b, weighted_metric(metric, np.concatenate(scores), labels, units, a.classes, positive)


def _bootstrap(strata: Integers, resamples: int, rows: int, seed: int) -> Iterator[Floats]:
    """How often each unit was drawn, [R, U], units being drawn within their strata; `rows` resamples at a time."""
    generator = np.random.default_rng([seed, 0])
    for done in range(0, resamples, rows):
        r = min(rows, resamples - done)
        weights = np.zeros((r, len(strata)))
        for stratum in np.unique(strata):
            members = np.flatnonzero(strata == stratum)
            draws = generator.integers(0, len(members), (r, len(members))) + np.arange(r)[:, None] * len(members)
            weights[:, members] = np.bincount(draws.ravel(), minlength=r * len(members)).reshape(r, -1)
        yield weights


def _swaps(units: int, resamples: int, rows: int, seed: int) -> Iterator[Floats]:
    """1 where a unit's predictions change places, [R, U]."""
    generator = np.random.default_rng([seed, 1])
    for done in range(0, resamples, rows):
        yield generator.integers(0, 2, (min(rows, resamples - done), units)).astype(np.float64)


def _strata(labels: Integers, unit: Integers, k: int) -> NDArray[np.int64]:
    """The most common class of each unit, the first of several."""
    strata: NDArray[np.int64] = np.bincount(unit * k + labels, minlength=(unit.max() + 1) * k).reshape(-1, k).argmax(1)
    return strata


def _ranks(logits: NDArray[np.floating[Any]]) -> Floats:
    """For each class the images' mean ranks by its log-odds, [N, K] in 0..1."""
    from scipy.stats import rankdata

    wide = logits.astype(np.float64)
    columns = range(wide.shape[1])
    odds = [wide[:, number] - np.logaddexp.reduce(np.delete(wide, number, axis=1), axis=1) for number in columns]
    ranks: Floats = rankdata(np.stack(odds, axis=1), axis=0) / len(wide)
    return ranks


def _percentiles(draws: Floats) -> tuple[float, float]:
    known = draws[~np.isnan(draws)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _p_value(difference: float, swapped: Floats) -> float:
    """The share of permutations, the data as they are being one of them, that are at least as far from 0."""
    if math.isnan(difference):
        return math.nan
    at_least = int((np.abs(swapped) >= abs(difference) - 1e-12).sum())
    return (at_least + 1) / (len(swapped) + 1)


def _caution(draws: Floats, strata: NDArray[np.int64]) -> str | None:
    smallest = int(np.unique(strata, return_counts=True)[1].min())
    if np.isnan(draws).any():
        return f"the difference is not defined in {int(np.isnan(draws).sum())} of {len(draws)} resamples"
    if np.ptp(draws) == 0:
        return "the difference is the same in every resample, so the interval says nothing"
    if smallest < _FEW:
        return f"the smallest class has {smallest} units; with fewer than {_FEW} the interval is too short"
    return None


def _check(a: Predictions, b: Predictions, codes: Integers) -> None:
    if codes.shape != a.labels.shape:
        raise ValueError(f"{len(codes)} codes do not go with {len(a.labels)} predictions")
    if not len(a.labels):
        raise RequestError("There are no images on which two runs could be compared.")
    for which, run in (("first", a), ("second", b)):
        broken = int((~np.isfinite(run.logits)).any(axis=1).sum())
        if broken:
            raise RequestError(f"Runs cannot be compared: {broken} predictions of the {which} are no finite numbers.")


def _aligned(a: Predictions, b: Predictions) -> Predictions:
    """`b` with its rows and classes in the order of `a`."""
    if set(a.classes) != set(b.classes):
        raise RequestError(
            f"Two runs with different classes cannot be compared: {', '.join(a.classes)}; and {', '.join(b.classes)}."
        )
    row = {path: number for number, path in enumerate(b.paths)}
    for which, run in (("first", a), ("second", b)):
        if len(set(run.paths)) < len(run.paths):
            raise RequestError(f"The {which} run has several predictions for one image, so runs cannot be compared.")
    _refuse("are in the first run only", [path for path in a.paths if path not in row])
    _refuse("are in the second run only", sorted(set(b.paths) - set(a.paths)))
    rows = np.array([row[path] for path in a.paths], dtype=np.int64)
    columns = [b.classes.index(name) for name in a.classes]
    labels = np.argsort(columns)[b.labels[rows]]
    _refuse("have another label in each run", [a.paths[number] for number in np.flatnonzero(labels != a.labels)])
    patients = tuple(b.patient_ids[number] for number in rows)
    logits = b.logits[rows][:, columns]
    return replace(b, paths=a.paths, patient_ids=patients, labels=labels, logits=logits, classes=a.classes)


def _refuse(what: str, paths: list[str]) -> None:
    if paths:
        shown = ", ".join(repr(path) for path in paths[:_SHOWN]) + (", ..." if len(paths) > _SHOWN else "")
        raise RequestError(
            f"Two runs can be compared on the same images only. {len(paths)} images {what}: {shown}.\n"
            "Evaluate both on the same data and split."
        )
