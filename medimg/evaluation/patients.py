"""From images to patients: one row of predictions for each patient."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions

How = Literal["mean", "max"]


@dataclass(frozen=True, eq=False)
class ByPatient:
    """The table of patients, and what is not in it.

    In `predictions` both `paths` and `patient_ids` are the patients, sorted, and the logits are logarithms of
    probabilities. `mixed` names the patients whose images have different labels; `unknown` counts the images whose
    patient is not known.
    """

    predictions: Predictions
    mixed: tuple[str, ...]
    unknown: int


def by_patient(predictions: Predictions, how: How = "mean", positive: str | None = None) -> ByPatient:
    """One row for each patient whose images agree on the label.

    `mean` is the mean of the images' probabilities. `max` is meant for findings that show in some of a patient's
    images only: with two classes the image with the highest probability of the positive class speaks for the patient;
    with more, each class has its highest probability over the images, and these are divided by their sum.

    Everything is computed with logarithms, so that probabilities near 0 and 1 keep their order.

    Args:
        predictions: of one split.
        how: `mean` or `max`.
        positive: the positive class of two; by default the second.

    Raises:
        RequestError: `how` is something else.
    """
    if how not in get_args(How):
        raise RequestError(f"Patients by {how!r} are not known; there are: {', '.join(get_args(How))}.")
    known = np.array([patient is not None for patient in predictions.patient_ids], dtype=bool)
    named = [patient for patient in predictions.patient_ids if patient is not None]
    names, code = np.unique(named, return_inverse=True)
    labels = predictions.labels[known]
    mixed = np.zeros(len(names), dtype=bool)
    first = np.full(len(names), -1)
    first[code[::-1]] = labels[::-1]
    mixed[code[labels != first[code]]] = True

    keep = ~mixed[code]
    order = np.argsort(code[keep], kind="stable")
    patients, start = np.unique(code[keep][order], return_index=True)
    logits = predictions.logits[known][keep][order].astype(np.float64)
    ids = tuple(str(name) for name in names[patients])
    table = Predictions(
        paths=ids,
        patient_ids=ids,
        labels=first[patients],
        logits=_pooled(logits, start, how, _position(predictions.classes, positive)),
        classes=predictions.classes,
    )
    return ByPatient(table, tuple(str(name) for name in names[mixed]), int((~known).sum()))


def _pooled(logits: NDArray[np.float64], start: NDArray[Any], how: How, positive: int) -> NDArray[np.float64]:
    """Logarithms of probabilities [P, K] from logits [N, K] whose rows stand patient by patient from `start` on."""
    k = logits.shape[1]
    if not len(start):
        return np.empty((0, k))
    images = np.diff(np.append(start, len(logits)))[:, None]
    if how == "mean":
        with np.errstate(invalid="ignore"):
            return np.logaddexp.reduceat(_log_softmax(logits), start) - np.log(images)
    if k == 2:
        odds = np.maximum.reduceat(logits[:, positive] - logits[:, 1 - positive], start)
        sides = np.empty((len(start), 2))
        sides[:, positive], sides[:, 1 - positive] = -np.logaddexp(0, -odds), -np.logaddexp(0, odds)
        return sides
    return _log_softmax(np.maximum.reduceat(_log_softmax(logits), start))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        wide: NDArray[np.float64] = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return wide


def _position(classes: tuple[str, ...], positive: str | None) -> int:
    return classes.index(positive) if positive is not None else len(classes) - 1
