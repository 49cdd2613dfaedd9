"""PLACEHOLDER until wt-intervals is merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medimg.evaluation.metrics import all_metrics
from medimg.evaluation.units import Units


@dataclass(frozen=True)
class Intervals:
    """Intervals."""

    ci: dict[str, tuple[float, float]]
    flags: dict[str, str]
    unit: str
    units: int
    method: dict[str, str]


def intervals(
    logits: Any, labels: Any, classes: Sequence[str], positive: str | None, units: Units, *, resamples: int = 2000
) -> Intervals:
    """Intervals."""
    rng = np.random.default_rng(0)
    found = []
    members = [np.flatnonzero(units.codes == unit) for unit in np.unique(units.codes)]
    for _ in range(min(resamples, 30)):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        found.append(list(all_metrics(logits[rows], labels[rows], classes, positive).values()))
    names = list(all_metrics(logits, labels, classes, positive))
    if not found:
        return Intervals({}, {}, units.kind, units.number, {})
    low, high = np.nanpercentile(np.array(found), [2.5, 97.5], axis=0)
    return Intervals(
        {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True) if a == a},
        {},
        units.kind,
        units.number,
        {},
    )
