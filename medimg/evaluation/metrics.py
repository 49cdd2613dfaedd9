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

from medimg.evaluation.by_unit import ByUnit
from medimg.evaluation.ranking import ranks


def classification_metrics(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    positive: str | None = None,
) -> dict[str, float]:
    """What is watched while training, by torchmetrics. Give it all images at once: an average over batches is another.

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
        return dict.fromkeys(_watched(classes), math.nan)
    _check(labels, k)
    target, predicted = torch.from_numpy(labels.astype(np.int64)), torch.from_numpy(logits.argmax(axis=1))
    options: dict[str, Any] = {"num_classes": k, "validate_args": False}
    matrix = multiclass_confusion_matrix(predicted, target, **options).numpy()
    per_class_f1 = multiclass_f1_score(predicted, target, average="none", **options)
    values = {
        "f1_macro": float(multiclass_f1_score(predicted, target, average="macro", **options)),
        "accuracy": float(matrix.trace() / matrix.sum()),
        "precision_macro": float(multiclass_precision(predicted, target, average="macro", **options)),
        "recall_macro": float(multiclass_recall(predicted, target, average="macro", **options)),
        "auroc": _auroc(ranks(logits), target, classes, positive),
    }
    return values | _per_class(matrix, per_class_f1, classes)


def all_metrics(
    logits: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    positive: str | None = None,
) -> dict[str, float]:
    """`classification_metrics` and more; arguments, averages and what is not defined are the same.

    All come from `ByUnit`, which computes them for thousands of weighted resamples at once, in 64 bits; those of
    torchmetrics are the same but for the last digits of 32.

    Further keys: `balanced_accuracy`, the mean sensitivity of the classes that are there; `mcc`, Matthews' correlation
    in -1..1, NaN where all images are of one class and 0 where only all predictions are; `average_precision`, made of
    the classes as `auroc` is; and for each class `precision/<class>`, NaN where it is never predicted,
    `auroc/<class>` and `average_precision/<class>`, of the class against the rest, NaN where either is missing.
    """
    k = len(classes)
    if logits.shape != (len(labels), k):
        raise ValueError(f"logits {logits.shape} do not go with {len(labels)} labels and {k} classes")
    if not len(labels) or not np.isfinite(logits).all():
        return dict.fromkeys(metric_names(classes), math.nan)
    _check(labels, k)
    whole = ByUnit.of(logits, labels, np.zeros(len(labels), dtype=np.int64), classes, positive)
    values = whole.metrics(np.ones((1, 1)))
    return {name: float(values[name][0]) for name in metric_names(classes)}


def metric_names(classes: Sequence[str]) -> list[str]:
    """The keys of `all_metrics`, in order."""
    more = ("precision", "auroc", "average_precision")
    return [
        *_watched(classes),
        *("balanced_accuracy", "mcc", "average_precision"),
        *(f"{metric}/{name}" for name in classes for metric in more),
    ]


def confusion_matrix(
    labels: NDArray[np.integer[Any]], predictions: NDArray[np.integer[Any]], k: int
) -> NDArray[np.int64]:
    """How often each class was predicted for each: int64 [K, K], indexed [true, predicted]."""
    _check(labels, k)
    _check(predictions, k)
    pairs = labels.astype(np.int64) * k + predictions.astype(np.int64)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


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


def _auroc(places: NDArray[np.float64], target: Tensor, classes: Sequence[str], positive: str | None) -> float:
    asked: Sequence[str] = classes if len(classes) > 2 else [positive or classes[-1]]
    scores = []
    for name in asked:
        number = list(classes).index(name)
        member = (target == number).long()
        if 0 < member.sum() < len(member):
            score = torch.from_numpy(np.ascontiguousarray(places[:, number]))
            scores.append(float(binary_auroc(score, member, validate_args=False)))
    # Sums of float32 can end a hair above 1.
    return min(1.0, float(np.mean(scores))) if scores else math.nan


def _watched(classes: Sequence[str]) -> list[str]:
    whole = ["f1_macro", "accuracy", "precision_macro", "recall_macro", "auroc"]
    return whole + [f"{metric}/{name}" for name in classes for metric in ("f1", "sensitivity", "specificity")]


def _check(numbers: NDArray[np.integer[Any]], k: int) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < k):
        raise ValueError(f"class numbers must lie in 0 .. {k - 1}")
