"""ROC and precision-recall curves with few enough points for a page."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]

_MOST = 500


def roc_points(is_positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> tuple[Line, Line, Line]:
    """False positive rate, true positive rate and threshold of at most 500 points, from (0, 0) to (1, 1).

    Straight lines between them are the curve; its area is the AUROC, but for what thinning takes. The first threshold
    is infinite: nothing is called positive. Empty where a class has no images or a score is not finite.

    Args:
        is_positive: bool [N].
        scores: float [N], larger for the positive class; probabilities, or log-odds, which keep their order near 1.
    """
    from sklearn.metrics import roc_curve

    if not _defined(is_positive, scores):
        return np.empty(0), np.empty(0), np.empty(0)
    fpr, tpr, thresholds = roc_curve(is_positive, scores)
    kept = _thinned(fpr, tpr)
    return fpr[kept], tpr[kept], thresholds[kept].astype(np.float64)


def precision_recall_points(
    is_positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]
) -> tuple[Line, Line, Line]:
    """Recall, precision and threshold of at most 500 points, recall rising from 0 to 1.

    The first point, recall 0 and precision 1, is a convention; its threshold is infinite. Draw steps rather than
    straight lines: between two points the precision is no mean of both. Arguments and empty results as in `roc_points`.
    """
    from sklearn.metrics import precision_recall_curve

    if not _defined(is_positive, scores):
        return np.empty(0), np.empty(0), np.empty(0)
    precision, recall, thresholds = precision_recall_curve(is_positive, scores, drop_intermediate=True)
    precision, recall = precision[::-1], recall[::-1]
    kept = _thinned(recall, precision)
    return recall[kept], precision[kept], np.append(thresholds.astype(np.float64), np.inf)[::-1][kept]


def _thinned(x: Line, y: Line, most: int = _MOST) -> NDArray[np.intp]:
    """Positions of at most `most` points that draw the same line: in equal parts of its length, the first and last.

    So the ends of every long straight piece stay, and whatever is left out lies within a part's length of a neighbour.
    """
    if len(x) <= most:
        return np.arange(len(x))
    length = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    part = np.minimum(length / length[-1] * (most // 2), most // 2 - 1).astype(int)
    border = np.flatnonzero(np.diff(part))
    return np.unique(np.concatenate([[0], border, border + 1, [len(x) - 1]]))


def _defined(is_positive: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> bool:
    return bool(is_positive.any() and not is_positive.all() and np.isfinite(scores).all())
