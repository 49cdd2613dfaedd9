import numpy as np
import pytest
from sklearn import metrics as reference

from medimg.errors import RequestError
from medimg.evaluation.metrics import classification_metrics
from medimg.evaluation.weighted import metric_names, weighted_metric

CLASSES = ("a", "b", "c", "d")


def draw(n, k, units, seed=0):
    rng = np.random.default_rng(seed)
    labels, codes = rng.integers(0, k, n), rng.integers(0, units, n)
    codes[:units] = np.arange(units)
    scores = (rng.normal(size=(n, k)) + np.eye(k)[labels]).round(1)  # with ties
    return scores, labels, codes


def written_out(weights, codes):
    """The rows of a resample, one after another, as a plain bootstrap would have them."""
    return np.repeat(np.arange(len(codes)), weights[codes].astype(int))


@pytest.mark.parametrize("k", [2, 4])
def test_weights_are_the_same_as_rows_written_out(k):
    classes = CLASSES[:k]
    scores, labels, codes = draw(60, k, 20)
    weights = np.random.default_rng(1).integers(0, 3, (8, 20)).astype(float)
    known = [name for name in metric_names(classes) if name not in ("mcc", "balanced_accuracy", "auroc")]
    for name in (name for name in known if not name.startswith("precision/")):
        found = weighted_metric(name, scores, labels, codes, classes)(weights)
        for value, row in zip(found, weights, strict=True):
            rows = written_out(row, codes)
            assert value == pytest.approx(classification_metrics(scores[rows], labels[rows], classes)[name], abs=1e-6)


@pytest.mark.parametrize("k", [2, 4])
def test_against_sklearn(k):
    classes = CLASSES[:k]
    scores, labels, codes = draw(80, k, 20, seed=2)
    weights = np.random.default_rng(3).integers(0, 3, (5, 20)).astype(float)
    found = {name: weighted_metric(name, scores, labels, codes, classes)(weights) for name in metric_names(classes)}
    for number, row in enumerate(weights):
        rows = written_out(row, codes)
        truth, said = labels[rows], scores[rows].argmax(axis=1)
        assert found["mcc"][number] == pytest.approx(reference.matthews_corrcoef(truth, said))
        assert found["balanced_accuracy"][number] == pytest.approx(reference.balanced_accuracy_score(truth, said))
        assert found["precision/b"][number] == pytest.approx(reference.precision_score(truth == 1, said == 1))
        asked = range(k) if k > 2 else [1]
        aurocs = [reference.roc_auc_score(truth == c, scores[rows, c]) for c in asked]
        assert found["auroc"][number] == pytest.approx(np.mean(aurocs))


def test_a_class_that_a_resample_lost_is_not_averaged():
    labels, codes = np.array([0, 1, 2]), np.arange(3)
    scores = np.eye(3)
    weights = np.array([[1.0, 1.0, 0.0]])
    assert weighted_metric("f1_macro", scores, labels, codes, ("a", "b", "c"))(weights) == pytest.approx(1)
    assert weighted_metric("auroc", scores, labels, codes, ("a", "b", "c"))(weights) == pytest.approx(1)
    assert np.isnan(weighted_metric("sensitivity/c", scores, labels, codes, ("a", "b", "c"))(weights)).all()


def test_the_positive_class_of_two():
    scores, labels, codes = draw(40, 2, 40, seed=4)
    ones = np.ones((1, 40))
    found = weighted_metric("auroc", scores, labels, codes, ("a", "b"), positive="a")(ones)
    assert found == pytest.approx(reference.roc_auc_score(labels == 0, scores[:, 0]))


def test_an_unknown_metric_is_answered_with_the_nearest():
    scores, labels, codes = draw(10, 2, 10)
    with pytest.raises(RequestError, match="Did you mean 'f1_macro'"):
        weighted_metric("f1macro", scores, labels, codes, ("a", "b"))
