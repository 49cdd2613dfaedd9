"""Pictures are looked at as pixels: what is dark, what is empty, what grows; curves point by point."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from medimg.reporting.drawing import pixels, svg
from medimg.reporting.figures import (
    confusion_matrix_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    training_figure,
)

CLASSES = ["ILD", "Normal", "pneumonia"]


def cells(picture: np.ndarray, k: int) -> np.ndarray:
    """The mean brightness of each cell, [k, k], beside its number."""
    black = (picture < 40).all(axis=-1)  # the longest straight black lines are the frame
    rows = np.flatnonzero(black.sum(axis=1) > 0.4 * picture.shape[1])
    columns = np.flatnonzero(black.sum(axis=0) > 0.4 * picture.shape[0])
    box = picture[rows.min() : rows.max(), columns.min() : columns.max()].astype(float)

    def corner(cell: int, side: int) -> slice:
        return slice(int((cell + 0.1) * side / k), int((cell + 0.3) * side / k))

    places = [[(corner(row, box.shape[0]), corner(column, box.shape[1])) for column in range(k)] for row in range(k)]
    return np.array([[box[place].mean() for place in line] for line in places])


@pytest.mark.parametrize("by_true_class", [False, True])
def test_a_perfect_matrix_is_dark_on_its_diagonal_alone(by_true_class: bool) -> None:
    shown = cells(pixels(confusion_matrix_figure(np.diag([5, 5, 5]), CLASSES, by_true_class=by_true_class)), 3)
    assert shown.diagonal().max() < 80
    assert shown[~np.eye(3, dtype=bool)].min() > 240


def test_rows_are_the_true_classes() -> None:
    counts = np.array([[1, 9, 0], [0, 1, 0], [0, 0, 1]])
    shown = cells(pixels(confusion_matrix_figure(counts, CLASSES)), 3)
    assert shown[0, 1] == shown.min()
    assert shown[1, 0] == shown.max()


def test_shares_do_not_depend_on_the_size_of_a_class() -> None:
    counts = np.array([[90, 10, 0], [1, 9, 0], [0, 0, 5]])
    shown = cells(pixels(confusion_matrix_figure(counts, CLASSES, by_true_class=True)), 3)
    assert shown[0, 0] == pytest.approx(shown[1, 1], abs=1)
    assert shown[0, 1] == pytest.approx(shown[1, 0], abs=1)
    by_count = cells(pixels(confusion_matrix_figure(counts, CLASSES)), 3)
    assert by_count[0, 0] + 50 < by_count[1, 1]


@pytest.mark.filterwarnings("error")
def test_a_class_without_images_has_an_empty_row() -> None:
    counts = np.array([[3, 0, 0], [0, 0, 0], [1, 0, 2]])
    shown = cells(pixels(confusion_matrix_figure(counts, CLASSES, by_true_class=True)), 3)
    assert shown[1] == pytest.approx([255] * 3, abs=1)  # not even the lightest blue, which is a share of 0
    assert shown[0, 0] < 80


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("by_true_class", [False, True])
def test_no_images_at_all_can_be_drawn(by_true_class: bool) -> None:
    picture = pixels(confusion_matrix_figure(np.zeros((2, 2), dtype=np.int64), ["a", "b"], by_true_class=by_true_class))
    assert cells(picture, 2).min() > 240


def test_it_is_a_picture_that_grows_with_the_number_of_classes() -> None:
    small = pixels(confusion_matrix_figure(np.eye(2, dtype=np.int64), ["a", "b"]))
    large = pixels(
        confusion_matrix_figure(np.eye(9, dtype=np.int64), [f"a class with a long name {n}" for n in range(9)])
    )
    assert small.dtype == large.dtype == np.uint8
    assert (small.ndim, small.shape[2]) == (3, 3)
    assert large.shape[0] > 2 * small.shape[0]


def drawn_lines(figure: Figure) -> dict[str, np.ndarray]:
    """The lines that the legend names, as [points, 2]."""
    axes = figure.axes[0]
    box = axes.get_legend()
    assert box is not None
    by_look = {(line.get_color(), line.get_linestyle(), line.get_marker()): line for line in axes.lines}
    looks = [(one.get_color(), one.get_linestyle(), one.get_marker()) for one in box.legend_handles]
    return {
        text.get_text().strip(): np.asarray(by_look[look].get_xydata())
        for text, look in zip(box.get_texts(), looks, strict=True)
    }


def noisy(k: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(k)
    labels = generator.integers(0, k, n)
    logits = generator.normal(size=(n, k))
    logits[np.arange(n), labels] += 1
    return labels, logits


def test_roc_is_that_of_scikit_learn_and_points_lie_on_it() -> None:
    labels, logits = noisy(2)
    scores = logits[:, 1] - logits[:, 0]
    yes, is_one = scores >= 0, labels == 1
    point = ((yes & ~is_one).sum() / (~is_one).sum(), (yes & is_one).sum() / is_one.sum())
    lines = drawn_lines(roc_figure(labels, logits, ["a", "_b$x$"], "_b$x$", {"argmax": point}))
    x, y = lines["_b$x$"].T
    assert auc(x, y) == pytest.approx(roc_auc_score(is_one, scores))
    np.testing.assert_allclose(lines["argmax"], [point])
    assert np.interp(point[0], x, y) >= point[1] - 1e-9


def test_each_class_has_its_own_line_which_no_colour_alone_tells() -> None:
    labels, logits = noisy(9)
    classes = [f"class {number}" for number in range(9)]
    lines = drawn_lines(roc_figure(labels, logits, classes))
    assert list(lines) == classes
    for number, name in enumerate(classes):
        others = np.delete(logits, number, axis=1)
        odds = logits[:, number] - np.log(np.exp(others).sum(axis=1))
        assert auc(*lines[name].T) == pytest.approx(roc_auc_score(labels == number, odds))


def test_precision_recall_is_that_of_scikit_learn() -> None:
    labels, logits = noisy(2)
    lines = drawn_lines(precision_recall_figure(labels, logits, ["a", "b"], "b"))
    recall, precision = lines["b"].T
    expected = average_precision_score(labels == 1, logits[:, 1] - logits[:, 0])
    assert float((np.diff(recall) * precision[1:]).sum()) == pytest.approx(expected)
    assert lines["guessing"][:, 1] == pytest.approx((labels == 1).mean())


def test_a_class_without_images_has_no_line() -> None:
    labels, logits = noisy(3)
    labels[labels == 1] = 0
    for draw in (roc_figure, precision_recall_figure):
        assert list(drawn_lines(draw(labels, logits, ["a", "b", "c"]))) == ["a", "c"]


def test_reliability_shows_the_bins_that_have_images() -> None:
    bins = [{"images": 0, "confidence": None, "accuracy": None}, {"images": 4, "confidence": 0.9, "accuracy": 0.5}]
    lines = drawn_lines(reliability_figure(bins, [{"images": 4, "confidence": 0.6, "accuracy": 0.5}]))
    np.testing.assert_allclose(lines["as the model says"], [[0.9, 0.5]])
    np.testing.assert_allclose(lines["at the fitted temperature"], [[0.6, 0.5]])


def test_bins_of_few_images_are_put_together() -> None:
    bins = [{"images": n, "confidence": c, "accuracy": a} for n, c, a in [(1, 0.5, 1), (9, 0.6, 0), (30, 0.9, 0.8)]]
    figure = reliability_figure([*bins, {"images": 2, "confidence": 0.98, "accuracy": 1.0}])
    expected = [[0.59, 0.1], [(27 + 1.96) / 32, (24 + 2) / 32]]
    np.testing.assert_allclose(drawn_lines(figure)["as the model says"], expected)
    assert [text.get_text() for text in figure.axes[0].texts] == ["10", "32"]


def test_the_chosen_epoch_is_marked_and_gaps_stay_gaps() -> None:
    lines = drawn_lines(training_figure([0, 1, 2], {"train": [3, 2, 1], "val": [3, math.nan, 2]}, "loss", best=2))
    np.testing.assert_array_equal(lines["val"], [[0, 3], [1, math.nan], [2, 2]])
    assert set(lines["chosen epoch"][:, 0]) == {2}


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_figure() -> None:
    names = [f"{letter}{'_very_long' * 20}" for letter in "abc"]
    labels, logits = noisy(3)
    for figure in (confusion_matrix_figure(np.eye(3, dtype=np.int64), names), roc_figure(labels, logits, names)):
        assert pixels(figure).shape[0] > 100
        assert figure.axes[0].get_position().width > 0.3


def test_an_svg_is_the_same_each_time_and_holds_text() -> None:
    twice = [svg(confusion_matrix_figure(np.diag([12, 34]), ["<a>", "b & c"])) for _ in range(2)]
    assert twice[0] == twice[1]
    texts = "".join(ElementTree.fromstring(twice[0]).itertext())
    assert all(word in texts for word in ("<a>", "b & c", "12", "34"))
    assert b"<script" not in twice[0]
