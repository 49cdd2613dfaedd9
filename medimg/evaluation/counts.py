"""Metrics of confusion counts, of one split or of thousands of resamples at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BY_CLASS = ("f1", "sensitivity", "specificity", "precision")


@dataclass(frozen=True, eq=False)
class Counts:
    """Of each class the images that are right, that are there, and that are predicted: float64 [..., K] each.

    That is all of a confusion matrix that the metrics need. Weights of images may stand for numbers of them.
    """

    hits: Floats
    present: Floats
    predicted: Floats

    def weighted(self, weights: Floats) -> "Counts":
        """The counts of units [U, K], added up with weights [R, U]: [R, K]."""
        return Counts(weights @ self.hits, weights @ self.present, weights @ self.predicted)


def counts_of_units(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], codes: NDArray[np.integer[Any]], k: int
) -> Counts:
    """The counts of each unit: [U, K] each; `labels`, `predicted` and the unit's number `codes` are int [N]."""
    units = int(codes.max(initial=-1)) + 1

    def count(classes: NDArray[np.integer[Any]], weights: NDArray[np.bool_] | None = None) -> Floats:
        return np.bincount(codes * k + classes, weights, units * k).reshape(units, k).astype(np.float64)

    return Counts(count(labels, labels == predicted), count(labels), count(predicted))


def count_metrics(counts: Counts, classes: Sequence[str]) -> dict[str, Floats]:
    """Every metric that needs no more than counts; each value has the shape of the counts without their last axis.

    Keys: `f1_macro`, `accuracy`, `precision_macro`, `recall_macro`, `balanced_accuracy`, `mcc`, and for each class
    `f1/`, `sensitivity/`, `specificity/` and `precision/<class>`. `classification_metrics` and `all_metrics` say what
    they are where they are not defined.
    """
    hits, present, predicted = counts.hits, counts.present, counts.predicted
    total = present.sum(axis=-1)
    f1, recall, precision = (ratio(2 * hits, present + predicted), ratio(hits, present), ratio(hits, predicted))
    others = total[..., None] - present
    known = present + predicted > 0
    whole = {
        "f1_macro": _mean(f1, known),
        "accuracy": ratio(hits.sum(axis=-1), total),
        "precision_macro": _mean(precision, known),
        "recall_macro": _mean(recall, known),
        "balanced_accuracy": _mean(recall, present > 0),
        "mcc": _mcc(hits, present, predicted),
    }
    by_class = (f1, recall, ratio(others - predicted + hits, others), precision)
    return whole | {
        f"{metric}/{name}": values[..., number]
        for number, name in enumerate(classes)
        for metric, values in zip(_BY_CLASS, by_class, strict=True)
    }


def ratio(part: Floats, whole: Floats) -> Floats:
    """The quotient, NaN where there is nothing to divide by."""
    divided: Floats = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return divided


def _mean(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """The mean over the known classes; a value that is not defined for one of those counts as 0."""
    total = np.where(known, np.nan_to_num(values), 0.0).sum(axis=-1)
    return ratio(total, known.sum(axis=-1).astype(np.float64))


def _mcc(hits: Floats, present: Floats, predicted: Floats) -> Floats:
    """Matthews' correlation for any number of classes (Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006)."""
    total = present.sum(axis=-1)
    together = hits.sum(axis=-1) * total - (present * predicted).sum(axis=-1)
    spread = (total**2 - (present**2).sum(axis=-1)) * (total**2 - (predicted**2).sum(axis=-1))
    several, said = (np.count_nonzero(side, axis=-1) > 1 for side in (present, predicted))
    correlation = ratio(together, np.sqrt(np.where(several & said, spread, 0.0)))
    return np.where(several & ~said, 0.0, correlation)
