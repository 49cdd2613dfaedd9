"""Operating points of a binary task: thresholds chosen by a rule on one split, and what they do on another."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.errors import RequestError

_GAP = 1e-6  # scores nearer than this can change places when the same model runs in float32 somewhere else
_COUNTS = ("tp", "fp", "tn", "fn")
_RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "f1", "youden")

Scores = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on the probability of the positive class: yes where `score >= threshold`.

    `rule` says in words how it was chosen. Where the rule cannot be met, `threshold` is None and `reason` says why.
    """

    name: str
    threshold: float | None
    rule: str
    reason: str | None = None


@dataclass(frozen=True)
class _Cuts:
    """Every threshold that two scores leave room for, the highest first, with its true and false positives."""

    thresholds: NDArray[np.float64]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    positives: int
    negatives: int

    @property
    def tn(self) -> NDArray[np.int64]:
        return self.negatives - self.fp

    @property
    def fn(self) -> NDArray[np.int64]:
        return self.positives - self.tp


_Rule = Callable[[_Cuts], int | str]  # the position of the cut, or why there is none


def choose_points(
    is_positive: Flags,
    scores: Scores,
    *,
    specificity: float = 0.9,
    sensitivity: float = 0.9,
    false_negative_cost: float = 1.0,
) -> dict[str, OperatingPoint]:
    """One point a rule, by name; choose them on validation, never on the split that they are then reported on.

    - `argmax`: 0.5, the more probable class. It is there whatever the data are.
    - `youden`: the largest sensitivity + specificity - 1 (Youden 1950).
    - `sensitivity_at_specificity`: the largest sensitivity where specificity is at least `specificity`.
    - `specificity_at_sensitivity`: the reverse.
    - `cost`: the fewest false positives + `false_negative_cost` * false negatives, at the prevalence of these images.

    A threshold lies halfway between two neighbouring scores that are more than a millionth apart, so that small
    numeric differences do not turn an answer over. Of equally good thresholds of `youden` and `cost` the lowest, with
    the larger sensitivity, is taken; the two others take the larger sensitivity or specificity first, then as much of
    the other as comes with it. A threshold that answers yes to all or no to all is no operating point.

    Args:
        is_positive: bool [N].
        scores: float [N], the probability of the positive class, 0..1.
        specificity: the least that is asked for, above 0, at most 1.
        sensitivity: the same.
        false_negative_cost: what a missed positive costs where a false alarm costs 1; above 0.

    Raises:
        RequestError: one of the last three is out of range.
    """
    _check(specificity, sensitivity, false_negative_cost)
    rules: dict[str, tuple[str, _Rule]] = {
        "youden": ("largest sensitivity + specificity - 1", _youden),
        "sensitivity_at_specificity": (
            f"largest sensitivity with specificity of at least {specificity:g}",
            lambda cuts: _sensitivity_at(cuts, specificity),
        ),
        "specificity_at_sensitivity": (
            f"largest specificity with sensitivity of at least {sensitivity:g}",
            lambda cuts: _specificity_at(cuts, sensitivity),
        ),
        "cost": (
            f"lowest cost where a missed positive costs {false_negative_cost:g} times a false alarm",
            lambda cuts: _cheapest(cuts, false_negative_cost),
        ),
    }
    cuts = _cuts(is_positive, scores)
    points = {"argmax": OperatingPoint("argmax", 0.5, "the more probable class")}
    return points | {name: _point(name, text, rule, cuts) for name, (text, rule) in rules.items()}


def apply_point(point: OperatingPoint, is_positive: Flags, scores: Scores) -> dict[str, float]:
    """What a threshold does to these images.

    Keys: `tp`, `fp`, `tn`, `fn` (counts); `sensitivity`, `specificity`, `ppv`, `npv`, `accuracy`, `f1` (0..1); `youden`
    (-1..1). A rate that is not defined is NaN; everything is, where a score is not finite.

    Args:
        point: one with a threshold; ValueError otherwise.
        is_positive: bool [N].
        scores: float [N], the probability of the positive class.
    """
    if point.threshold is None:
        raise ValueError(f"operating point {point.name} has no threshold: {point.reason}")
    _check_shapes(is_positive, scores)
    if not np.isfinite(scores).all():
        return dict.fromkeys((*_COUNTS, *_RATES), math.nan)
    yes = scores >= point.threshold
    tp, fp = int((yes & is_positive).sum()), int((yes & ~is_positive).sum())
    fn, tn = int(is_positive.sum()) - tp, int((~is_positive).sum()) - fp
    sensitivity, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    return {
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
        "accuracy": _ratio(tp + tn, len(scores)),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "youden": sensitivity + specificity - 1,
    }


def _point(name: str, text: str, rule: _Rule, cuts: _Cuts | str) -> OperatingPoint:
    if isinstance(cuts, str):
        return OperatingPoint(name, None, text, reason=cuts)
    found = rule(cuts)
    if isinstance(found, str):
        return OperatingPoint(name, None, text, reason=found)
    return OperatingPoint(name, float(cuts.thresholds[found]), text)


def _cuts(is_positive: Flags, scores: Scores) -> _Cuts | str:
    """All thresholds, or why there are none."""
    _check_shapes(is_positive, scores)
    if not np.isfinite(scores).all():
        return "not every score is a finite number"
    positives = int(is_positive.sum())
    negatives = len(scores) - positives
    if not positives or not negatives:
        return f"it takes images of both classes, and there are {positives} positive and {negatives} negative ones"
    order = np.argsort(-scores, kind="stable")
    falling = scores[order].astype(np.float64)
    last = np.flatnonzero(falling[:-1] - falling[1:] > _GAP)  # the last image that is answered yes
    if not len(last):
        return "all scores are the same"
    tp = np.cumsum(is_positive[order].astype(np.int64))[last]
    thresholds = (falling[last] + falling[last + 1]) / 2
    return _Cuts(thresholds, tp, last + 1 - tp, positives, negatives)


def _youden(cuts: _Cuts) -> int | str:
    gain = cuts.tp * cuts.negatives - cuts.fp * cuts.positives  # in whole numbers, so that ties are exact
    if gain.max() <= 0:
        return "no threshold does better than chance"
    return int(np.flatnonzero(gain == gain.max())[-1])


def _sensitivity_at(cuts: _Cuts, specificity: float) -> int | str:
    met = (cuts.tn / cuts.negatives >= specificity) & (cuts.tp > 0)
    if not met.any():
        return f"at a specificity of {specificity:g} no positive image is found"
    return int(np.flatnonzero(cuts.tp == cuts.tp[met].max())[0])


def _specificity_at(cuts: _Cuts, sensitivity: float) -> int | str:
    met = (cuts.tp / cuts.positives >= sensitivity) & (cuts.tn > 0)
    if not met.any():
        return f"at a sensitivity of {sensitivity:g} every negative image is an alarm"
    return int(np.flatnonzero(cuts.fp == cuts.fp[met].min())[-1])


def _cheapest(cuts: _Cuts, false_negative_cost: float) -> int | str:
    cost = cuts.fp + false_negative_cost * cuts.fn
    rounding = 1e-12 * (cuts.negatives + false_negative_cost * cuts.positives)
    for answer, without in (("yes", float(cuts.negatives)), ("no", false_negative_cost * cuts.positives)):
        if cost.min() >= without - rounding:
            return f"no threshold is cheaper than answering {answer} for every image"
    return int(np.flatnonzero(cost <= cost.min() + rounding)[-1])


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check_shapes(is_positive: Flags, scores: Scores) -> None:
    if is_positive.dtype != bool or is_positive.shape != scores.shape or scores.ndim != 1:
        raise ValueError(f"is_positive {is_positive.dtype} {is_positive.shape} does not go with scores {scores.shape}")


def _check(specificity: float, sensitivity: float, false_negative_cost: float) -> None:
    for name, value in (("specificity", specificity), ("sensitivity", sensitivity)):
        if not 0 < value <= 1:
            raise RequestError(f"the {name} of an operating point is {value:g}; it has to be above 0 and at most 1.")
    if not 0 < false_negative_cost < math.inf:
        raise RequestError(f"the cost of a false negative is {false_negative_cost:g}; it has to be above 0.")
