"""The figures of an evaluation, one function each, drawn from numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from medimg.evaluation.curves import precision_recall_points, roc_points
from medimg.reporting.drawing import COLOURS, MARKERS, Entries, legend, line_style, new_figure, short, styled

Points = Mapping[str, tuple[float, float]]  # name of an operating point: where it lies

_MOST_CLASSES = 28  # as many lines differ
_MOST_NUMBERS = 25  # classes up to which the numbers of a confusion matrix can be read
_LEAST = 10  # images of a point of the reliability diagram
_GREY = "#767676"


@styled
def confusion_matrix_figure(
    counts: NDArray[np.integer[Any]], classes: Sequence[str], *, by_true_class: bool = False
) -> Figure:
    """A confusion matrix.

    Args:
        counts: [true, predicted].
        classes: names, in the order of the matrix.
        by_true_class: show shares of each row, that is of the images that truly are of a class. A class without
            images has no shares, and its row stays empty.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shown = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan) if by_true_class else counts.astype(float)
    side = 1.8 + 0.75 * min(len(classes), 14)
    figure, axes = new_figure(side + 0.4, side)
    highest = 1.0 if by_true_class else max(float(counts.max(initial=0)), 1.0)
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=highest)
    axes.spines[["top", "right"]].set_visible(True)
    axes.grid(visible=False)
    names = [short(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("share of each true class" if by_true_class else "images", fontsize=10)
    if len(classes) <= _MOST_NUMBERS:
        _write_cells(axes, shown, highest, "{:.2f}" if by_true_class else "{:.0f}")
    return figure


@styled
def roc_figure(
    labels: NDArray[np.integer[Any]],
    logits: NDArray[np.floating[Any]],
    classes: Sequence[str],
    positive: str | None = None,
    points: Points | None = None,
) -> Figure:
    """ROC: of the positive class with its operating points, or of each class against the rest.

    Args:
        labels: int [N], positions in `classes`.
        logits: [N, K].
        classes: the K names.
        positive: the positive class of two; None: a line for each class.
        points: (1 - specificity, sensitivity) by name.
    """
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    entries = _curves(axes, _one_vs_rest(labels, logits, classes, positive), roc_points)
    _mark(axes, entries, points or {})
    _finish(axes, entries, "1 - specificity", "sensitivity", "ROC", "lower right")
    return figure


@styled
def precision_recall_figure(
    labels: NDArray[np.integer[Any]],
    logits: NDArray[np.floating[Any]],
    classes: Sequence[str],
    positive: str | None = None,
    points: Points | None = None,
) -> Figure:
    """Precision against recall; arguments as in `roc_figure`, with (recall, precision) as points.

    With one line its dotted companion is the share of positive images, which is the precision of guessing.
    """
    figure, axes = new_figure()
    lines = _one_vs_rest(labels, logits, classes, positive)
    entries = _curves(axes, lines, precision_recall_points, drawstyle="steps-pre")
    if len(lines) == 1 and entries:
        guess = axes.axhline(float(lines[0][1].mean()), color=_GREY, linewidth=1, linestyle=":")
        entries.append(("guessing", guess))
    _mark(axes, entries, points or {})
    _finish(axes, entries, "recall (sensitivity)", "precision", "Precision and recall", "lower left")
    return figure


@styled
def reliability_figure(
    plain: Sequence[Mapping[str, Any]], calibrated: Sequence[Mapping[str, Any]] | None = None
) -> Figure:
    """How often the predicted class was right, by the probability that it was given.

    Args:
        plain: bins of the softmax, as `medimg.evaluation.calibration.Bin` has them; `confidence` and `accuracy` of an
            empty one may be None. Neighbours are put together until they have ten images, whose number stands beside.
        calibrated: those at the fitted temperature.
    """
    figure, axes = new_figure()
    (perfect,) = axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    entries: Entries = [("perfect calibration", perfect)]
    kinds = {"as the model says": plain} | ({"at the fitted temperature": calibrated} if calibrated else {})
    for number, (name, bins) in enumerate(kinds.items()):
        images, x, y = _put_together(bins)
        areas = 15 + 150 * images / max(1, images.sum())
        axes.scatter(x, y, s=areas, color=COLOURS[number], marker=MARKERS[number], clip_on=False)
        entries.append((name, axes.plot(x, y, **line_style(number), marker=MARKERS[number], markersize=3)[0]))
        for here, place in zip(images, zip(x, y, strict=True), strict=True):
            beside = (-8, 6 - 16 * number)  # the two kinds apart, above and below
            axes.annotate(
                f"{here:.0f}", place, beside, textcoords="offset points", ha="right", fontsize=8, color=COLOURS[number]
            )
    _finish(axes, entries, "probability of the predicted class", "share that is right", "Reliability", "upper left")
    return figure


@styled
def training_figure(epochs: Sequence[int], lines: Mapping[str, Sequence[float]], title: str, best: int) -> Figure:
    """What was measured in each epoch, and which epoch was chosen.

    Args:
        epochs: numbers.
        lines: by name, a value for each epoch; NaN where there is none.
        title: what was measured.
        best: the chosen epoch.
    """
    figure, axes = new_figure(4.6, 3.4)
    entries: Entries = []
    for number, (name, values) in enumerate(lines.items()):
        mark: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4} if len(epochs) <= 40 else {}
        entries.append((name, axes.plot(epochs, values, **line_style(number), **mark)[0]))
    entries.append(("chosen epoch", axes.axvline(best, color=_GREY, linewidth=1, linestyle=":")))
    axes.set_xlabel("epoch")
    axes.set_title(title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes, entries)
    return figure


def _put_together(bins: Sequence[Mapping[str, Any]]) -> tuple[NDArray[np.float64], ...]:
    """Images, mean probability and share that is right of neighbouring bins with `_LEAST` images or more together.

    A bin of one image is right or wrong, and a line through it says nothing.
    """
    sums: list[NDArray[np.float64]] = []
    for row in (row for row in bins if row["images"]):
        weighted = np.array([1, row["confidence"], row["accuracy"]]) * row["images"]
        if sums and sums[-1][0] < _LEAST:
            sums[-1] += weighted
        else:
            sums.append(weighted)
    if len(sums) > 1 and sums[-1][0] < _LEAST:
        sums[-2:] = [sums[-2] + sums[-1]]
    images, confidence, accuracy = np.array(sums).reshape(-1, 3).T
    return images, confidence / images, accuracy / images


_Line = tuple[str, NDArray[np.bool_], NDArray[np.float64]]
_Points = Callable[[NDArray[np.bool_], NDArray[np.float64]], tuple[NDArray[np.float64], ...]]


def _curves(axes: Axes, lines: Sequence[_Line], points: _Points, **style: Any) -> Entries:
    """Draws what is defined of the lines; what the legend says of them."""
    entries: Entries = []
    for number, (name, is_one, odds) in enumerate(lines):
        x, y, *_ = points(is_one, odds)
        if len(x):
            entries.append((name, axes.plot(x, y, **style, **line_style(number))[0]))
    return entries


def _one_vs_rest(
    labels: NDArray[np.integer[Any]], logits: NDArray[np.floating[Any]], classes: Sequence[str], positive: str | None
) -> list[_Line]:
    """Name, membership and log-odds, which keep the order that probabilities near 1 lose, of each line."""
    wide = logits.astype(np.float64)
    shown = [positive] if positive is not None else list(classes)[:_MOST_CLASSES]
    found = []
    for name in shown:
        number = list(classes).index(name)
        with np.errstate(invalid="ignore"):
            odds = wide[:, number] - np.logaddexp.reduce(np.delete(wide, number, axis=1), axis=1)
        found.append((name, labels == number, odds))
    return found


def _mark(axes: Axes, entries: Entries, points: Points) -> None:
    for number, (name, (x, y)) in enumerate(points.items()):
        colour, marker = COLOURS[(number + 1) % len(COLOURS)], MARKERS[number % len(MARKERS)]
        entries.append(
            (name, axes.plot([x], [y], marker, color=colour, markeredgecolor="black", markersize=8, zorder=4)[0])
        )


def _finish(axes: Axes, entries: Entries, x: str, y: str, title: str, place: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    if entries:
        legend(axes, entries, loc=place)


def _write_cells(axes: Axes, shown: NDArray[np.float64], highest: float, pattern: str) -> None:
    for (row, column), value in np.ndenumerate(shown):
        if np.isfinite(value):
            colour = "white" if value > 0.6 * highest else "black"
            axes.text(column, row, pattern.format(value), ha="center", va="center", color=colour)
