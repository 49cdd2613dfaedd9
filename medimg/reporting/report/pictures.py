"""The figures of a run, drawn once: as SVG for the page, as pixels for files and TensorBoard."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medimg.reporting.report.cited import Cited
from medimg.reporting.report.source import Source
from medimg.reporting.scores import metric_in_words, spoken

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        name: of its file, without ending; `test_roc` and alike, or `training_loss`.
        title: what it shows, for those who cannot see it.
        svg: the content of an SVG.
        pixels: [H, W, 3].
    """

    name: str
    title: str
    svg: bytes
    pixels: "NDArray[np.uint8]"


def draw(source: Source) -> dict[str, Picture]:
    """All figures that the folder has numbers for, by name."""
    from medimg.reporting.drawing import pixels_and_svg

    found = {}
    for name, title, figure in (
        *_training(source),
        *(one for split in source.splits for one in _of_split(source, split)),
    ):
        drawn, svg = pixels_and_svg(figure)
        found[name] = Picture(name, title, svg, drawn)
    return found


_Drawn = Iterator[tuple[str, str, "Figure"]]


def _training(source: Source) -> _Drawn:
    """Loss and the monitored metric by epoch."""
    from medimg.reporting.figures import training_figure

    rows, best = source.epochs.value, source.results.value.get("best_epoch")
    metric = str(source.info.at("monitor", "metric").value or "val/f1_macro").partition("/")[2]
    if not rows or best is None:
        return
    epochs = [int(row["epoch"]) for row in rows]
    for name, wanted in {"training_loss": "loss", f"training_{_file_name(metric)}": metric}.items():
        lines = {split: [_number(row.get(f"{split}/{wanted}")) for row in rows] for split in ("train", "val")}
        known = {split: values for split, values in lines.items() if not all(map(math.isnan, values))}
        if known:
            said = f"{metric_in_words(wanted)} of {' and '.join(known)} by epoch; epoch {best} was chosen"
            yield name, said, training_figure(epochs, known, metric_in_words(wanted), int(best))


def _of_split(source: Source, split: str) -> _Drawn:
    from medimg.reporting.figures import (
        confusion_matrix_figure,
        precision_recall_figure,
        reliability_figure,
        roc_figure,
    )

    about = source.about(split)
    table = source.predictions.get(split)
    if table is None or not about:
        return
    counts = np.array(about.at("confusion").value, dtype=np.int64)
    for suffix, said, by_row in (("", "images", False), ("_by_row", "shares of each true class", True)):
        title = f"Confusion matrix of {split}, {said}"
        yield f"{split}_confusion{suffix}", title, confusion_matrix_figure(counts, table.classes, by_true_class=by_row)
    lines = (table.labels, table.logits, table.classes, source.positive)
    if np.isfinite(table.logits).all():
        points = _points(about, "specificity", "sensitivity")
        roc = {name: (1 - specificity, y) for name, (specificity, y) in points.items()}
        yield f"{split}_roc", f"ROC of {split}", roc_figure(*lines, roc)
        recall = _points(about, "sensitivity", "ppv")
        yield f"{split}_precision_recall", f"Precision and recall of {split}", precision_recall_figure(*lines, recall)
    bins = about.at("calibration", "plain", "bins").value
    if bins:
        calibrated = about.at("calibration", "calibrated", "bins").value
        yield f"{split}_reliability", f"Reliability diagram of {split}", reliability_figure(bins, calibrated)


def _points(about: Cited, x: str, y: str) -> dict[str, tuple[float, float]]:
    found = {
        spoken(str(name)): (point.at(x).value, point.at(y).value)
        for name, point in about.at("operating_points").parts()
    }
    return {name: place for name, place in found.items() if None not in place}


def _number(cell: Any) -> float:
    return float(cell) if cell else math.nan


def _file_name(metric: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in metric)
