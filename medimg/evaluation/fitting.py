"""What is fitted on validation and applied elsewhere: operating points and a temperature, or the reason why not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medimg.config.evaluation import EvaluationConfig
from medimg.evaluation.calibration import fit_temperature
from medimg.evaluation.operating_points import OperatingPoint, choose_points
from medimg.evaluation.sample import Sample


@dataclass(frozen=True)
class Fitted:
    """Thresholds and temperature of a model.

    Attributes:
        positive: the positive class; None where the task is not binary, and `points` is empty.
        points: operating points by name.
        chosen: the name of the one that answers yes or no.
        temperature: logits are divided by it before they are called calibrated; None where it was not fitted.
        units: how many patients, groups or images of each class it was fitted on.
        reason: why thresholds, temperature or both were not fitted.
        not_chosen: why the operating point that was asked for is not in use, where others were fitted.
    """

    positive: str | None = None
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)
    chosen: str = "argmax"
    temperature: float | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    reason: str | None = None
    not_chosen: str | None = None

    @property
    def point(self) -> OperatingPoint | None:
        """The operating point that answers yes or no; None where the task is not binary."""
        return self.points.get(self.chosen)

    def as_results(self) -> dict[str, Any]:
        """As it stands in results.json."""
        found: dict[str, Any] = {
            "temperature": {
                "value": self.temperature,
                "fitted_on": "val" if self.temperature is not None else None,
                "safe": self.temperature is not None,
                "reason": self.reason,
                "units": dict(self.units),
            }
        }
        if self.positive is None:
            return found
        points = {
            name: {"threshold": point.threshold, "rule": point.rule}
            | ({"reason": point.reason} if point.reason else {})
            for name, point in self.points.items()
        }
        fitted = len(points) > 1 and self.not_chosen is None
        return found | {
            "operating_points": {
                "chosen": self.chosen,
                "positive_class": self.positive,
                "fitted_on": "val" if fitted else None,
                "safe": fitted,
                "reason": self.not_chosen or (self.reason if len(points) == 1 else None),
                "units": dict(self.units),
                "points": points,
            }
        }


def fit(sample: Sample | None, settings: EvaluationConfig, positive: str | None) -> Fitted:
    """Chooses operating points and a temperature on validation.

    With fewer than `min_patients` units in a class nothing is fitted: a threshold that few patients chose is as much
    chance as knowledge. The answer is then the more probable class, and probabilities are left as they are.

    Args:
        sample: of the validation split; None where there is none.
        settings: which rules, and how many units are enough.
        positive: the positive class of a binary task.
    """
    nothing = Fitted(positive, _argmax() if positive else {})
    if sample is None:
        return replace(nothing, reason="there is no validation split to fit on")
    units = units_by_class(sample)
    nothing = replace(nothing, units=units)
    if sample.is_partial:
        return replace(nothing, reason="not all of the validation split was looked at")
    few = [name for name, number in units.items() if number < settings.min_patients]
    if few:
        counted = ", ".join(f"{units[name]} of {name}" for name in few)
        reason = f"validation has too few {plural(sample.units.kind)} ({counted}; evaluation.min_patients="
        return replace(nothing, reason=f"{reason}{settings.min_patients}), so a fit would be chance")
    table = sample.predictions
    if not np.isfinite(table.logits).all():
        return replace(nothing, reason="some predictions of validation are no finite numbers")
    fitted = nothing
    if positive is not None:
        number = table.classes.index(positive)
        points = choose_points(
            table.labels == number,
            table.probabilities[:, number],
            specificity=settings.specificity,
            sensitivity=settings.sensitivity,
            false_negative_cost=settings.false_negative_cost,
        )
        wanted = points[settings.operating_point]
        fitted = replace(fitted, points=points, chosen=wanted.name if wanted.threshold is not None else "argmax")
        if wanted.threshold is None:
            fitted = replace(fitted, not_chosen=f"{wanted.name} cannot be met on validation: {wanted.reason}")
    temperature = fit_temperature(table.logits, table.labels)
    if math.isnan(temperature):
        right = bool((table.predicted == table.labels).all())
        why = "every validation image is right" if right else "no temperature lowers the loss on validation"
        return replace(fitted, reason=f"{why}, so there is no temperature to fit")
    return replace(fitted, temperature=temperature)


def units_by_class(sample: Sample) -> dict[str, int]:
    """How many patients, groups or images have an image of each class."""
    table = sample.predictions
    return {
        name: len(np.unique(sample.units.codes[table.labels == number])) for number, name in enumerate(table.classes)
    }


def plural(kind: str) -> str:
    """`patients`, `groups` or `images`."""
    return f"{kind}s"


def _argmax() -> dict[str, OperatingPoint]:
    return {"argmax": OperatingPoint("argmax", 0.5, "the more probable class")}
