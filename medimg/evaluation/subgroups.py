"""Metrics by any other column of the manifest: sex, age, view, source."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.bands import groups_of
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.units import Kind

_WHOLE = ("accuracy", "f1_macro", "auroc")


@dataclass(frozen=True)
class Row:
    """One group. A unit, such as a patient, counts in each group that one of its images is in.

    `class_images` counts images by class; `absent` names the classes without any. `metrics` is empty where the group
    has too few units, and has no macro-F1 where a class is absent: a mean over other classes than in the groups beside
    it could not be compared. `note` says which of the two it is.
    """

    group: str
    images: int
    units: int
    class_images: dict[str, int]
    absent: tuple[str, ...]
    metrics: dict[str, float]
    note: str | None = None


@dataclass(frozen=True)
class Subgroups:
    """A table for each column that makes groups, and why the other columns make none."""

    tables: dict[str, list[Row]]
    left_out: dict[str, str]


def subgroup_tables(
    predictions: Predictions,
    columns: Mapping[str, Sequence[str]],
    codes: NDArray[np.integer[Any]],
    *,
    kind: Kind = "patient",
    floor: int = 20,
    positive: str | None = None,
) -> Subgroups:
    """Accuracy, macro-F1 and AUROC in each group of each column, as `classification_metrics` defines them.

    Macro-F1 is NaN in a group that lacks a class.

    With two classes also `sensitivity` and `specificity` of the positive one. Groups of fewer than `floor` units have
    counts only. See `groups_of` for what the groups of a column are.

    Args:
        predictions: of one split.
        columns: by name, the values in the order of the predictions.
        codes: int [N], the unit (patient) of each image.
        kind: what the units are.
        floor: the fewest units for which metrics are given.
        positive: the positive class of two; by default the second.
    """
    tables: dict[str, list[Row]] = {}
    left_out: dict[str, str] = {}
    for name, values in columns.items():
        if not len(values) == len(codes) == len(predictions.paths):
            raise ValueError(f"{name}: {len(values)} values, {len(codes)} codes, {len(predictions.paths)} predictions")
        found = groups_of(name, values, codes)
        if isinstance(found, str):
            left_out[name] = found
            continue
        of_row = np.array(found.of_row, dtype=object)
        tables[name] = []
        for group in found.order:
            member = of_row == group
            units = len(np.unique(codes[member]))
            few = f"fewer than {floor} {kind}s: counts only" if units < floor else None
            tables[name].append(_row(group, predictions, member, units, few, positive))
    return Subgroups(tables, left_out)


def _row(
    group: str,
    predictions: Predictions,
    member: NDArray[np.bool_],
    units: int,
    few: str | None,
    positive: str | None,
) -> Row:
    labels = predictions.labels[member]
    counts = np.bincount(labels, minlength=len(predictions.classes)).tolist()
    by_class = dict(zip(predictions.classes, counts, strict=True))
    absent = tuple(name for name, count in by_class.items() if not count)
    return Row(
        group=group,
        images=len(labels),
        units=units,
        class_images=by_class,
        absent=absent,
        metrics=_metrics(predictions.logits[member], labels, predictions.classes, positive) if few is None else {},
        note=few or _note(absent),
    )


def _note(absent: tuple[str, ...]) -> str | None:
    if not absent:
        return None
    return f"no images of {', '.join(absent)}, so macro-F1 is not defined"


def _metrics(
    logits: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: tuple[str, ...], positive: str | None
) -> dict[str, float]:
    from medimg.evaluation.metrics import classification_metrics

    found = classification_metrics(logits, labels, classes, positive)
    wanted = {name: found[name] for name in _WHOLE}
    if len(np.unique(labels)) < len(classes):
        wanted["f1_macro"] = math.nan
    if len(classes) == 2:
        wanted |= {name: found[f"{name}/{positive or classes[-1]}"] for name in ("sensitivity", "specificity")}
    return wanted
