"""Everything that results.json says of one split, from its predictions table."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from medimg.config.evaluation import EvaluationConfig
from medimg.evaluation.calibration import (
    brier,
    expected_calibration_error,
    log_loss,
    reliability,
    scaled,
    top_label,
)
from medimg.evaluation.fitting import Fitted, units_by_class
from medimg.evaluation.intervals import Intervals, intervals
from medimg.evaluation.metrics import all_metrics, confusion_matrix
from medimg.evaluation.operating_points import OperatingPoint, apply_point
from medimg.evaluation.patients import by_patient
from medimg.evaluation.predictions import Predictions, softmax
from medimg.evaluation.proportions import clustered_share
from medimg.evaluation.sample import Sample
from medimg.evaluation.subgroups import subgroup_tables
from medimg.evaluation.units import Units, units_of


def summary(sample: Sample, fitted: Fitted, settings: EvaluationConfig) -> dict[str, Any]:
    """The parts of results.json for one split.

    Returns:
        `metrics`: {name: number}, those of patients named `patient/<metric>`; `ci95`: {name: [low, high]}; `partial`:
        how many images were looked at of how many, where that is not all; `evaluation`: the rest. Plain containers.
    """
    table = sample.predictions
    metrics = all_metrics(table.logits, table.labels, table.classes, sample.positive)
    found = _intervals(table, sample.positive, sample.units, settings)
    patients = _by_patient(sample, settings)
    details = {
        "images": len(table.paths),
        "unit": sample.units.kind,
        "units": sample.units.number,
        "by_class": _by_class(sample),
        "absent": [name for number, name in enumerate(table.classes) if not (table.labels == number).any()],
        "confusion": confusion_matrix(table.labels, table.predicted, len(table.classes)).tolist(),
        "flags": found.flags | patients.pop("flags", {}),
        "method": found.method,
        "ci95_by_image": _by_image(sample, settings),
        "calibration": _calibration(table, fitted.temperature),
        "operating_points": _operating_points(sample, fitted),
        "patients": patients.pop("about", None),
        "subgroups": _subgroups(sample, settings),
    }
    return {
        "metrics": metrics | patients.get("metrics", {}),
        "ci95": _lists(found) | patients.get("ci95", {}),
        "partial": [len(table.paths), sample.total] if sample.is_partial else None,
        "evaluation": details,
    }


def _intervals(table: Predictions, positive: str | None, units: Units, settings: EvaluationConfig) -> Intervals:
    return intervals(table.logits, table.labels, table.classes, positive, units, resamples=settings.resamples)


def _lists(found: Intervals) -> dict[str, list[float]]:
    return {name: [low, high] for name, (low, high) in found.ci.items()}


def _by_image(sample: Sample, settings: EvaluationConfig) -> dict[str, list[float]] | None:
    """Intervals as if images were independent of each other, for comparison; None where they are the unit anyway."""
    table = sample.predictions
    if sample.units.kind == "image":
        return None
    images = units_of([None] * len(table.paths))
    return _lists(_intervals(table, sample.positive, images, settings))


def _by_class(sample: Sample) -> dict[str, dict[str, int]]:
    images = np.bincount(sample.predictions.labels, minlength=len(sample.predictions.classes)).tolist()
    units = units_by_class(sample)
    return {name: {"images": images[number], "units": units[name]} for number, name in enumerate(units)}


def _by_patient(sample: Sample, settings: EvaluationConfig) -> dict[str, Any]:
    """Scores of patients, where some patient has more than one image; otherwise they are those of images."""
    table = sample.predictions
    known = [patient for patient in table.patient_ids if patient is not None]
    if len(set(known)) == len(known):
        return {}
    pooled = by_patient(table, settings.patient_score, sample.positive)
    patients = pooled.predictions
    units = units_of(patients.patient_ids)
    found = _intervals(patients, sample.positive, units, settings)
    metrics = all_metrics(patients.logits, patients.labels, patients.classes, sample.positive)
    return {
        "metrics": _prefixed(metrics),
        "ci95": _prefixed(_lists(found)),
        "flags": _prefixed(found.flags),
        "about": {
            "score": settings.patient_score,
            "patients": len(patients.paths),
            "left_out": list(pooled.mixed),
            "images_without_patient": pooled.unknown,
            "confusion": confusion_matrix(patients.labels, patients.predicted, len(patients.classes)).tolist(),
        },
    }


def _prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"patient/{name}": value for name, value in values.items()}


def _calibration(table: Predictions, temperature: float | None) -> dict[str, Any]:
    plain = _calibration_of(table.logits, table.labels)
    if temperature is None:
        return {"plain": plain, "calibrated": None}
    return {"plain": plain, "calibrated": _calibration_of(scaled(table.logits, temperature), table.labels)}


def _calibration_of(logits: Any, labels: Any) -> dict[str, Any]:
    probabilities = softmax(logits)
    return {
        "ece": expected_calibration_error(probabilities, labels),
        "brier": brier(probabilities, labels),
        "log_loss": log_loss(logits, labels),
        "bins": [asdict(row) for row in reliability(*top_label(probabilities, labels))],
    }


def _operating_points(sample: Sample, fitted: Fitted) -> dict[str, dict[str, Any]]:
    """What each threshold does here; empty where the task is not binary."""
    table = sample.predictions
    if fitted.positive is None or not np.isfinite(table.logits).all():
        return {}
    number = table.classes.index(fitted.positive)
    is_positive, scores = table.labels == number, table.probabilities[:, number]
    return {
        name: {"threshold": point.threshold, **apply_point(point, is_positive, scores)}
        | {"ci95": _point_intervals(point, is_positive, scores, sample.units)}
        for name, point in fitted.points.items()
        if point.threshold is not None
    }


def _point_intervals(point: OperatingPoint, is_positive: Any, scores: Any, units: Units) -> dict[str, list[float]]:
    yes = scores >= (point.threshold or 0.0)
    rows = {"sensitivity": is_positive, "specificity": ~is_positive, "ppv": yes, "npv": ~yes}
    right = yes == is_positive
    return {name: list(clustered_share(right[part], units.codes[part])) for name, part in rows.items()}


def _subgroups(sample: Sample, settings: EvaluationConfig) -> dict[str, Any]:
    wanted = settings.subgroups
    columns = {name: values for name, values in sample.columns.items() if wanted is None or name in wanted}
    found = subgroup_tables(
        sample.predictions,
        columns,
        sample.units.codes,
        kind=sample.units.kind,
        floor=settings.min_group,
        positive=sample.positive,
    )
    missing = {name: "the manifest has no such column" for name in wanted or () if name not in sample.columns}
    return {
        "tables": {name: [asdict(row) for row in rows] for name, rows in found.tables.items()},
        "left_out": found.left_out | missing,
    }
