"""Pictures are looked at as pixels: what is dark, what is empty, what grows."""

import numpy as np
import pytest

from medimg.reporting.drawing import pixels
from medimg.reporting.figures import confusion_matrix_figure

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
