"""The predictions table: a row per image, from which everything in an evaluation is computed."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.errors import RequestError
from medimg.files import write_table

_FIXED = ("path", "patient_id", "label", "prediction")


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities from logits [N, K], computed in float64."""
    wide = np.asarray(logits, dtype=np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said about the images of one split.

    `labels` holds positions in `classes`, int [N]; `logits` is float [N, K]; `patient_ids` has None where the patient
    is unknown. N may be 0; K is the number of classes.
    """

    paths: tuple[str, ...]
    patient_ids: tuple[str | None, ...]
    labels: NDArray[np.integer[Any]]
    logits: NDArray[np.floating[Any]]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = len(self.paths), len(self.classes)
        if self.logits.shape != (n, k) or self.labels.shape != (n,) or len(self.patient_ids) != n:
            raise ValueError(
                f"{n} paths and {k} classes do not go with logits {self.logits.shape}, labels {self.labels.shape} and "
                f"{len(self.patient_ids)} patients"
            )
        if n and not (self.labels.min() >= 0 and self.labels.max() < k):
            raise ValueError(f"labels must lie in 0 .. {k - 1}")

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The plain softmax of the logits, float64 [N, K]."""
        return softmax(self.logits)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class with the largest logit, int64 [N]; the first of them where several are equal."""
        predicted: NDArray[np.int64] = self.logits.argmax(axis=1).astype(np.int64)
        return predicted

    def write_csv(self, file: Path) -> None:
        """Write the table, sorted by path, numbers in full precision; the file appears whole or not at all.

        Columns: path, patient_id (empty where unknown), label, prediction (both class names), then prob_<class> and
        logit_<class> for each class.
        """
        write_table(file, _header(self.classes), self._rows())

    def _rows(self) -> list[list[str | float | None]]:
        names = np.array(self.classes, dtype=object)
        columns = (
            self.paths,
            self.patient_ids,
            names[self.labels],
            names[self.predicted],
            *self.probabilities.T.tolist(),
            *self.logits.T.astype(np.float64).tolist(),
        )
        return sorted((list(row) for row in zip(*columns, strict=True)), key=lambda row: row[0])

    @classmethod
    def read_csv(cls, file: Path) -> Self:
        """Read what `write_csv` wrote, rows in the order of the file, logits as float64.

        Raises:
            RequestError: the file is missing, or is no predictions table.
        """
        try:
            with file.open(encoding="utf-8", newline="") as stream:
                header, *rows = list(csv.reader(stream)) or [[]]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise RequestError(f"{file}: cannot be read as a predictions table: {error}") from None
        classes = tuple(name.removeprefix("prob_") for name in header if name.startswith("prob_"))
        if not classes or header != _header(classes):
            raise RequestError(
                f"{file} is no predictions table.\nIts columns are: {', '.join(header)}\n"
                f"Expected: {', '.join(_FIXED)}, then prob_<class> and logit_<class> for each class."
            )
        position = {name: number for number, name in enumerate(classes)}
        labels, logits = [], []
        for number, row in enumerate(rows, start=2):  # as spreadsheets count: the header is 1
            try:
                cells = dict(zip(header, row, strict=True))
                labels.append(position[cells["label"]])
                logits.append([float(cells[f"logit_{name}"]) for name in classes])
            except (ValueError, KeyError):
                raise RequestError(f"{file}: row {number} is broken: {','.join(row)[:200]}") from None
        return cls(
            paths=tuple(row[0] for row in rows),
            patient_ids=tuple(row[1] or None for row in rows),
            labels=np.array(labels, dtype=np.int64),
            logits=np.array(logits, dtype=np.float64).reshape(len(rows), len(classes)),
            classes=classes,
        )


def _header(classes: Sequence[str]) -> list[str]:
    return [*_FIXED, *(f"prob_{name}" for name in classes), *(f"logit_{name}" for name in classes)]
