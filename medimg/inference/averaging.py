"""Several predictions tables as one: the mean over models of the same images, and folds put together."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.data.manifest import examples
from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions


def mean_of(tables: Sequence[Predictions]) -> Predictions:
    """The mean of the models' probabilities, image by image.

    Its logits are the logarithms of these means, float64, so that their softmax is the mean. No probability is computed
    on the way, as the small ones would be rounded to 0.

    Args:
        tables: of the same images, in any order; at least one. The first gives the order of the rows.

    Raises:
        RequestError: images, labels or classes differ.
    """
    first = tables[0]
    each = np.stack([_log_probabilities(_aligned(first, table)) for table in tables])
    return replace(first, logits=np.logaddexp.reduce(each, axis=0) - math.log(len(tables)))


def pooled(tables: Sequence[Predictions]) -> Predictions:
    """The rows of several tables of different images, sorted by path.

    Raises:
        ValueError: an image stands in two of them, or classes differ.
    """
    paths = [path for table in tables for path in table.paths]
    if len(set(paths)) < len(paths) or len({table.classes for table in tables}) > 1:
        raise ValueError("tables of different images, with the same classes, can be pooled")
    order = sorted(range(len(paths)), key=paths.__getitem__)
    patients = [patient for table in tables for patient in table.patient_ids]
    return Predictions(
        paths=tuple(paths[row] for row in order),
        patient_ids=tuple(patients[row] for row in order),
        labels=np.concatenate([table.labels for table in tables])[order],
        logits=np.concatenate([table.logits for table in tables])[order],
        classes=tables[0].classes,
    )


def _log_probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    found: NDArray[np.float64] = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
    return found


def _aligned(first: Predictions, table: Predictions) -> NDArray[np.floating[Any]]:
    """The logits of a table with the rows of the first."""
    if table.classes != first.classes:
        raise RequestError(f"models of other classes have no mean: {list(first.classes)} and {list(table.classes)}")
    row = {path: number for number, path in enumerate(table.paths)}
    if differing := sorted(set(first.paths) ^ set(table.paths)):
        raise RequestError(
            f"predictions of other images have no mean: {len(differing)} are in one table only ({examples(differing)})"
        )
    rows = np.array([row[path] for path in first.paths], dtype=np.int64)
    relabelled = np.flatnonzero(table.labels[rows] != first.labels)
    if len(relabelled):
        names = examples(first.paths[number] for number in relabelled)
        raise RequestError(f"the same images have other labels in two tables: {len(relabelled)} ({names})")
    return table.logits[rows]
