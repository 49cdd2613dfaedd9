"""Calibration: whether probabilities mean what they say, and the temperature that mends them."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.predictions import softmax

_COLDEST, _HOTTEST = 1e-3, 1e3  # temperatures beyond are no calibration

Numbers = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Bin:
    """The images whose score lies in (lower, upper], 0 being in the first: their mean score and how often it held.

    `confidence` and `accuracy` are NaN where `images` is 0.
    """

    lower: float
    upper: float
    images: int
    confidence: float
    accuracy: float


def top_label(probabilities: Numbers, labels: Labels) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For `reliability`: the probability [N] of the predicted class, and whether it was right [N]."""
    _check(probabilities, labels)
    return probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels


def reliability(scores: Numbers, held: NDArray[np.bool_], bins: int = 15) -> list[Bin]:
    """The reliability diagram, in bins of equal width, empty ones included; no bins where a score is not finite.

    Args:
        scores: float [N], 0..1: of the predicted class (`top_label`), or of the positive class of a binary task.
        held: bool [N]: the prediction was right; or the image is positive.
        bins: how many, at least 1.
    """
    if not np.isfinite(scores).all():
        return []
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], scores, side="left")
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, weights=scores, minlength=bins) / images
        accuracy = np.bincount(place, weights=held, minlength=bins) / images
    columns = (edges[:-1], edges[1:], images, confidence, accuracy)
    return [Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def expected_calibration_error(probabilities: Numbers, labels: Labels, bins: int = 15) -> float:
    """The gap between confidence and accuracy of the predicted class, averaged over images, 0..1 (Naeini et al. 2015).

    It depends on the bins, and is above 0 by chance alone, the more so the fewer images there are. NaN without images
    or where a probability is not finite.
    """
    found = [row for row in reliability(*top_label(probabilities, labels), bins) if row.images]
    gaps = sum(row.images * abs(row.confidence - row.accuracy) for row in found)
    return gaps / len(labels) if found else math.nan


def brier(probabilities: Numbers, labels: Labels) -> float:
    """Brier's score as he defined it (1950): squared errors summed over the classes, averaged over images, 0..2.

    With two classes that is twice the score of the positive class alone, which many papers and scikit-learn's
    `brier_score_loss` give. NaN without images.
    """
    _check(probabilities, labels)
    wide = probabilities.astype(np.float64)
    wide[np.arange(len(labels)), labels] -= 1
    return float((wide**2).sum(axis=1).mean()) if len(labels) else math.nan


def log_loss(logits: Numbers, labels: Labels) -> float:
    """The mean negative logarithm (natural) of the true class's probability.

    From logits [N, K], as the logarithm of a probability that was rounded to 0 has no end. NaN without images or where
    a logit is not finite.
    """
    _check(logits, labels)
    if not len(labels) or not np.isfinite(logits).all():
        return math.nan
    wide = logits.astype(np.float64)
    return float((np.logaddexp.reduce(wide, axis=1) - wide[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: Numbers, labels: Labels) -> float:
    """The temperature T for which `scaled(logits, T)` has the lowest log loss (Guo et al. 2017).

    The loss is convex in 1/T, so its slope has at most one root. There is none, and T is NaN, where the loss falls on
    for ever: where every image is right (towards T = 0), or where the logits tell nothing of the labels (towards
    infinity). NaN as well without images, or where a logit is not finite. Fit it on validation, never on test.

    Args:
        logits: float [N, K].
        labels: int [N], positions of classes.
    """
    from scipy.optimize import brentq

    _check(logits, labels)
    if not len(labels) or not np.isfinite(logits).all():
        return math.nan
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    true = wide[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        return float(((softmax(wide * inverse) * wide).sum(axis=1) - true).mean())

    low, high = 1 / _HOTTEST, 1 / _COLDEST
    if slope(low) >= 0 or slope(high) <= 0:
        return math.nan
    return 1 / float(brentq(slope, low, high, xtol=1e-9, rtol=1e-12))


def scaled(logits: Numbers, temperature: float) -> NDArray[np.float64]:
    """The logits at a temperature; above 1 it makes a model less sure. No prediction changes."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature {temperature} is no positive number")
    return logits.astype(np.float64) / temperature


def _check(values: Numbers, labels: Labels) -> None:
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(f"{values.shape} numbers do not go with {len(labels)} labels")
