"""The table of predictions for new images: its columns, its rows, and what they come to."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.predictions import softmax

if TYPE_CHECKING:
    from medimg.inference.predictor import Predictor

_SHOWN = 3
MAP = "map"

Row = list[str]


@dataclass(frozen=True)
class Table:
    """How logits become a row.

    `columns` are those of the CSV that named the images; one that is called like ours gets `input_` before its name.
    `threshold` is the probability of `positive_class` from which on the answer is yes; None: no column for it.
    """

    classes: tuple[str, ...]
    positive_class: str | None = None
    threshold: float | None = None
    temperature: float | None = None
    maps: bool = False
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, predictor: "Predictor", *, maps: bool = False, columns: tuple[str, ...] = ()) -> Self:
        """The table of what a predictor says. Where no operating point was chosen, the larger probability decides."""
        positive = predictor.positive_class
        threshold = 0.5 if predictor.threshold is None else predictor.threshold
        return cls(predictor.classes, positive, threshold if positive else None, predictor.temperature, maps, columns)

    @property
    def header(self) -> Row:
        """The columns; numbers are in full precision."""
        ours = self._answer
        carried = [f"input_{name}" if name in {"path", *ours} else name for name in self.columns]
        return ["path", *carried, *ours]

    @property
    def _answer(self) -> Row:
        return [
            "prediction",
            *(f"prob_{name}" for name in self.classes),
            *(f"calibrated_{name}" for name in self.classes if self.temperature is not None),
            *(["positive"] if self.threshold is not None else []),
            *([MAP] if self.maps else []),
            "error",
        ]

    def row(self, path: str, logits: NDArray[np.floating[Any]], picture: str = "", values: Sequence[str] = ()) -> Row:
        """The row of an image with logits [K]; one with what is no number, as of a broken model, is an error."""
        if not np.isfinite(logits).all():
            return self.failed(path, "the model's answer is not a finite number", values)
        plain = softmax(logits[None])[0]
        cells = [path, *values, self.classes[int(logits.argmax())], *_full(plain)]
        if self.temperature is not None:
            cells += _full(softmax(logits[None] / self.temperature)[0])
        if self.threshold is not None and self.positive_class is not None:
            cells.append("yes" if plain[self.classes.index(self.positive_class)] >= self.threshold else "no")
        return [*cells, *([picture] if self.maps else []), ""]

    def failed(self, path: str, reason: str, values: Sequence[str] = ()) -> Row:
        """The row of an image that cannot be read."""
        return [path, *values, *[""] * (len(self._answer) - 1), reason]


@dataclass
class Tally:
    """What rows come to: images by class, and those without an answer, the first few with the reason.

    `kept` is how many of all rows were there from a request that was ended.
    """

    classes: Counter[str] = field(default_factory=Counter)
    positive: int = 0
    failed: int = 0
    kept: int = 0
    first_failed: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: Row, header: Sequence[str]) -> None:
        """Counts a row."""
        if not row[-1]:
            self.classes[row[header.index("prediction")]] += 1
            self.positive += "positive" in header and row[header.index("positive")] == "yes"
            return
        self.failed += 1
        if len(self.first_failed) < _SHOWN:
            self.first_failed.append((row[0], row[-1]))


def maps_folder(table: Path) -> Path:
    """Where the pictures of a table go."""
    return table.with_name(f"{table.stem}_maps")


def as_line(row: Row) -> bytes:
    """A row as CSV."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue().encode()


def from_line(line: bytes) -> Row:
    """The reverse of `as_line`; empty where it is none."""
    try:
        return next(csv.reader([line.decode()]), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _full(values: NDArray[np.float64]) -> list[str]:
    return [repr(value) for value in values.tolist()]
