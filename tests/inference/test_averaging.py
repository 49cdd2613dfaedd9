"""The mean of tables is the mean of probabilities, also where these are too small for floating point."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from medimg.errors import RequestError
from medimg.evaluation.predictions import Predictions
from medimg.inference.averaging import mean_of, pooled


def table(logits: NDArray[np.float64], paths: str, labels: list[int] | None = None) -> Predictions:
    labels = labels or [0] * len(paths)
    return Predictions(tuple(paths), (None,) * len(paths), np.array(labels), logits, ("x", "y", "z")[: logits.shape[1]])


def test_the_mean_of_probabilities_whatever_the_order_of_the_rows() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 5, (3, 6, 3))
    labels = [0, 1, 2, 0, 1, 2]
    order = [3, 1, 5, 0, 4, 2]
    other = table(logits[2][order], "".join("abcdef"[row] for row in order), [labels[row] for row in order])
    found = mean_of([table(logits[0], "abcdef", labels), table(logits[1], "abcdef", labels), other])
    expected = softmax(logits, axis=2).mean(axis=0)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(found.logits), expected, rtol=1e-12)
    assert found.paths == tuple("abcdef")
    assert found.labels.tolist() == labels
    assert found.logits.dtype == np.float64


def test_what_would_be_rounded_to_nothing_keeps_its_order() -> None:
    sure = np.array([[0.0, -1000.0], [0.0, -2000.0]])
    found = mean_of([table(sure, "ab"), table(sure - 3, "ab")])
    np.testing.assert_allclose(found.logits, sure, atol=1e-9)
    halved = mean_of([table(sure, "ab"), table(sure[:, ::-1].copy(), "ab")])
    np.testing.assert_allclose(halved.probabilities, 0.5, rtol=1e-12)


def test_single_precision_is_averaged_in_double() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (2, 50, 2)).astype(np.float32)
    found = mean_of([table(one, "".join(map(chr, range(100, 150)))) for one in logits])
    expected = softmax(logits.astype(np.float64), axis=2).mean(axis=0)
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (table(np.zeros((2, 2)), "ac"), "'b', 'c'"),
        (table(np.zeros((1, 2)), "a"), "'b'"),
        (table(np.zeros((2, 2)), "ab", [0, 1]), r"other labels in two tables: 1 \('b'\)"),
        (table(np.zeros((2, 3)), "ab"), "classes"),
    ],
)
def test_tables_of_other_images_labels_or_classes_are_refused(other: Predictions, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        mean_of([table(np.zeros((2, 2)), "ab"), other])


def test_pooling_keeps_each_row_and_sorts_by_path() -> None:
    found = pooled([table(np.array([[3.0, 0], [1, 0]]), "ca", [1, 0]), table(np.array([[2.0, 0]]), "b", [1])])
    assert found.paths == ("a", "b", "c")
    assert found.logits[:, 0].tolist() == [1, 2, 3]
    assert found.labels.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="different images"):
        pooled([table(np.zeros((1, 2)), "a"), table(np.zeros((1, 2)), "a")])
