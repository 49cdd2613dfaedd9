"""Metrics of many resamples at once: units count with weights, and no resample is ever written out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.errors import RequestError, suggestion

Floats = NDArray[np.float64]
Integers = NDArray[np.integer[Any]]
Evaluate = Callable[[Floats], Floats]
"""From weights [R, U], how often each unit is in each of R resamples, to the metric [R]; NaN where not defined."""

_Counts = Callable[[Floats, Floats, Floats], Floats]  # hits, present and predicted, all [R, K] -> [R]


def metric_names(classes: Sequence[str]) -> list[str]:
    """What `weighted_metric` knows."""
    return [*_WHOLE, "auroc", *(f"{metric}/{name}" for name in classes for metric in _BY_CLASS)]


def weighted_metric(
    metric: str, scores: Floats, labels: Integers, codes: Integers, classes: Sequence[str], positive: str | None = None
) -> Evaluate:
    """The function that evaluates a metric on resamples of these rows.

    The metrics are those of `classification_metrics`, and `balanced_accuracy`, `mcc` and `precision/<class>`.

    Args:
        metric: one of `metric_names`; RequestError otherwise.
        scores: [N, K], larger where the class is more likely. The prediction is the largest; the AUROC takes the order
            within a column.
        labels: int [N].
        codes: int [N], the unit of each row, 0 .. U - 1.
        classes: the K class names.
        positive: the class whose AUROC is given where there are two; by default the second.
    """
    names = metric_names(classes)
    if metric not in names:
        hint = suggestion(metric, names)
        raise RequestError(f"{metric!r} is no metric that can be resampled. {hint}\nThere are: {', '.join(names)}")
    if metric == "auroc":
        asked = range(len(classes)) if len(classes) > 2 else [list(classes).index(positive or classes[-1])]
        parts = [_auroc(scores[:, number], labels == number, codes) for number in asked]
        return lambda weights: _mean(np.stack([part(weights) for part in parts], axis=1))
    counts = _unit_counts(scores.argmax(axis=1), labels, codes, len(classes))
    formula = _formula(metric, classes)

    def evaluate(weights: Floats) -> Floats:
        hits, present, predicted = (weights @ part for part in counts)
        return formula(hits, present, predicted)

    return evaluate


def _unit_counts(predicted: Integers, labels: Integers, codes: Integers, k: int) -> tuple[Floats, Floats, Floats]:
    """Of each unit and class, the images that were right, that are there, and that are predicted: [U, K] each."""
    units = int(codes.max(initial=-1)) + 1

    def count(classes: Integers, weights: NDArray[np.bool_] | None = None) -> Floats:
        return np.bincount(codes * k + classes, weights, units * k).reshape(units, k).astype(np.float64)

    return count(labels, labels == predicted), count(labels), count(predicted)


def _auroc(scores: Floats, is_positive: NDArray[np.bool_], codes: Integers) -> Evaluate:
    """One class against the rest: the chance that one of its images is above another one, ties counting half."""
    order = np.argsort(scores[~is_positive])
    rising, negative = scores[~is_positive][order], codes[~is_positive][order]
    positive = codes[is_positive]
    lower, upper = (np.searchsorted(rising, scores[is_positive], side) for side in ("left", "right"))

    def evaluate(weights: Floats) -> Floats:
        units = np.ascontiguousarray(weights.T)  # rows are then taken whole, which is several times faster
        below = np.zeros((len(negative) + 1, len(weights)))
        np.cumsum(units[negative], axis=0, out=below[1:])
        own = units[positive]
        won = np.einsum("ir,ir->r", own, below[lower] + below[upper]) / 2
        return _ratio(won, own.sum(axis=0) * below[-1])

    return evaluate


def _formula(metric: str, classes: Sequence[str]) -> _Counts:
    if metric in _WHOLE:
        return _WHOLE[metric]
    kind, _, name = metric.partition("/")
    number = list(classes).index(name)
    return lambda *counts: _BY_CLASS[kind](*counts)[:, number]


def _recall(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    return _ratio(hits, present)


def _precision(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    return _ratio(hits, predicted)


def _f1(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    return _ratio(2 * hits, present + predicted)


def _specificity(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    others = present.sum(axis=1, keepdims=True) - present
    return _ratio(others - predicted + hits, others)


def _accuracy(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    return _ratio(hits.sum(axis=1), present.sum(axis=1))


def _balanced_accuracy(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    return _mean(_recall(hits, present, predicted))


def _mcc(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    """Matthews' correlation for any number of classes (Gorodkin 2004); NaN where all is one class on either side."""
    total = present.sum(axis=1)
    together = hits.sum(axis=1) * total - (present * predicted).sum(axis=1)
    spread = (total**2 - (present**2).sum(axis=1)) * (total**2 - (predicted**2).sum(axis=1))
    return _ratio(together, np.sqrt(spread))


def _macro(by_class: _Counts) -> _Counts:
    """The mean over the classes that are there or predicted; what is not defined for one of those counts as 0."""

    def macro(hits: Floats, present: Floats, predicted: Floats) -> Floats:
        values = np.nan_to_num(by_class(hits, present, predicted))
        return _mean(np.where(present + predicted > 0, values, np.nan))

    return macro


def _mean(values: Floats) -> Floats:
    """The mean over columns, those that are NaN left out."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


_BY_CLASS: dict[str, _Counts] = {
    "f1": _f1,
    "precision": _precision,
    "sensitivity": _recall,
    "specificity": _specificity,
}
_WHOLE: dict[str, _Counts] = {
    "f1_macro": _macro(_f1),
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
    "precision_macro": _macro(_precision),
    "recall_macro": _macro(_recall),
}
