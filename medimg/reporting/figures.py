"""Figures as arrays of pixels, for TensorBoard and for files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


def confusion_matrix_figure(
    counts: NDArray[np.integer[Any]], classes: Sequence[str], *, by_true_class: bool = False
) -> NDArray[np.uint8]:
    """A confusion matrix as a picture.

    Args:
        counts: [true, predicted].
        classes: names, in the order of the matrix.
        by_true_class: show shares of each row, that is of the images that truly are of a class. A class without
            images has no shares, and its row stays empty.

    Returns:
        Pixels [H, W, 3].
    """
    totals = counts.sum(axis=1, keepdims=True)
    shown = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan) if by_true_class else counts.astype(float)
    side = 1.8 + 0.75 * len(classes)
    figure = Figure(figsize=(side + 0.4, side), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    highest = 1.0 if by_true_class else max(float(counts.max(initial=0)), 1.0)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=highest)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("share of each true class" if by_true_class else "images", fontsize=10)
    for (row, column), value in np.ndenumerate(shown):
        if np.isfinite(value):
            colour = "white" if value > 0.6 * highest else "black"
            text = f"{value:.2f}" if by_true_class else f"{value:.0f}"
            axes.text(column, row, text, ha="center", va="center", color=colour)
    return pixels(figure)


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure drawn, as [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
    return drawn
