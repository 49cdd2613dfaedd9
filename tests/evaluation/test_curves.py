import numpy as np
import pytest
from sklearn import metrics as reference

from medimg.evaluation.curves import precision_recall_points, roc_points


def draw(n, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    is_positive = rng.random(n) < 0.3
    scores = rng.normal(size=n) + 1.2 * is_positive
    return is_positive, scores if decimals is None else scores.round(decimals)


def farthest(x, y, line_x, line_y):
    """How far the farthest of some points is from a line of straight pieces."""
    start, step = np.stack([line_x[:-1], line_y[:-1]]), np.stack([np.diff(line_x), np.diff(line_y)])
    length = np.maximum((step**2).sum(axis=0), 1e-30)
    worst = 0.0
    for point in np.stack([x, y], axis=1):
        along = np.clip(((point[:, None] - start) * step).sum(axis=0) / length, 0, 1)
        worst = max(worst, np.hypot(*(start + along * step - point[:, None])).min())
    return worst


@pytest.mark.parametrize("decimals", [None, 1])
def test_small_curves_are_those_of_sklearn(decimals):
    is_positive, scores = draw(150, decimals=decimals)
    fpr, tpr, thresholds = roc_points(is_positive, scores)
    expected = reference.roc_curve(is_positive, scores)
    for found, wanted in zip((fpr, tpr, thresholds), expected, strict=True):
        assert found.tolist() == wanted.tolist()
    recall, precision, thresholds = precision_recall_points(is_positive, scores)
    all_precision, all_recall, _ = reference.precision_recall_curve(is_positive, scores)
    assert farthest(all_recall, all_precision, recall, precision) < 1e-12
    assert (recall[0], precision[0], thresholds[0]) == (0, 1, np.inf)
    assert recall[-1] == 1
    for number in (1, len(recall) // 2, len(recall) - 1):
        yes = scores >= thresholds[number]
        assert recall[number] == pytest.approx(reference.recall_score(is_positive, yes))
        assert precision[number] == pytest.approx(reference.precision_score(is_positive, yes))


def test_the_picture_of_many_images_stays():
    is_positive, scores = draw(20_000, seed=1)
    fpr, tpr, thresholds = roc_points(is_positive, scores)
    all_fpr, all_tpr, _ = reference.roc_curve(is_positive, scores)
    assert len(all_fpr) > 2000
    assert len(fpr) == len(tpr) == len(thresholds) <= 500
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert farthest(all_fpr, all_tpr, fpr, tpr) < 0.004
    assert reference.auc(fpr, tpr) == pytest.approx(reference.roc_auc_score(is_positive, scores), abs=1e-3)
    recall, precision, thresholds = precision_recall_points(is_positive, scores)
    all_precision, all_recall, _ = reference.precision_recall_curve(is_positive, scores)
    assert len(recall) == len(precision) == len(thresholds) <= 500
    assert farthest(all_recall, all_precision, recall, precision) < 0.01


def test_corners_stay():
    # one long step of equal scores in the middle of thousands of small ones
    is_positive, scores = draw(20_000, seed=2)
    scores[(scores > 0) & (scores < 1)] = 0.5
    fpr, tpr, _ = roc_points(is_positive, scores)
    all_fpr, all_tpr, _ = reference.roc_curve(is_positive, scores)
    long = int(np.argmax(np.diff(all_fpr) + np.diff(all_tpr)))
    kept = set(zip(fpr.tolist(), tpr.tolist(), strict=True))
    assert all_fpr[long + 1] - all_fpr[long] > 0.2
    assert {(all_fpr[long], all_tpr[long]), (all_fpr[long + 1], all_tpr[long + 1])} <= kept


@pytest.mark.parametrize(
    ("is_positive", "scores"), [([True, True], [0.1, 0.2]), ([], []), ([True, False], [np.nan, 0.2])]
)
def test_curves_that_are_not_defined_are_empty(is_positive, scores):
    for curve in (roc_points, precision_recall_points):
        assert [len(part) for part in curve(np.array(is_positive, bool), np.array(scores, float))] == [0, 0, 0]
