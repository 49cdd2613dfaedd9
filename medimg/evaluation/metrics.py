"""Classification metrics of a whole split, from its logits and labels."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)


def classification_metrics(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    positive: str | None = None,
) -> dict[str, float]:
    """All metrics of one split; an average over batches is not the same number, so give it all images at once.

    Keys: `f1_macro`, `accuracy`, `precision_macro`, `recall_macro`, `auroc`, and for each class `f1/<class>`,
    `sensitivity/<class>`, `specificity/<class>`. All lie in 0..1.

    A number that is not defined is NaN: the sensitivity of a class without images, the F1 of a class that is neither
    there nor predicted; everything, where there are no images or a logit is not finite. Macro averages run over the
    classes that are in the labels or the predictions, as in scikit-learn, and an undefined precision or recall of
    one of those counts as 0 in them.

    Args:
        logits: [N, K]; the prediction is the largest, the first of them where several are equal.
        labels: int [N], positions in `classes`.
        classes: the K class names.
        positive: the class whose AUROC is given where there are two; by default the second. With more than two, AUROC
            is one against the rest, averaged over the classes that have both sides.
    """
    k = len(classes)
    if logits.shape != (len(labels), k):
        raise ValueError(f"logits {logits.shape} do not go with {len(labels)} labels and {k} classes")
    if not len(labels) or not np.isfinite(logits).all():
        return dict.fromkeys(_names(classes), math.nan)
    target, predicted = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(logits.argmax(axis=1))
    _check(target, k)
    options: dict[str, Any] = {"num_classes": k, "validate_args": False}
    matrix = multiclass_confusion_matrix(predicted, target, **options).numpy()
    per_class_f1 = multiclass_f1_score(predicted, target, average="none", **options)
    values = {
        "f1_macro": float(multiclass_f1_score(predicted, target, average="macro", **options)),
        "accuracy": float(matrix.trace() / matrix.sum()),
        "precision_macro": float(multiclass_precision(predicted, target, average="macro", **options)),
        "recall_macro": float(multiclass_recall(predicted, target, average="macro", **options)),
        "auroc": _auroc(_ranks(logits), target, classes, positive),
    }
    return values | _per_class(matrix, per_class_f1, classes)


def confusion_matrix(
    labels: NDArray[np.integer[Any]], predictions: NDArray[np.integer[Any]], k: int
) -> NDArray[np.int64]:
    """How often each class was predicted for each: int64 [K, K], indexed [true, predicted]."""
    target, predicted = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(predictions.astype(np.int64))
    _check(target, k)
    _check(predicted, k)
    matrix: NDArray[np.int64] = multiclass_confusion_matrix(predicted, target, k, validate_args=False).numpy()
    return matrix


def _per_class(matrix: NDArray[np.int64], f1: Tensor, classes: Sequence[str]) -> dict[str, float]:
    hits, present, predicted, total = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    rejected = total - present - predicted + hits
    values: dict[str, float] = {}
    for number, name in enumerate(classes):
        known = present[number] + predicted[number] > 0
        values[f"f1/{name}"] = float(f1[number]) if known else math.nan
        values[f"sensitivity/{name}"] = _ratio(hits[number], present[number])
        values[f"specificity/{name}"] = _ratio(rejected[number], total - present[number])
    return values


def _ratio(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else math.nan


def _ranks(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """For each class the images' places by its log-odds, as [N, K] in 0..1; equal ones share a place.

    Where a model is sure, probabilities round to 1 and lose their order, which is all that the AUROC looks at.
    """
    wide = logits.astype(np.float64)
    places = np.empty_like(wide)
    for number in range(wide.shape[1]):
        others = np.delete(wide, number, axis=1)
        odds = wide[:, number] - np.logaddexp.reduce(others, axis=1)
        _, place = np.unique(odds, return_inverse=True)
        places[:, number] = place / max(1, place.max(initial=0))
    return places


def _auroc(ranks: NDArray[np.float64], target: Tensor, classes: Sequence[str], positive: str | None) -> float:
    asked: Sequence[str] = classes if len(classes) > 2 else [positive or classes[-1]]
    scores = []
    for name in asked:
        number = list(classes).index(name)
        member = (target == number).long()
        if 0 < member.sum() < len(member):
            score = torch.from_numpy(np.ascontiguousarray(ranks[:, number]))
            scores.append(float(binary_auroc(score, member, validate_args=False)))
    # Sums of float32 can end a hair above 1.
    return min(1.0, float(np.mean(scores))) if scores else math.nan


def _names(classes: Sequence[str]) -> list[str]:
    whole = ["f1_macro", "accuracy", "precision_macro", "recall_macro", "auroc"]
    return whole + [f"{metric}/{name}" for name in classes for metric in ("f1", "sensitivity", "specificity")]


def _check(numbers: Tensor, k: int) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < k):
        raise ValueError(f"class numbers must lie in 0 .. {k - 1}")
